import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import { PlatformError } from "../../api/errors.ts";
import { HEADER_COMPONENT, HEADER_REQUEST_ID } from "../../api/headers.ts";
import { ErrorBody } from "../../api/wire/error.ts";
import { HEADER_OPS_AUTHORIZATION, HEADER_OPS_SEALED, SEALED_HEADERS } from "../../api/wire/ops.ts";
import { errorReply, fastifyErrorHandler } from "../../net/error-reply.ts";
import type { Log } from "../../net/log.ts";
import type { Authenticator, Caller, Permission } from "./authenticate.ts";
import { invokedNamespace, invokeRoute, type RouterInternal } from "./invoke-route.ts";
import { type LogReader, logsRoute } from "./logs-route.ts";
import { type ReleaseSources, releasesRoute } from "./releases-route.ts";
import { namespaceRoute, type NamespaceSources } from "./namespace-route.ts";
import { type StatusSources, statusRoutes } from "./status-route.ts";
import { isTriggersPath, triggersRoutes, type TriggersRouteDeps } from "./triggers-route.ts";
import { isWorkflowsPath, workflowsRoutes, type WorkflowsRouteDeps } from "./workflows-route.ts";

export interface OpsServerOptions {
  readonly authenticator: Authenticator;
  readonly router: RouterInternal;
  readonly logs: LogReader;
  readonly status: StatusSources;
  readonly releases: ReleaseSources;
  readonly namespaces: NamespaceSources;
  /** The workflow service; absent: there is none. */
  readonly workflows?: WorkflowsRouteDeps["service"];
  /** The trigger service; absent: there is none. */
  readonly triggers?: TriggersRouteDeps["service"];
  readonly log: Log;
  /** Registers the archive store's routes in a scope of their own, behind the same authentication. */
  readonly archives: (scope: FastifyInstance) => void;
  /** Why the control plane cannot work now. */
  readonly notReady: () => string | undefined;
}

const OPEN = new Set(["/healthz", "/readyz"]);

/** The operations API. Not listening yet. */
export function createOpsServer(options: OpsServerOptions): FastifyInstance {
  const { authenticator, log } = options;
  const callers = new WeakMap<FastifyRequest, Caller>();
  const app = fastify({
    forceCloseConnections: true,
    routerOptions: { maxParamLength: 4_096 },
    http: { headersTimeout: 10_000 },
    // Uploads and streamed answers may take their time; the caller is known before the body is read.
    requestTimeout: 0,
  });
  const onError = fastifyErrorHandler({
    debug: true,
    onUnexpected: (error) => log.error("An operations call failed unexpectedly", { error }),
  });
  app.setErrorHandler((error, request, reply) => onError(error, request, asController(reply)));
  app.setNotFoundHandler((request, reply) => {
    const error = new PlatformError(
      "route_miss",
      `The operations API has no ${request.method} ${pathOf(request)}`,
    );
    const answer = errorReply(error, { debug: true, requestId: requestIdOf(request) });
    return reply
      .code(answer.status)
      .headers(answer.headers)
      .send({ ...answer.body, component: "controller" });
  });
  app.addHook("onRequest", async (request, reply) => {
    reply.header("x-content-type-options", "nosniff");
    if (OPEN.has(pathOf(request))) return;
    const caller = await authenticator.authenticate(authorizationOf(request));
    callers.set(request, caller);
    // What a call of these needs may stand in its body.
    if (isWorkflowsPath(pathOf(request)) || isTriggersPath(pathOf(request))) return;
    await authenticator.authorize(caller, permissionFor(request));
  });
  app.addHook("onSend", async (request, reply) => {
    if (request.headers[HEADER_OPS_SEALED] !== undefined) seal(reply);
  });
  app.get("/healthz", () => "ok\n");
  app.get("/readyz", (_request, reply) => {
    const why = options.notReady();
    return reply.code(why === undefined ? 200 : 503).send(`${why ?? "ok"}\n`);
  });
  statusRoutes(app, options.status);
  namespaceRoute(app, options.namespaces);
  logsRoute(app, options.logs);
  releasesRoute(app, options.releases);
  void app.register((scope, _options, done) => {
    invokeRoute(scope, options.router);
    done();
  });
  void app.register((scope, _options, done) => {
    options.archives(scope);
    done();
  });
  const authorize = async (request: FastifyRequest, permission: Permission): Promise<void> => {
    const caller = callers.get(request);
    if (!caller) throw new PlatformError("unauthorized");
    await authenticator.authorize(caller, permission);
  };
  void app.register((scope, _options, done) => {
    workflowsRoutes(scope, { service: options.workflows, authorize });
    done();
  });
  void app.register((scope, _options, done) => {
    triggersRoutes(scope, { service: options.triggers, authorize });
    done();
  });
  return app;
}

interface Reply {
  code(status: number): Reply;
  headers(headers: Record<string, string>): Reply;
  send(body: unknown): unknown;
}

/** The table names the router for what any HTTP server may refuse; here it is this one that does. */
function asController(reply: FastifyReply): Reply {
  const shown: Reply = {
    code: (status) => {
      reply.code(status);
      return shown;
    },
    headers: (headers) => {
      reply.headers(headers);
      return shown;
    },
    send: (body) => {
      const known = ErrorBody.safeParse(body);
      if (!known.success || known.data.component !== "router" || reply.statusCode >= 500)
        return reply.send(body);
      return reply.header(HEADER_COMPONENT, "controller").send({ ...known.data, component: "controller" });
    },
  };
  return shown;
}

function authorizationOf({ headers }: FastifyRequest): string | undefined {
  const instead = headers[HEADER_OPS_AUTHORIZATION];
  return headers.authorization ?? (typeof instead === "string" ? instead : undefined);
}

function seal(reply: FastifyReply): void {
  for (const name of SEALED_HEADERS) {
    const value = reply.getHeader(name);
    if (value === undefined) continue;
    reply.removeHeader(name);
    reply.header(`${HEADER_OPS_SEALED}-${name}`, value);
  }
}

function pathOf(request: FastifyRequest): string {
  return request.raw.url?.split("?", 1)[0] ?? "/";
}

function requestIdOf(request: FastifyRequest): string | undefined {
  const id = request.headers[HEADER_REQUEST_ID];
  return typeof id === "string" ? id : undefined;
}

/** What a call needs, in terms of what the caller may do with kubectl. */
function permissionFor(request: FastifyRequest): Permission {
  const path = pathOf(request);
  if (path.startsWith("/v1/invoke/")) {
    const namespace = invokedNamespace(request.raw.url ?? "");
    return { verb: "create", group: "fission.io", resource: "functions", subresource: "invoke", namespace };
  }
  if (path.startsWith("/v1/archive")) {
    const reads = request.method === "GET" || request.method === "HEAD";
    const verb = reads ? "get" : request.method === "DELETE" ? "delete" : "create";
    return { verb, group: "fission.io", resource: "packages" };
  }
  const namespace = new URL(request.raw.url ?? "/", "http://ops").searchParams.get("namespace") ?? undefined;
  if (path === "/v1/logs") return { verb: "get", group: "", resource: "pods", subresource: "log", namespace };
  if (path === "/v1/pods") return { verb: "list", group: "", resource: "pods", namespace };
  if (path === "/v1/releases")
    return { verb: "list", group: "fission.io", resource: "canaryconfigs", namespace };
  if (path === "/v1/namespace" && namespace)
    return { verb: "list", group: "fission.io", resource: "functions", namespace };
  return { verb: "list", group: "fission.io", resource: "functions" };
}
