import type { IncomingMessage } from "node:http";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { PlatformError } from "../../api/errors.ts";
import { type Payload, PAYLOADS_PATH, payloadOf, payloadRef } from "../../api/wire/payloads.ts";
import type { PayloadStore } from "./payload-store.ts";

const KEEP = "/keep";

/** See `api/wire/payloads.ts`. Who may call is the surrounding instance's business. */
export function payloadRoutes(app: FastifyInstance, store: PayloadStore): void {
  // Bodies stay streams: fastify must neither collect nor limit them, the store does.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", (_request: FastifyRequest, payload: IncomingMessage, done) =>
    done(null, payload),
  );
  const route = `${PAYLOADS_PATH}*`;

  app.put(route, async (request, reply) => {
    const payload = named(request, restOf(request));
    await store.put(payload, isStream(request.body) ? request.body : []);
    return reply.code(201).send();
  });
  app.get(route, { exposeHeadRoute: false }, async (request, reply) => {
    const payload = named(request, restOf(request));
    const content = await store.open(payload);
    return reply
      .header("content-type", "application/octet-stream")
      .header("content-length", payload.sizeBytes)
      .header("x-content-type-options", "nosniff")
      .send(content);
  });
  app.post(route, async (request) => {
    const rest = restOf(request);
    const payload = named(request, rest.endsWith(KEEP) ? rest.slice(0, -KEEP.length) : "");
    return { ref: payloadRef(await store.keep(payload, untilOf(request))) };
  });
  app.delete(route, async (request, reply) => {
    await store.remove(named(request, restOf(request)));
    return reply.code(204).send();
  });
}

const restOf = ({ url }: FastifyRequest): string => (url.split("?", 1)[0] ?? "").slice(PAYLOADS_PATH.length);

function named({ method, url }: FastifyRequest, ref: string): Payload {
  const payload = payloadOf(ref);
  if (payload) return payload;
  throw new PlatformError("bad_request", `Cannot ${method} a payload: "${url}" names none`);
}

function untilOf({ url }: FastifyRequest): number {
  const until = new URL(url, "http://storage").searchParams.get("until") ?? "";
  if (/^\d{13}$/.test(until)) return Number(until);
  throw new PlatformError(
    "bad_request",
    `Cannot keep the payload: "until" must be milliseconds since the epoch, got "${until}"`,
  );
}

const isStream = (body: unknown): body is AsyncIterable<Uint8Array> =>
  typeof body === "object" && body !== null && Symbol.asyncIterator in body;
