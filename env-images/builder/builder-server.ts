import { randomUUID, timingSafeEqual } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { pipeline } from "node:stream/promises";
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import { HEADER_COMPONENT } from "../../api/headers.ts";
import { BUILD_CONTENT_TYPE, BUILD_FRAME, type BuildRequest } from "../../api/wire/builder.ts";
import type { ErrorBody } from "../../api/wire/error.ts";
import { frame } from "../../api/wire/frames.ts";
import { sha256Hex } from "./digest.ts";
import type { BuilderSettings } from "./builder-settings.ts";
import type { BuildWorkers, FinishedBuild } from "./build-workers.ts";
import { referenceContract } from "./reference-contract.ts";
import { BadBuildMessage, receiveBuild } from "./receive-build.ts";

export interface BuilderServerOptions {
  readonly settings: BuilderSettings;
  /** Each build gets a folder of its own in here. */
  readonly buildsFolder: string;
  readonly workers: BuildWorkers;
  readonly token: string;
  readonly version: string;
  /** Set: also serves the reference system's contract over this folder, which is shared with a fetcher. */
  readonly sharedFolder: string | undefined;
}

const MAX_LOG_LINE = 4096;
const REFERENCE_TIMEOUT_MS = 300_000;

/** The HTTP side of a builder pod (`api/wire/builder.ts`). */
export function builderServer(options: BuilderServerOptions): FastifyInstance {
  const app = fastify({ bodyLimit: options.settings.maxSourceBytes + 2 ** 20, forceCloseConnections: true });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    BUILD_CONTENT_TYPE,
    (_request: FastifyRequest, payload: unknown, done: (error: null, body: unknown) => void) =>
      done(null, payload),
  );
  app.setErrorHandler((error, _request, reply) => {
    if (error instanceof BadBuildMessage) return refuse(reply, 400, "bad_request", error.message);
    const status =
      error instanceof Error && "statusCode" in error && typeof error.statusCode === "number"
        ? error.statusCode
        : 503;
    return refuse(
      reply,
      status,
      status < 500 ? "bad_request" : "internal",
      error instanceof Error ? error.message : String(error),
    );
  });
  app.get("/healthz", () => ({ status: "ok" }));
  app.get("/version", () => ({ version: options.version }));
  app.post("/v1/build", (request, reply) => answerBuild(options, request, reply));
  if (options.sharedFolder !== undefined) {
    const { sharedFolder, buildsFolder, workers } = options;
    referenceContract(app, { sharedFolder, buildsFolder, workers, timeoutMs: REFERENCE_TIMEOUT_MS });
  }
  return app;
}

function refuse(reply: FastifyReply, status: number, reason: string, message: string): FastifyReply {
  const body: ErrorBody = { component: "builder", reason, message };
  return reply.code(status).header(HEADER_COMPONENT, "builder").send(body);
}

async function answerBuild(
  { settings, buildsFolder, workers, token }: BuilderServerOptions,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  if (!isAuthorized(request.headers.authorization, token)) {
    return refuse(reply, 401, "unauthorized", "Cannot build: the pod token is missing or wrong");
  }
  const { body } = request;
  if (!isStream(body)) return refuse(reply, 400, "bad_request", "Cannot build: the request has no body");
  const slot = workers.reserve();
  if (!slot) {
    reply.header("retry-after", "1");
    return refuse(
      reply,
      429,
      "builder_unavailable",
      `Cannot build: ${settings.concurrency} builds run already`,
    );
  }
  const folder = join(buildsFolder, randomUUID());
  const sourcePath = join(folder, "source");
  let build: BuildRequest;
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    build = await receiveBuild(body, sourcePath, settings.maxSourceBytes);
  } catch (error) {
    slot.release();
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
  const frames = new PassThrough();
  // The caller may leave while lines are still being written.
  frames.on("error", () => {});
  const left = new AbortController();
  reply.raw.once("close", () => {
    if (!reply.raw.writableFinished) left.abort();
  });
  const log = (line: string): void => {
    frames.write(frame(BUILD_FRAME.log, Buffer.from(line.slice(0, MAX_LOG_LINE))));
  };
  void slot
    .run({ request: build, sourcePath, folder, log, signal: left.signal })
    .then((finished) => writeResult(frames, finished))
    .catch((error: unknown) => frames.destroy(error instanceof Error ? error : new Error(String(error))))
    .finally(() => void rm(folder, { recursive: true, force: true }));
  return await reply.header("content-type", BUILD_CONTENT_TYPE).send(frames);
}

async function writeResult(frames: PassThrough, { result, artifactPath }: FinishedBuild): Promise<void> {
  frames.write(frame(BUILD_FRAME.result, Buffer.from(JSON.stringify(result))));
  if (result.outcome === "failed" || artifactPath === undefined) {
    frames.end();
    return;
  }
  const head = Buffer.from(frame(BUILD_FRAME.artifact, new Uint8Array()));
  head.writeUInt32BE(result.sizeBytes, 1);
  frames.write(head);
  await pipeline(createReadStream(artifactPath), frames);
}

/** Compares digests, so that neither length nor content of the token shows in the time. */
function isAuthorized(header: string | undefined, token: string): boolean {
  return timingSafeEqual(Buffer.from(sha256Hex(header ?? "")), Buffer.from(sha256Hex(`Bearer ${token}`)));
}

function isStream(body: unknown): body is AsyncIterable<Uint8Array> {
  return typeof body === "object" && body !== null && Symbol.asyncIterator in body;
}
