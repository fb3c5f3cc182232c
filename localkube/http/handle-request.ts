import type { IncomingMessage, ServerResponse } from "node:http";
import { methodNotAllowed, pathNotFound, unauthorized } from "../api/api-error.ts";
import {
  AGGREGATED_TYPE,
  aggregatedDocument,
  apiVersionsDocument,
  groupListDocument,
  resourceListDocument,
  SERVER_VERSION,
  singleGroupDocument,
} from "../discovery/discovery.ts";
import { openApiDocument, openApiIndex } from "../openapi/documents.ts";
import type { Exchange, ResourceRequest, Service, User } from "./exchange.ts";
import { flag } from "./exchange.ts";
import { handleList } from "./list-handler.ts";
import { handleLog } from "./log-handler.ts";
import {
  handleCreate,
  handleDelete,
  handleDeleteCollection,
  handleGet,
  handlePatch,
  handleReplace,
} from "./object-handlers.ts";
import { handleBinding, handleEviction, handleFinalize } from "./pod-actions.ts";
import { sendError, sendJson, sendText, toApiError } from "./respond.ts";
import { handleReview } from "./review-handlers.ts";
import { type Route, routeRequest } from "./route-request.ts";
import { handleScale } from "./scale-handler.ts";
import { handleWatch } from "./watch-handler.ts";

const ADMINISTRATOR: User = {
  username: "localkube-admin",
  groups: ["system:masters", "system:authenticated"],
};

/** The bearer token of a request; undefined without one. */
function bearerToken(request: IncomingMessage): string | undefined {
  return /^Bearer\s+(\S+)\s*$/i.exec(request.headers.authorization ?? "")?.[1];
}

/** Answers one request; every failure becomes a Status. Never rejects. */
export async function handleRequest(
  service: Service,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  response.on("error", () => undefined);
  try {
    const [path = "/", search = ""] = (request.url ?? "/").split(/\?(.*)/s, 2);
    const query = new URLSearchParams(search);
    const route = routeOrUndefined(service, path);
    if (route?.to === "health") {
      sendText(response, 200, "text/plain", "ok");
      return;
    }
    const token = bearerToken(request);
    if (token === undefined || !service.isToken(token)) throw unauthorized();
    const exchange: Exchange = { service, request, response, path, query, user: ADMINISTRATOR };
    await dispatch(exchange, route ?? routeRequest(service.core.registry, path));
  } catch (error) {
    const refusal = toApiError(error);
    if (refusal.code === 500)
      service.log(
        `${request.method} ${request.url}: ${error instanceof Error ? (error.stack ?? "") : String(error)}`,
      );
    sendError(response, refusal);
  } finally {
    // An unread body would otherwise hold the connection.
    if (!request.complete) request.resume();
  }
}

function routeOrUndefined(service: Service, path: string): Route | undefined {
  try {
    return routeRequest(service.core.registry, path);
  } catch {
    return undefined;
  }
}

async function dispatch(exchange: Exchange, route: Route): Promise<void> {
  if (route.to === "resource") {
    await dispatchResource(exchange, route.target);
    return;
  }
  if (route.to === "review") {
    if (exchange.request.method !== "POST") throw methodNotAllowed();
    await handleReview(exchange, route.review);
    return;
  }
  if (exchange.request.method !== "GET" && exchange.request.method !== "HEAD") throw methodNotAllowed();
  sendDocument(exchange, route);
}

function sendDocument(exchange: Exchange, route: Route): void {
  const { response, service } = exchange;
  const { registry } = service.core;
  const document = documentFor(exchange, route);
  if (document === undefined) throw pathNotFound();
  if (
    route.to === "discovery" &&
    (exchange.request.headers.accept ?? "").includes("as=APIGroupDiscoveryList")
  ) {
    sendText(
      response,
      200,
      AGGREGATED_TYPE,
      JSON.stringify(aggregatedDocument(registry, route.level === "api")),
    );
    return;
  }
  sendJson(response, 200, document);
}

function documentFor(exchange: Exchange, route: Route): object | string | undefined {
  const { registry } = exchange.service.core;
  switch (route.to) {
    case "root":
      return {
        paths: ["/api", "/api/v1", "/apis", "/healthz", "/livez", "/openapi/v3", "/readyz", "/version"],
      };
    case "version":
      return SERVER_VERSION;
    case "discovery":
      return route.level === "api"
        ? apiVersionsDocument(exchange.request.headers.host ?? "")
        : groupListDocument(registry);
    case "group":
      return singleGroupDocument(registry, route.group);
    case "groupVersion":
      return resourceListDocument(registry, route.group, route.version);
    case "openapi":
      return route.path === "v3"
        ? openApiIndex(registry)
        : route.path.startsWith("v3/")
          ? openApiDocument(registry, route.path.slice("v3/".length))
          : undefined;
    default:
      return undefined;
  }
}

async function dispatchResource(exchange: Exchange, target: ResourceRequest): Promise<void> {
  const { subresource, definition } = target;
  if (subresource !== undefined && subresource !== "status") {
    await dispatchSubresource(exchange, target);
    return;
  }
  if (subresource === "status" && !definition.statusSubresource) throw pathNotFound();
  const isWatch = flag(exchange.query, "watch");
  switch (exchange.request.method) {
    case "GET":
    case "HEAD":
      if (isWatch) await handleWatch(exchange, target);
      else if (target.name === undefined) await handleList(exchange, target);
      else await handleGet(exchange, target);
      return;
    case "POST":
      if (subresource === "status") throw methodNotAllowed();
      await handleCreate(exchange, target);
      return;
    case "PUT":
      await handleReplace(exchange, target);
      return;
    case "PATCH":
      await handlePatch(exchange, target);
      return;
    case "DELETE":
      if (subresource === "status") throw methodNotAllowed();
      if (target.name === undefined) await handleDeleteCollection(exchange, target);
      else await handleDelete(exchange, target);
      return;
    default:
      throw methodNotAllowed();
  }
}

async function dispatchSubresource(exchange: Exchange, target: ResourceRequest): Promise<void> {
  const { storage } = target.definition;
  switch (target.subresource) {
    case "scale":
      await handleScale(exchange, target);
      return;
    case "log":
      if (storage !== "pods") throw pathNotFound();
      await handleLog(exchange, target);
      return;
    case "eviction":
      if (storage !== "pods") throw pathNotFound();
      await handleEviction(exchange, target);
      return;
    case "binding":
      if (storage !== "pods") throw pathNotFound();
      await handleBinding(exchange, target);
      return;
    case "finalize":
      if (storage !== "namespaces") throw pathNotFound();
      await handleFinalize(exchange, target);
      return;
    case "exec":
    case "attach":
    case "portforward":
    case "proxy":
      throw methodNotAllowed();
    default:
      throw pathNotFound();
  }
}
