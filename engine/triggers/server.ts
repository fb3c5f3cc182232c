import fastify, { type FastifyInstance } from "fastify";
import { TRIGGERS_AUDIENCE } from "../../api/wire/invocations.ts";
import { fastifyErrorHandler } from "../../net/error-reply.ts";
import type { KeyRing } from "../../net/keys.ts";
import type { Log } from "../../net/log.ts";
import { verifier } from "../../net/sign.ts";
import { requireSignedCalls } from "../../net/signed-hook.ts";

export interface TriggerServerOptions {
  readonly keys: KeyRing;
  readonly log: Log;
  /** Why nothing can be done now. */
  readonly notReady: () => string | undefined;
  /** Registers what is served, behind the check of signatures; each in a scope of its own. */
  readonly routes: readonly ((scope: FastifyInstance) => void)[];
}

/** The trigger service's API for the platform's other processes. Not listening yet. */
export function createTriggerServer(options: TriggerServerOptions): FastifyInstance {
  const { log } = options;
  const app = fastify({
    forceCloseConnections: true,
    http: { headersTimeout: 10_000 },
    // Whoever follows a topic stays for long; the caller is known before the body is read.
    requestTimeout: 0,
    routerOptions: { maxParamLength: 1_024 },
  });
  const onError = fastifyErrorHandler({
    debug: true,
    onUnexpected: (error) => log.error("A call failed unexpectedly", { error }),
  });
  app.setErrorHandler((error, request, reply) => onError(error, request, reply));
  // A command without a body is one with an empty body, whatever type it claims.
  app.removeContentTypeParser("application/json");
  app.addContentTypeParser("application/json", { parseAs: "string" }, (request, body, done) => {
    if (body === "") return done(null, undefined);
    void app.getDefaultJsonParser("error", "ignore")(request, String(body), done);
  });
  requireSignedCalls(app, {
    verifier: verifier(options.keys, TRIGGERS_AUDIENCE),
    open: ["/healthz", "/readyz"],
  });
  app.get("/healthz", () => "ok\n");
  app.get("/readyz", (_request, reply) => {
    const why = options.notReady();
    return reply.code(why === undefined ? 200 : 503).send(`${why ?? "ok"}\n`);
  });
  for (const routes of options.routes)
    void app.register((scope, _options, done) => {
      routes(scope);
      done();
    });
  return app;
}
