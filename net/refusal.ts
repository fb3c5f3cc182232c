import { type ErrorCode, PlatformError } from "../api/errors.ts";
import { ErrorBody } from "../api/wire/error.ts";
import { isErrorCode } from "./error-reply.ts";
import { parseJson } from "./parse-json.ts";
import type { SignedReply } from "./signed-client.ts";

/**
 * What a service answered instead of 2xx, as the error that its body names (an `ErrorBody`), with the pause of its `Retry-After`.
 * @param service its name, e.g. `executor`
 * @param unavailable code for an answer that names no error of the table
 */
export function refusal(
  { status, headers }: Pick<SignedReply, "status" | "headers">,
  body: string,
  service: string,
  unavailable: ErrorCode,
): PlatformError {
  const said = ErrorBody.partial().safeParse(parseJson(body)).data;
  if (said?.reason === undefined || !isErrorCode(said.reason))
    return new PlatformError(
      unavailable,
      `"${service}" answered ${status} without an error of the table: ${body.slice(0, 200)}`,
    );
  const seconds = Number(headers["retry-after"]);
  return new PlatformError(said.reason, said.message, seconds > 0 ? { retryAfterMs: seconds * 1_000 } : {});
}
