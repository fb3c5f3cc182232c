import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { PlatformError } from "../../api/errors.ts";
import { CALLER_HEADERS, INTERNAL_HEADER_PREFIXES } from "../../api/headers.ts";
import { HEADER_INVOKE_AUTHORIZATION } from "../../api/wire/ops.ts";
import type { SignedCall, SignedClient } from "../../net/signed-client.ts";

/** The router's internal listener: signed calls. */
export type RouterInternal = Pick<SignedClient, "send">;

const PREFIX = "/v1/invoke/";
const TARGET =
  /^([a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)\/([a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?(?::[a-z0-9.-]{1,253})?)((?:[/?].*)?)$/;
const HOP_BY_HOP = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);
/** The router reads signed bodies whole, up to the same size. */
const MAX_BODY_BYTES = 64 * 2 ** 20;
/** The router and the function's own timeouts decide; this only frees a call that everything else forgot. */
const LONGEST_CALL_MS = 24 * 3_600_000;

/** `/v1/invoke/<namespace>/<function>…` → the function's answer, as the router gives it. To be registered in a scope of its own. */
export function invokeRoute(app: FastifyInstance, router: RouterInternal): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", { parseAs: "buffer", bodyLimit: MAX_BODY_BYTES }, (_request, body, done) =>
    done(null, body),
  );
  app.all(`${PREFIX}*`, { bodyLimit: MAX_BODY_BYTES }, (request, reply) => invoke(request, reply, router));
}

/** The namespace that a call of `/v1/invoke/…` is about. @throws {PlatformError} bad_request */
export function invokedNamespace(url: string): string {
  return invokeTarget(url).namespace;
}

function invokeTarget(url: string): { namespace: string; target: string } {
  const match = TARGET.exec(url.slice(PREFIX.length));
  if (!match) {
    throw new PlatformError(
      "bad_request",
      `Cannot invoke "${url.split("?", 1)[0] ?? ""}": the path must be ${PREFIX}<namespace>/<function>[/<path>]`,
    );
  }
  const [, namespace = "", name = "", rest = ""] = match;
  return { namespace, target: `/fission-function/${namespace}/${name}${rest}` };
}

async function invoke(
  request: FastifyRequest,
  reply: FastifyReply,
  router: RouterInternal,
): Promise<FastifyReply> {
  const { target } = invokeTarget(request.raw.url ?? "");
  const left = new AbortController();
  reply.raw.once("close", () => {
    if (!reply.raw.writableFinished) left.abort();
  });
  const answer = await router.send({
    method: methodOf(request),
    target,
    headers: forwardedHeaders(request.headers),
    ...(Buffer.isBuffer(request.body) && request.body.length > 0 ? { body: request.body } : {}),
    timeoutMs: LONGEST_CALL_MS,
    signal: left.signal,
  });
  reply.code(answer.status);
  for (const [name, value] of Object.entries(answer.headers)) {
    if (value !== undefined && !HOP_BY_HOP.has(name)) reply.header(name, value);
  }
  return await reply.send(answer.body);
}

function methodOf(request: FastifyRequest): SignedCall["method"] {
  const methods: readonly SignedCall["method"][] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];
  const method = methods.find((known) => known === request.method);
  if (method) return method;
  throw new PlatformError(
    "method_not_allowed",
    `Cannot invoke with ${request.method}: allowed are ${methods.join(", ")}`,
  );
}

function forwardedHeaders(headers: FastifyRequest["headers"]): Record<string, string> {
  const kept: Record<string, string> = {};
  const own = new Set(["authorization", "host", "content-length", "expect"]);
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || own.has(name) || HOP_BY_HOP.has(name) || !mayPass(name)) continue;
    kept[name] = Array.isArray(value) ? value.join(", ") : value;
  }
  const authorization = headers[HEADER_INVOKE_AUTHORIZATION];
  return typeof authorization === "string" ? { ...kept, authorization } : kept;
}

function mayPass(name: string): boolean {
  if (!INTERNAL_HEADER_PREFIXES.some((prefix) => name.startsWith(prefix))) return true;
  return CALLER_HEADERS.some((allowed) => allowed === name);
}
