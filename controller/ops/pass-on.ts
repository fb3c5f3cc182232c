import type { FastifyReply, FastifyRequest } from "fastify";
import { z } from "zod";
import { PlatformError } from "../../api/errors.ts";
import type { SignedClient } from "../../net/signed-client.ts";

export const MAX_PASSED_BYTES = 64 * 2 ** 20;
/** Streams and waits take as long as they take; this only frees a call that everything else forgot. */
const LONGEST_CALL_MS = 24 * 3_600_000;
const PASSED_ON = ["content-type", "accept", "last-event-id", "x-fission-request-id"];
const PASSED_BACK = ["content-type", "cache-control", "retry-after", "x-accel-buffering", "x-isotope-status"];

const Named = z.object({ namespace: z.string().max(63) });

/** The namespace that a body names: it is read again, and refused if it is odd, by the service that it goes to. */
export function namespaceIn(body: unknown): string {
  try {
    return Named.parse(JSON.parse(Buffer.isBuffer(body) ? body.toString("utf8") : "")).namespace;
  } catch (cause) {
    throw new PlatformError(
      "bad_request",
      'Cannot read the request: its body must be JSON with a "namespace"',
      {
        cause,
      },
    );
  }
}

/** Passes a call that was authorised on to another process as it is, and streams the answer back. */
export async function passOn(
  request: FastifyRequest,
  reply: FastifyReply,
  service: Pick<SignedClient, "send">,
): Promise<FastifyReply> {
  if (request.method !== "GET" && request.method !== "POST")
    throw new PlatformError(
      "method_not_allowed",
      `Cannot ${request.method} this path: allowed are GET and POST`,
    );
  const headers: Record<string, string> = {};
  for (const name of PASSED_ON) {
    const value = request.headers[name];
    if (typeof value === "string") headers[name] = value;
  }
  const left = new AbortController();
  reply.raw.once("close", () => left.abort());
  const answer = await service.send({
    method: request.method,
    target: request.raw.url ?? "/",
    headers,
    ...(Buffer.isBuffer(request.body) && request.body.length > 0 ? { body: request.body } : {}),
    timeoutMs: LONGEST_CALL_MS,
    signal: left.signal,
  });
  reply.code(answer.status);
  for (const name of PASSED_BACK) {
    const value = answer.headers[name];
    if (value !== undefined) reply.header(name, value);
  }
  return await reply.send(answer.body);
}
