import type { FastifyInstance, FastifyRequest } from "fastify";
import { PlatformError } from "../../api/errors.ts";
import { NO_WORKFLOW_SERVICE } from "../../api/workflow-errors.ts";
import type { SignedClient } from "../../net/signed-client.ts";
import type { Permission } from "./authenticate.ts";
import { MAX_PASSED_BYTES, namespaceIn, passOn } from "./pass-on.ts";

/** What the operations API passes on to the workflow service, behind its own check of who calls. */
export interface WorkflowsRouteDeps {
  /** Undefined: there is no workflow service. */
  readonly service: Pick<SignedClient, "send"> | undefined;
  /** @throws {PlatformError} forbidden */
  readonly authorize: (request: FastifyRequest, permission: Permission) => Promise<void>;
}

const RUN_ACTIONS = new Set(["events", "cancel", "terminate", "retry"]);
const RUNS_PATH = /^\/v1\/(runs|workflows|definitions)(\/|$)/;

/** Whether a path is the workflow service's. Callbacks are not: their tokens are for the router's public listener. */
export const isWorkflowsPath = (path: string): boolean => RUNS_PATH.test(path);

/** Runs and workflows of the operations API. To be registered in a scope of its own. */
export function workflowsRoutes(app: FastifyInstance, deps: WorkflowsRouteDeps): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", { parseAs: "buffer", bodyLimit: MAX_PASSED_BYTES }, (_request, body, done) =>
    done(null, body),
  );
  for (const prefix of ["/v1/runs", "/v1/runs/*", "/v1/workflows/*", "/v1/definitions/*"])
    app.all(prefix, { bodyLimit: MAX_PASSED_BYTES }, async (request, reply) => {
      await deps.authorize(request, permissionOf(request));
      if (!deps.service) throw new PlatformError("workflows_unavailable", NO_WORKFLOW_SERVICE);
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
