import { type ErrorCode, PlatformError } from "../../api/errors.ts";
import { refusal } from "../../net/refusal.ts";
import type { SignedCall, SignedClient, SignedReply } from "../../net/signed-client.ts";
import { BodyError } from "./http/body-error.ts";
import type { Exchange } from "./http/types.ts";

/** What the router passes on to another service, whose answers it reads whole: none of it is on the path of functions. */
export interface ServiceCallsDeps {
  readonly client: Pick<SignedClient, "send">;
  readonly maxBodyBytes: number;
  readonly refuse: (exchange: Exchange, error: PlatformError, lines?: string) => void;
}

export const SAFE_LINES = "x-content-type-options: nosniff\r\ncache-control: no-store\r\n";
export const JSON_LINES = `content-type: application/json\r\n${SAFE_LINES}`;

/** Refuses the exchange with what the work throws. @param lines of the refusal, besides its own */
export function guarded(
  { refuse }: ServiceCallsDeps,
  exchange: Exchange,
  lines: string,
  work: () => Promise<void>,
): void {
  void work().catch((error: unknown) => {
    if (exchange.state === "open") refuse(exchange, asPlatformError(error), lines);
  });
}

/**
 * The answer of a service.
 * @param service its name, e.g. `triggers`
 * @throws {PlatformError} what it refuses with; `unavailable` when it does not answer, or with no error of the table
 */
export async function serviceAnswer(
  client: Pick<SignedClient, "send">,
  call: SignedCall,
  service: string,
  unavailable: ErrorCode,
): Promise<{ headers: SignedReply["headers"]; body: Buffer }> {
  const reply = await client.send(call);
  const body = await bytesOf(reply.body);
  if (reply.status < 300) return { headers: reply.headers, body };
  throw refusal(reply, body.toString("utf8"), service, unavailable);
}

export async function bytesOf(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function asPlatformError(error: unknown): PlatformError {
  if (error instanceof PlatformError) return error;
  if (error instanceof BodyError && error.code === "too-large")
    return new PlatformError("body_too_large", error.message);
  return new PlatformError("internal", error instanceof Error ? error.message : String(error), {
    cause: error,
  });
}
