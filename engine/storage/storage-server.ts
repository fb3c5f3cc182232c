import fastify, { type FastifyInstance } from "fastify";
import { fastifyErrorHandler } from "../../net/error-reply.ts";
import type { KeyRing } from "../../net/keys.ts";
import type { Log } from "../../net/log.ts";
import type { MetricsRegistry } from "../../net/metrics.ts";
import { verifier } from "../../net/sign.ts";
import { requireSignedCalls } from "../../net/signed-hook.ts";
import { PAYLOADS_AUDIENCE } from "../../api/wire/payloads.ts";
import { archiveRoutes } from "./archive-routes.ts";
import type { ArchiveStore } from "./archive-store.ts";
import { payloadRoutes } from "./payload-routes.ts";
import type { PayloadStore } from "./payload-store.ts";

/** The receiver's identity that callers sign for. */
export const STORAGE_AUDIENCE = "storage";

export interface StorageServerOptions {
  readonly store: ArchiveStore;
  readonly payloads: PayloadStore;
  readonly maxArchiveBytes: number;
  readonly keys: KeyRing;
  readonly registry: MetricsRegistry;
  /** Why contents cannot be served now. */
  readonly notReady: () => string | undefined;
  readonly log: Log;
}

const CALL_BOUNDS_S = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/** The storage's API for the platform's other processes. Not listening yet. */
export function createStorageServer(options: StorageServerOptions): FastifyInstance {
  const { log, registry } = options;
  const app = fastify({
    forceCloseConnections: "idle",
    http: { headersTimeout: 10_000 },
    // Uploads may take their time; the caller is known before the body is read.
    requestTimeout: 0,
  });
  const onError = fastifyErrorHandler({
    debug: true,
    badRequest: "archive_invalid",
    onUnexpected: (error) => log.error("A call failed unexpectedly", { error }),
  });
  app.setErrorHandler((error, request, reply) => onError(error, request, reply));
  const calls = registry.counter({
    name: "isotope_storage_calls_total",
    help: "Calls for archives and payloads by method and status",
    labels: ["method", "status"],
  });
  const seconds = registry
    .histogram({
      name: "isotope_storage_call_seconds",
      help: "Duration of calls for archives and payloads, content included",
      bounds: CALL_BOUNDS_S,
    })
    .series({});
  app.addHook("onResponse", async (request, reply) => {
    if (!request.url.startsWith("/v1/")) return;
    calls.series({ method: request.method, status: String(reply.statusCode) }).value += 1;
    seconds.observe(reply.elapsedTime / 1000);
  });
  app.get("/healthz", () => "ok\n");
  app.get("/readyz", (_request, reply) => {
    const why = options.notReady();
    return reply.code(why === undefined ? 200 : 503).send(`${why ?? "ok"}\n`);
  });
  // Each with an audience of its own: who may pass on calls for archives reaches no payload by that.
  const signed = (audience: string, routes: (scope: FastifyInstance) => void): void =>
    void app.register((scope, _options, done) => {
      requireSignedCalls(scope, { verifier: verifier(options.keys, audience) });
      routes(scope);
      done();
    });
  signed(STORAGE_AUDIENCE, (scope) => archiveRoutes(scope, options));
  signed(PAYLOADS_AUDIENCE, (scope) => payloadRoutes(scope, options.payloads));
  return app;
}
