import Fastify, { type FastifyInstance, type FastifyReply } from "fastify";
import type { z } from "zod";
import { PlatformError } from "../../api/errors.ts";
import {
  type AcquireReply,
  AcquireRequest,
  SuspectReport,
  type WarmReply,
  WarmRequest,
} from "../../api/wire/executor.ts";
import { LoadReport } from "../../api/wire/load.ts";
import type { ExecutorSnapshot } from "./executor.ts";

/** What the API offers. `forwarded`: another executor passes the call on, so it ends here. */
export interface ExecutorService {
  readonly acquire: (
    request: AcquireRequest,
    forwarded: boolean,
    signal: AbortSignal,
  ) => Promise<AcquireReply>;
  readonly warm: (request: WarmRequest, forwarded: boolean, signal: AbortSignal) => Promise<WarmReply>;
  readonly suspect: (report: SuspectReport, forwarded: boolean) => void;
  readonly load: (report: LoadReport, forwarded: boolean) => void;
  readonly ready: () => boolean;
  readonly snapshot: () => ExecutorSnapshot | undefined;
  readonly metrics: () => string;
}

export interface ExecutorServerOptions {
  readonly executor: ExecutorService;
  readonly host: string;
  readonly port: number;
  /** Makes the instance refuse calls that are not signed and answer errors; given by the composition root (`net/`). */
  readonly guard: (app: FastifyInstance) => void;
}

export interface ExecutorServer {
  /** Resolves to `http://host:port`. */
  start(): Promise<string>;
  /** Refuses new connections and waits for running calls. */
  stop(): Promise<void>;
}

/** Paths that need no signature. */
export const OPEN_PATHS = ["/healthz", "/readyz", "/metrics"] as const;
/** Query of calls that one executor passes on to another. */
export const FORWARDED_QUERY = "forwarded=1";
const isForwarded = (request: { readonly url: string }): boolean =>
  request.url.endsWith(`?${FORWARDED_QUERY}`);
const MAX_BODY_BYTES = 1024 * 1024;

/** The executor's API for routers (`api/wire/executor.ts`), with health, metrics and debug pages. */
export function createExecutorServer(options: ExecutorServerOptions): ExecutorServer {
  const { executor } = options;
  const app = Fastify({ bodyLimit: MAX_BODY_BYTES, forceCloseConnections: "idle" });
  options.guard(app);

  app.post("/v2/acquire", async (request, reply) => {
    const message = parse(AcquireRequest, request.body, "acquire");
    return executor.acquire(message, isForwarded(request), callerLeft(reply));
  });
  app.post("/v2/warm", async (request, reply) => {
    const message = parse(WarmRequest, request.body, "warm");
    const answer = await executor.warm(message, isForwarded(request), callerLeft(reply));
    return reply.code(answer.ready >= answer.wanted ? 200 : 202).send(answer);
  });
  app.post("/v2/suspect", async (request, reply) => {
    executor.suspect(parse(SuspectReport, request.body, "suspect"), isForwarded(request));
    return reply.code(202).send({});
  });
  app.post("/v2/load", async (request, reply) => {
    executor.load(parse(LoadReport, request.body, "load"), isForwarded(request));
    return reply.code(202).send({});
  });
  app.get("/v2/debug", async () => executor.snapshot() ?? { ready: false });
  app.get("/healthz", async () => ({ status: "ok" }));
  app.get("/readyz", async (_request, reply) =>
    reply.code(executor.ready() ? 200 : 503).send({ status: executor.ready() ? "ready" : "starting" }),
  );
  app.get("/metrics", async (_request, reply) =>
    reply.type("text/plain; version=0.0.4").send(executor.metrics()),
  );

  return {
    start: () => app.listen({ host: options.host, port: options.port }),
    stop: () => app.close(),
  };
}

/** Aborts when the caller goes before it has its answer. */
function callerLeft({ raw }: FastifyReply): AbortSignal {
  const left = new AbortController();
  raw.once("close", () => {
    if (!raw.writableFinished) left.abort();
  });
  return left.signal;
}

function parse<T>(shape: z.ZodType<T>, body: unknown, what: string): T {
  const parsed = shape.safeParse(body);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new PlatformError(
    "bad_request",
    `Cannot read the ${what} message: field "${issue?.path.join(".") ?? ""}": ${issue?.message ?? "malformed"}`,
  );
}
