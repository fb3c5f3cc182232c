import fastify, { type FastifyInstance } from "fastify";
import type { z } from "zod";
import { PlatformError } from "../../api/errors.ts";
import {
  CollectedLines,
  LOG_STORE_AUDIENCE,
  LogRead,
  PodsAsked,
  PositionsQuery,
} from "../../api/wire/logs.ts";
import { fastifyErrorHandler } from "../../net/error-reply.ts";
import type { KeyRing } from "../../net/keys.ts";
import type { Log } from "../../net/log.ts";
import { ndjsonBody } from "../../net/ndjson-body.ts";
import { verifier } from "../../net/sign.ts";
import { requireSignedCalls } from "../../net/signed-hook.ts";
import type { PodFacts } from "../../kube/pod-facts.ts";
import type { LogStore } from "./log-store.ts";
import type { StoredLine } from "./segment.ts";

export interface LogStoreServerOptions {
  readonly store: LogStore;
  /** Keys of the platform's processes. */
  readonly keys: KeyRing;
  /** Keys of the collectors. */
  readonly collectorKeys: KeyRing;
  /** Whose a pod is; undefined = none of ours, as far as is known. */
  readonly factsOf: (uid: string) => PodFacts | undefined;
  /** Why collectors and readers cannot be served now. */
  readonly notReady: () => string | undefined;
  readonly onStored: (lines: number) => void;
  readonly log: Log;
}

const MAX_BODY_BYTES = 32 * 2 ** 20;
const HEARTBEAT_MS = 10_000;

/** The log store's API (`api/wire/logs.ts`). Not listening yet. */
export function createLogStoreServer(options: LogStoreServerOptions): FastifyInstance {
  const app = fastify({
    bodyLimit: MAX_BODY_BYTES,
    // A reader that follows would hold the end up for ever.
    forceCloseConnections: true,
    http: { headersTimeout: 10_000 },
  });
  const onUnexpected = (error: unknown): void => options.log.error("A call failed unexpectedly", { error });
  app.setErrorHandler(fastifyErrorHandler({ debug: true, onUnexpected }));
  app.get("/healthz", () => "ok\n");
  app.get("/readyz", (_request, reply) => {
    const why = options.notReady();
    return reply.code(why === undefined ? 200 : 503).send(`${why ?? "ok"}\n`);
  });
  void app.register((scope, _options, done) => {
    requireSignedCalls(scope, { verifier: verifier(options.collectorKeys, LOG_STORE_AUDIENCE) });
    collectorRoutes(scope, options);
    done();
  });
  void app.register((scope, _options, done) => {
    requireSignedCalls(scope, { verifier: verifier(options.keys, LOG_STORE_AUDIENCE) });
    readerRoutes(scope, options);
    done();
  });
  return app;
}

function collectorRoutes(app: FastifyInstance, options: LogStoreServerOptions): void {
  const { store, factsOf } = options;
  const requireReady = (): void => {
    const why = options.notReady();
    if (why !== undefined) throw new PlatformError("log_store_unavailable", `The log store waits: ${why}`);
  };
  app.post("/v1/lines", (request) => {
    // Lines that came before the pods are known would be nobody's for ever.
    requireReady();
    const { node, lines } = parse("store lines", CollectedLines, request.body);
    const stored = store.appendNew(
      lines.map(({ line, uid, file, offset }): StoredLine => {
        const facts = line.function === "" ? factsOf(uid) : undefined;
        return { line: facts ? { ...line, ...facts } : line, from: `${node}/${file}@${offset}` };
      }),
    );
    options.onStored(stored);
    return { stored };
  });
  app.get("/v1/positions", (request) => {
    const { node } = parse("tell positions", PositionsQuery, request.query);
    const prefix = `${node}/`;
    const positions = [...store.positions()]
      .filter(([file]) => file.startsWith(prefix))
      .map(([file, offset]) => [file.slice(prefix.length), offset] as const);
    return { positions: Object.fromEntries(positions) };
  });
  app.post("/v1/pods", (request) => {
    const { uids } = parse("tell pods", PodsAsked, request.body);
    requireReady();
    return { ours: uids.filter((uid) => factsOf(uid) !== undefined) };
  });
}

function readerRoutes(app: FastifyInstance, { store }: LogStoreServerOptions): void {
  app.post("/v1/read", (request, reply) => {
    const { filter, limit, order, follow } = parse("read logs", LogRead, request.body);
    const gone = new AbortController();
    reply.raw.once("close", () => gone.abort());
    const lines = follow
      ? store.follow(filter, { limit, signal: gone.signal })
      : store.query(filter, { order, limit });
    return reply
      .header("content-type", "application/x-ndjson; charset=utf-8")
      .send(ndjsonBody(lines, { signal: gone.signal, heartbeatMs: HEARTBEAT_MS }));
  });
}

function parse<T>(action: string, shape: z.ZodType<T>, value: unknown): T {
  const parsed = shape.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new PlatformError(
    "bad_request",
    `Cannot ${action}: field "${issue?.path.join(".") ?? ""}": ${issue?.message ?? "malformed"}`,
  );
}
