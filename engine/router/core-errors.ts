import { type ErrorCode, PlatformError } from "../../api/errors.ts";
import { errorReply } from "../../net/error-reply.ts";
import type { CoreErrorCode, ListenerOptions } from "./http/types.ts";

/** Codes of the table for what the HTTP core refuses by itself. */
const CODES: Readonly<Record<CoreErrorCode, ErrorCode>> = {
  bad_request: "bad_request",
  request_timeout: "request_timeout",
  body_too_large: "body_too_large",
  target_too_long: "uri_too_long",
  expectation_failed: "expectation_failed",
  header_too_large: "headers_too_large",
  not_implemented: "not_implemented",
  version_not_supported: "http_version",
  bad_gateway: "bad_upstream",
  shutting_down: "draining",
};

/** Error replies of the HTTP core in the form of all others. There is no request id: the request could not be read. */
export const coreErrorReply: NonNullable<ListenerOptions["errorReply"]> = (_status, code, message) => {
  const answer = errorReply(new PlatformError(CODES[code], message));
  let headers = "x-content-type-options: nosniff\r\n";
  for (const [name, value] of Object.entries(answer.headers)) headers += `${name}: ${value}\r\n`;
  return { headers, body: `${JSON.stringify(answer.body)}\n` };
};
