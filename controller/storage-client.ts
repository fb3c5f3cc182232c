import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { text } from "node:stream/consumers";
import { z } from "zod";
import { PlatformError } from "../api/errors.ts";
import { refusal } from "../net/refusal.ts";
import { sha256Hex } from "../net/sign.ts";
import type { SignedCall, SignedClient, SignedReply } from "../net/signed-client.ts";
import type { Archives } from "./package/ports.ts";

const TRANSFER_TIMEOUT_MS = 300_000;

/** The storage process as the Package reconciler uses it. */
export function storageArchives(storage: Pick<SignedClient, "send">): Archives {
  const send = async (call: SignedCall): Promise<SignedReply> => {
    const reply = await storage.send({ timeoutMs: TRANSFER_TIMEOUT_MS, ...call });
    if (reply.status < 300 || reply.status === 404) return reply;
    throw refusal(reply, await text(reply.body), "storage", "archive_unavailable");
  };
  return {
    put: async (content) => {
      const chunks: Uint8Array[] = [];
      for await (const chunk of content) chunks.push(chunk);
      const body = Buffer.concat(chunks);
      const digest = sha256Hex(body);
      const reply = await send({ method: "PUT", target: `/v1/archive?sha256=${digest}`, body });
      reply.body.resume();
      return { archive: { digest, sizeBytes: body.length } };
    },
    find: async (digest) => {
      const reply = await send({ method: "HEAD", target: `/v1/archive?id=sha256:${digest}` });
      reply.body.resume();
      const sizeBytes = Number(reply.headers["content-length"]);
      return reply.status === 200 && Number.isSafeInteger(sizeBytes) ? { sizeBytes } : undefined;
    },
    open: async (digest) => {
      const reply = await send({ method: "GET", target: `/v1/archive?id=sha256:${digest}` });
      if (reply.status === 200) return reply.body;
      reply.body.resume();
      throw new PlatformError("archive_not_found", `Archive "sha256:${digest}" does not exist`);
    },
  };
}

const Listing = z.array(z.object({ sizeBytes: z.number() }));

/** How many archives there are, and their bytes; zeros when the storage does not answer. */
export async function storageUse(
  storage: Pick<SignedClient, "getJson">,
): Promise<{ count: number; bytes: number }> {
  try {
    const archives = await storage.getJson("/v1/archive?details=true", Listing, { timeoutMs: 5_000 });
    return { count: archives.length, bytes: archives.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) };
  } catch {
    return { count: 0, bytes: 0 };
  }
}

/**
 * `/v1/archive` of the operations API, passed on to the storage process. Uploads are read whole, since a signed call names its body's
 * digest before the body. To be registered in a scope of its own.
 */
export function archiveProxy(
  scope: FastifyInstance,
  storage: Pick<SignedClient, "send">,
  maxArchiveBytes: number,
): void {
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser("*", { parseAs: "buffer", bodyLimit: maxArchiveBytes }, (_request, body, done) =>
    done(null, body),
  );
  const pass = async (request: FastifyRequest, reply: FastifyReply) => {
    const method = (["GET", "HEAD", "POST", "PUT", "DELETE"] as const).find(
      (known) => known === request.method,
    );
    if (!method)
      throw new PlatformError("method_not_allowed", `${request.method} is not allowed on archives`);
    const headers: Record<string, string> = {};
    for (const name of ["content-type", "range", "x-file-size"]) {
      const value = request.headers[name];
      if (typeof value === "string") headers[name] = value;
    }
    const answer = await storage.send({
      method,
      target: request.raw.url ?? "/v1/archive",
      headers,
      ...(Buffer.isBuffer(request.body) ? { body: request.body } : {}),
      timeoutMs: TRANSFER_TIMEOUT_MS,
    });
    reply.code(answer.status);
    for (const [name, value] of Object.entries(answer.headers)) {
      if (
        value !== undefined &&
        name !== "connection" &&
        name !== "transfer-encoding" &&
        name !== "keep-alive"
      ) {
        reply.header(name, value);
      }
    }
    return await reply.send(answer.body);
  };
  scope.all("/v1/archive", { bodyLimit: maxArchiveBytes }, pass);
}
