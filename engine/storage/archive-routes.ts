import type { IncomingMessage } from "node:http";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { PlatformError } from "../../api/errors.ts";
import {
  type ArchiveStore,
  archiveId,
  type ByteRange,
  digestOf,
  type StoredArchive,
} from "./archive-store.ts";
import { announcedSize, receiveUpload } from "./receive-upload.ts";

export interface ArchiveRoutesOptions {
  readonly store: ArchiveStore;
  readonly maxArchiveBytes: number;
}

const RANGE = /^bytes=(\d*)-(\d*)$/;

/**
 * The reference system's `/v1/archive`, and `PUT` for our own clients. Who may call is the surrounding instance's business:
 * register it where a hook has authenticated the caller.
 *
 *   POST   /v1/archive           multipart, field `uploadfile`, header `X-File-Size` → {"id"}
 *   PUT    /v1/archive?sha256=   raw content; its digest and (Content-Length or X-File-Size) size are verified → {"id","sizeBytes"}
 *                                201 when it is new, 200 when it was there (its age for pruning starts anew)
 *   GET    /v1/archive?id=       content; single ranges
 *   HEAD   /v1/archive?id=       size, and X-FISSION-STORAGETYPE, X-FISSION-BUCKET
 *   GET    /v1/archive           ids; with `details=true` objects {id, sizeBytes, uploadedAt}
 *   DELETE /v1/archive?id=
 */
export function archiveRoutes(app: FastifyInstance, options: ArchiveRoutesOptions): void {
  const { store } = options;
  // Bodies stay streams: fastify must neither collect nor limit them, the store does.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", (_request: FastifyRequest, payload: IncomingMessage, done) =>
    done(null, payload),
  );

  app.post("/v1/archive", async (request) => {
    const { archive } = await receiveUpload(request, options);
    return { id: archiveId(archive.digest) };
  });

  app.put("/v1/archive", async (request, reply) => {
    const sha256 = query(request, "sha256");
    const digest = sha256 === undefined ? undefined : digestOf(sha256);
    if (sha256 !== undefined && digest === undefined) {
      throw invalid(`"sha256" must be 64 lower-case hex digits, got "${sha256}"`);
    }
    const sizeBytes = announcedSize(request, "x-file-size") ?? announcedSize(request, "content-length");
    if (!isStream(request.body) || sizeBytes === 0) throw invalid("the request has no body, or an empty one");
    const { archive, created } = await store.put(request.body, { sha256: digest, sizeBytes });
    return await reply
      .code(created ? 201 : 200)
      .send({ id: archiveId(archive.digest), sizeBytes: archive.sizeBytes });
  });

  app.get("/v1/archive", { exposeHeadRoute: false }, async (request, reply) => {
    if (query(request, "id") === undefined)
      return listing(await store.list(), query(request, "details") === "true");
    const archive = await existing(store, request);
    return await sendContent(store, archive, request, reply);
  });

  app.head("/v1/archive", async (request, reply) => {
    const archive = await existing(store, request);
    return await describe(reply, archive)
      .header("content-length", archive.sizeBytes)
      .header("x-fission-storagetype", store.kind.type)
      .header("x-fission-bucket", store.kind.bucket)
      .send();
  });

  app.delete("/v1/archive", async (request) => {
    const archive = await existing(store, request);
    await store.remove(archive.digest);
    return { id: archiveId(archive.digest) };
  });
}

function listing(archives: StoredArchive[], details: boolean): unknown[] {
  return archives.map(({ digest, sizeBytes, uploadedAtMs }) =>
    details
      ? { id: archiveId(digest), sizeBytes, uploadedAt: new Date(uploadedAtMs).toISOString() }
      : archiveId(digest),
  );
}

async function existing(store: ArchiveStore, request: FastifyRequest): Promise<StoredArchive> {
  const id = query(request, "id");
  if (id === undefined || id === "") throw invalid('"id" is missing from the query');
  const digest = digestOf(id);
  // An id of another form cannot name anything here; the reference system answers 404 as well.
  const archive = digest === undefined ? undefined : await store.find(digest);
  if (!archive) throw new PlatformError("archive_not_found", `Archive "${id}" does not exist`);
  return archive;
}

function describe(reply: FastifyReply, archive: StoredArchive): FastifyReply {
  return reply
    .header("content-type", "application/octet-stream")
    .header("accept-ranges", "bytes")
    .header("etag", `"${archive.digest}"`)
    .header("x-content-type-options", "nosniff");
}

async function sendContent(
  store: ArchiveStore,
  archive: StoredArchive,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  describe(reply, archive);
  const range = requestedRange(request.headers.range, archive.sizeBytes);
  if (range === "unsatisfiable") {
    return await reply.code(416).header("content-range", `bytes */${archive.sizeBytes}`).send();
  }
  const content = await store.open(archive.digest, range);
  if (!range) return await reply.header("content-length", archive.sizeBytes).send(content);
  return await reply
    .code(206)
    .header("content-range", `bytes ${range.start}-${range.end}/${archive.sizeBytes}`)
    .header("content-length", range.end - range.start + 1)
    .send(content);
}

/** A single byte range; several ranges or another unit are ignored, as RFC 9110 allows. */
export function requestedRange(
  header: string | undefined,
  sizeBytes: number,
): ByteRange | "unsatisfiable" | undefined {
  const match = RANGE.exec(header ?? "");
  if (!match || (match[1] === "" && match[2] === "")) return undefined;
  if (match[1] === "") {
    const suffix = Math.min(Number(match[2]), sizeBytes);
    return suffix === 0 ? "unsatisfiable" : { start: sizeBytes - suffix, end: sizeBytes - 1 };
  }
  const start = Number(match[1]);
  const end = match[2] === "" ? sizeBytes - 1 : Math.min(Number(match[2]), sizeBytes - 1);
  if (match[2] !== "" && Number(match[2]) < start) return undefined;
  return start >= sizeBytes ? "unsatisfiable" : { start, end };
}

function query(request: FastifyRequest, name: string): string | undefined {
  const all: unknown = request.query;
  if (typeof all !== "object" || all === null || !(name in all)) return undefined;
  const value: unknown = Object.getOwnPropertyDescriptor(all, name)?.value;
  if (typeof value !== "string") throw invalid(`"${name}" may stand in the query once`);
  return value;
}

function isStream(body: unknown): body is AsyncIterable<Uint8Array> {
  return typeof body === "object" && body !== null && Symbol.asyncIterator in body;
}

const invalid = (why: string): PlatformError =>
  new PlatformError("archive_invalid", `Cannot serve the archive request: ${why}`);
