import type { FastifyInstance, FastifyRequest } from "fastify";
import { PlatformError } from "../../api/errors.ts";
import { NO_TRIGGER_SERVICE } from "../../api/event-errors.ts";
import type { SignedClient } from "../../net/signed-client.ts";
import type { Permission } from "./authenticate.ts";
import { MAX_PASSED_BYTES, namespaceIn, passOn } from "./pass-on.ts";

/** What the operations API passes on to the trigger service, behind its own check of who calls. */
export interface TriggersRouteDeps {
  /** Undefined: there is no trigger service. */
  readonly service: Pick<SignedClient, "send"> | undefined;
  /** @throws {PlatformError} forbidden */
  readonly authorize: (request: FastifyRequest, permission: Permission) => Promise<void>;
}

/** First word of the path → the kind that a caller needs rights on. */
const RESOURCES: Readonly<Record<string, string>> = {
  invocations: "functions",
  dlq: "functions",
  timers: "timetriggers",
  watches: "kuberneteswatchtriggers",
  topics: "messagequeuetriggers",
  queues: "messagequeuetriggers",
};
const PATH = new RegExp(`^/v1/(${Object.keys(RESOURCES).join("|")})(/|$)`);

/** Whether a path is the trigger service's. */
export const isTriggersPath = (path: string): boolean => PATH.test(path);

/** Invocations, dead letters, timers and topics of the operations API. To be registered in a scope of its own. */
export function triggersRoutes(app: FastifyInstance, deps: TriggersRouteDeps): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", { parseAs: "buffer", bodyLimit: MAX_PASSED_BYTES }, (_request, body, done) =>
    done(null, body),
  );
  for (const word of Object.keys(RESOURCES))
    for (const path of [`/v1/${word}`, `/v1/${word}/*`])
      app.all(path, { bodyLimit: MAX_PASSED_BYTES }, async (request, reply) => {
        await deps.authorize(request, permissionOf(request, word));
        if (!deps.service) throw new PlatformError("triggers_unavailable", NO_TRIGGER_SERVICE);
        return passOn(request, reply, deps.service);
      });
}

/**
 * Whoever may read the functions (or triggers) of a namespace may read what happened to them. Whoever may call its functions may have them called: publish,
 * redrive; and may take back what waits to be delivered.
 */
function permissionOf(request: FastifyRequest, word: string): Permission {
  const { pathname, searchParams } = new URL(request.raw.url ?? "/", "http://ops");
  const named = pathname.split("/")[3];
  const group = "fission.io";
  const resource = RESOURCES[word] ?? word;
  const inPath =
    named === undefined || named === "" || word === "dlq" ? undefined : decodeURIComponent(named);
  if (request.method === "GET")
    return inPath === undefined
      ? { verb: "list", group, resource, namespace: searchParams.get("namespace") ?? undefined }
      : { verb: "get", group, resource, namespace: inPath };
  return {
    verb: "create",
    group,
    resource: "functions",
    subresource: "invoke",
    namespace: inPath ?? namespaceIn(request.body),
  };
}
