import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { z } from "zod";
import { PlatformError } from "../../api/errors.ts";
import { NO_WORKFLOW_SERVICE } from "../../api/workflow-errors.ts";
import type { SignedClient } from "../../net/signed-client.ts";
import type { Permission } from "./authenticate.ts";

/** What the operations API passes on to the workflow service, behind its own check of who calls. */
export interface WorkflowsRouteDeps {
  /** Undefined: there is no workflow service. */
  readonly service: Pick<SignedClient, "send"> | undefined;
  /** @throws {PlatformError} forbidden */
  readonly authorize: (request: FastifyRequest, permission: Permission) => Promise<void>;
}

const MAX_BODY_BYTES = 64 * 2 ** 20;
/** Streams and waits take as long as they take; this only frees a call that everything else forgot. */
const LONGEST_CALL_MS = 24 * 3_600_000;
const PASSED_ON = ["content-type", "accept", "last-event-id", "x-fission-request-id"];
const PASSED_BACK = ["content-type", "cache-control", "retry-after", "x-accel-buffering"];

const Named = z.object({ namespace: z.string().max(63) });
const RUN_ACTIONS = new Set(["events", "cancel", "terminate", "retry"]);
const RUNS_PATH = /^\/v1\/(runs|workflows|definitions)(\/|$)/;

/** Whether a path is the workflow service's. Callbacks are not: their tokens are for the router's public listener. */
export const isWorkflowsPath = (path: string): boolean => RUNS_PATH.test(path);

/** Runs and workflows of the operations API. To be registered in a scope of its own. */
export function workflowsRoutes(app: FastifyInstance, deps: WorkflowsRouteDeps): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", { parseAs: "buffer", bodyLimit: MAX_BODY_BYTES }, (_request, body, done) =>
    done(null, body),
  );
  for (const prefix of ["/v1/runs", "/v1/runs/*", "/v1/workflows/*", "/v1/definitions/*"])
    app.all(prefix, { bodyLimit: MAX_BODY_BYTES }, async (request, reply) => {
      await deps.authorize(request, permissionOf(request));
      return passOn(request, reply, deps.service);
    });
}

/** What a call needs, as rights on workflowruns and workflows. @throws {PlatformError} */
function permissionOf(request: FastifyRequest): Permission {
  const { pathname, searchParams } = new URL(request.raw.url ?? "/", "http://ops");
  const [, , kind, namespace, , action] = pathname.split("/").map(decodeURIComponent);
  const group = "fission.io";
  if (kind === "workflows") return { verb: "get", group, resource: "workflows", namespace };
  if (kind === "definitions")
    return { verb: "create", group, resource: "workflows", namespace: namespaceIn(request.body) };
  const resource = "workflowruns";
  if (namespace !== undefined && namespace !== "") {
    if (request.method === "GET") return { verb: "get", group, resource, namespace };
    if (action !== undefined && RUN_ACTIONS.has(action))
      return { verb: "update", group, resource, namespace };
    throw new PlatformError("method_not_allowed", `Cannot ${request.method} ${pathname}`);
  }
  if (request.method === "POST")
    return { verb: "create", group, resource, namespace: namespaceIn(request.body) };
  return { verb: "list", group, resource, namespace: searchParams.get("namespace") ?? undefined };
}

/** The namespace that a body names: it is read again, and refused if it is odd, by the service. */
function namespaceIn(body: unknown): string {
  try {
    return Named.parse(JSON.parse(Buffer.isBuffer(body) ? body.toString("utf8") : "")).namespace;
  } catch (cause) {
    throw new PlatformError(
      "bad_request",
      'Cannot read the request: its body must be JSON with a "namespace"',
      {
        cause,
      },
    );
  }
}

async function passOn(
  request: FastifyRequest,
  reply: FastifyReply,
  service: WorkflowsRouteDeps["service"],
): Promise<FastifyReply> {
  if (!service) throw new PlatformError("workflows_unavailable", NO_WORKFLOW_SERVICE);
  if (request.method !== "GET" && request.method !== "POST")
    throw new PlatformError("method_not_allowed", `${request.method} is not allowed on runs`);
  const headers: Record<string, string> = {};
  for (const name of PASSED_ON) {
    const value = request.headers[name];
    if (typeof value === "string") headers[name] = value;
  }
  const left = new AbortController();
  reply.raw.once("close", () => left.abort());
  const answer = await service.send({
    method: request.method,
    target: request.raw.url ?? "/",
    headers,
    ...(Buffer.isBuffer(request.body) && request.body.length > 0 ? { body: request.body } : {}),
    timeoutMs: LONGEST_CALL_MS,
    signal: left.signal,
  });
  reply.code(answer.status);
  for (const name of PASSED_BACK) {
    const value = answer.headers[name];
    if (value !== undefined) reply.header(name, value);
  }
  return await reply.send(answer.body);
}
