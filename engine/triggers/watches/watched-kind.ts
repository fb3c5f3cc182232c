import { z } from "zod";
import { isFieldPath, type KubernetesWatchTrigger } from "../../../api/kinds/index.ts";
import type { KubeClient } from "../../../kube/client.ts";
import { isNotFound, KubeError } from "../../../kube/kube-error.ts";
import { type ResourceType, resourceType } from "../../../kube/resource.ts";

/** Why a trigger cannot watch, for its conditions. */
export class WatchFault extends Error {
  readonly reason: "InvalidSpec" | "UnknownKind" | "AccessDenied" | "NotWatchable";
  constructor(reason: WatchFault["reason"], message: string) {
    super(message);
    this.reason = reason;
  }
}

/** What a trigger watches. */
export interface WatchedKind {
  readonly type: ResourceType;
  readonly labelSelector: string | undefined;
  readonly fieldSelector: string | undefined;
}

const SHORT_TYPES: Readonly<Record<string, ResourceType>> = {
  POD: resourceType("v1", "Pod", "pods"),
  SERVICE: resourceType("v1", "Service", "services"),
  REPLICATIONCONTROLLER: resourceType("v1", "ReplicationController", "replicationcontrollers"),
  JOB: resourceType("batch/v1", "Job", "jobs"),
};

type Spec = KubernetesWatchTrigger["spec"];

/** @throws {WatchFault} */
export async function watchedKind(
  client: Pick<KubeClient, "request">,
  trigger: KubernetesWatchTrigger,
): Promise<WatchedKind> {
  const { spec, metadata } = trigger;
  const own = metadata.namespace ?? "default";
  if (spec.namespace !== undefined && spec.namespace !== "" && spec.namespace !== own)
    throw new WatchFault(
      "InvalidSpec",
      `Cannot watch: spec.namespace must be the trigger's own, "${own}", got "${spec.namespace}"`,
    );
  const wrong = spec.fields?.find((path) => !isFieldPath(path));
  if (wrong !== undefined)
    throw new WatchFault(
      "InvalidSpec",
      `Cannot watch: spec.fields must be paths such as "status.phase", "metadata.labels['app']" or "status.containerStatuses[*].restartCount", got ${JSON.stringify(wrong)}`,
    );
  return {
    type: await typeOf(client, spec),
    labelSelector: labelSelectorOf(spec),
    fieldSelector: spec.fieldselector || undefined,
  };
}

/** What a refused list says of the trigger; other errors stay as they are. */
export function listFault(error: unknown, { type, labelSelector, fieldSelector }: WatchedKind): unknown {
  if (!(error instanceof KubeError)) return error;
  if (error.status === 403)
    return new WatchFault(
      "NotWatchable",
      `The platform itself may not list ${type.plural}: add the kind to the chart's value triggers.watchable (${error.message})`,
    );
  if (error.status !== 400 || (labelSelector === undefined && fieldSelector === undefined)) return error;
  return new WatchFault(
    "InvalidSpec",
    `Cannot watch: the API server refuses the label selector ${JSON.stringify(labelSelector ?? "")} or the field selector ${JSON.stringify(fieldSelector ?? "")}: ${error.message}`,
  );
}

function labelSelectorOf({ labelselector, selector }: Spec): string | undefined {
  const labels = Object.entries(labelselector ?? {}).map(([name, value]) => `${name}=${value}`);
  return [...labels, ...(selector ? [selector] : [])].join(",") || undefined;
}

async function typeOf(
  client: Pick<KubeClient, "request">,
  { type, apiVersion, kind }: Spec,
): Promise<ResourceType> {
  if (kind === undefined || apiVersion === undefined) {
    const found = SHORT_TYPES[(type ?? "").toUpperCase()];
    if (found) return found;
    const allowed = Object.keys(SHORT_TYPES).join(", ");
    throw new WatchFault(
      "UnknownKind",
      `Cannot watch: spec.type must be one of ${allowed}, got "${type ?? ""}"; for any other kind give spec.apiVersion and spec.kind`,
    );
  }
  const resource = (await resourcesOf(client, apiVersion)).find(
    (each) => each.kind === kind && !each.name.includes("/"),
  );
  if (!resource)
    throw new WatchFault("UnknownKind", `Cannot watch: "${apiVersion}" has no kind "${kind}" here`);
  if (!resource.namespaced)
    throw new WatchFault(
      "UnknownKind",
      `Cannot watch: "${kind}" of "${apiVersion}" lies in no namespace, and a trigger watches its own only`,
    );
  return resourceType(apiVersion, kind, resource.name);
}

const ResourceList = z.object({
  resources: z.array(z.object({ name: z.string(), kind: z.string(), namespaced: z.boolean() })),
});

async function resourcesOf(client: Pick<KubeClient, "request">, apiVersion: string) {
  const path = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  try {
    return ResourceList.parse(await client.request({ method: "GET", path })).resources;
  } catch (error) {
    if (isNotFound(error))
      throw new WatchFault("UnknownKind", `Cannot watch: there is no API "${apiVersion}" here`);
    throw error;
  }
}

const Review = z.object({
  status: z.object({ allowed: z.boolean().optional(), reason: z.string().optional() }),
});
const VERBS = ["get", "list", "watch"] as const;

/** Asks the API server whether the trigger's service account may see what it would be told of. @throws {WatchFault} AccessDenied */
export async function checkAccess(
  client: Pick<KubeClient, "request">,
  trigger: KubernetesWatchTrigger,
  type: ResourceType,
): Promise<void> {
  const namespace = trigger.metadata.namespace ?? "default";
  const account = trigger.spec.serviceAccount || "default";
  const group = type.apiVersion.includes("/") ? type.apiVersion.slice(0, type.apiVersion.indexOf("/")) : "";
  for (const verb of VERBS) {
    const { status } = Review.parse(
      await client.request({
        method: "POST",
        path: "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        body: {
          apiVersion: "authorization.k8s.io/v1",
          kind: "SubjectAccessReview",
          spec: {
            user: `system:serviceaccount:${namespace}:${account}`,
            groups: ["system:serviceaccounts", `system:serviceaccounts:${namespace}`, "system:authenticated"],
            resourceAttributes: { namespace, verb, group, resource: type.plural },
          },
        },
      }),
    );
    if (status.allowed !== true)
      throw new WatchFault(
        "AccessDenied",
        `Service account "${account}" of namespace "${namespace}" may not ${verb} ${type.plural}${group ? `.${group}` : ""}: bind a role to it, or name another in spec.serviceAccount`,
      );
  }
}
