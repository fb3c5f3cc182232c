import { isUtf8 } from "node:buffer";
import type { FastifyInstance } from "fastify";
import type { z } from "zod";
import { PlatformError } from "../../../../api/errors.ts";
import { PeekQuery, PublishMessage, type TopicMessage } from "../../../../api/wire/topics.ts";
import type { StreamEntry } from "./stream-entry.ts";
import { MAX_MESSAGE_BYTES, type Topics } from "./topics.ts";

/** Paths of the operations API carry namespace and topic; those of the reference system have them in body and query. */
const address = (params: unknown): object => (typeof params === "object" && params !== null ? params : {});
const PUBLISH = ["/v1/topics/:namespace/:topic", "/v1/eventing/topic/publish"];
const PEEK = ["/v1/topics/:namespace/:topic", "/v1/eventing/topic/peek"];

/** `/v1/topics` and `/v1/eventing/topic`: see `api/wire/topics.ts`. */
export function topicRoutes(app: FastifyInstance, topics: Topics): void {
  for (const path of PUBLISH)
    app.post(path, { bodyLimit: MAX_MESSAGE_BYTES * 2 }, async (request, reply) => {
      const given = { ...address(request.body), ...address(request.params) };
      const { namespace, topic, data, base64, key, headers, contentType } = parsed(PublishMessage, given);
      const id = await topics.append(namespace, {
        topic,
        headers: { ...headers, "content-type": contentType },
        body: Buffer.from(data, base64 ? "base64" : "utf8"),
        ...(key === undefined ? {} : { key }),
      });
      return reply.code(202).send({ id });
    });
  for (const path of PEEK)
    app.get(path, async (request) => {
      const given = { ...address(request.query), ...address(request.params) };
      const { namespace, topic, limit, after } = parsed(PeekQuery, given);
      const entries = await topics.read(namespace, topic, {
        limit,
        ...(after === undefined ? {} : { after }),
      });
      return { items: entries.map(view) };
    });
}

function view({ id, key, headers, body }: StreamEntry): TopicMessage {
  const text = isUtf8(body);
  return {
    id,
    ...(key === undefined ? {} : { key }),
    headers,
    at: new Date(Number(id.slice(0, id.indexOf("-")))).toISOString(),
    data: body.toString(text ? "utf8" : "base64"),
    base64: !text,
  };
}

function parsed<Schema extends z.ZodType>(schema: Schema, value: unknown): z.infer<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new PlatformError(
    "bad_request",
    `${issue?.path.join(".") ?? "request"}: ${issue?.message ?? "is invalid"}`,
  );
}
