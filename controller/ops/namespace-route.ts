import type { FastifyInstance } from "fastify";
import { NamespaceQuery, type OpsNamespace } from "../../api/wire/ops.ts";
import type { NamespaceScope } from "../../kube/scope.ts";
import { parseQuery } from "./parse-query.ts";

export interface NamespaceSources {
  /** Absent = the platform minds every namespace. */
  readonly scope?: Pick<NamespaceScope, "has" | "synced"> | undefined;
  /** The labels, `key=value`, of which a namespace must carry one. */
  readonly labels: readonly string[];
}

/** `GET /v1/namespace`: nothing happens to objects of a namespace that the platform does not mind, and nobody there says why. */
export function namespaceRoute(app: FastifyInstance, { scope, labels }: NamespaceSources): void {
  app.get("/v1/namespace", async (request): Promise<OpsNamespace> => {
    const { namespace } = parseQuery("tell of a namespace", NamespaceQuery, request.query);
    await scope?.synced;
    return { namespace, served: scope?.has(namespace) ?? true, labels: scope ? [...labels] : [] };
  });
}
