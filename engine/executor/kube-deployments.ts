import { SPECIALISED_GATE } from "../../api/names.ts";
import type { KubeClient } from "../../kube/client.ts";
import { setConditions } from "../../kube/conditions.ts";
import { AUTOSCALERS, DEPLOYMENTS, PODS, SERVICES } from "../../kube/core.ts";
import { FUNCTIONS } from "../../kube/kinds.ts";
import { isAlreadyExists, isConflict, isNotFound } from "../../kube/kube-error.ts";
import type { KubeObject } from "../../kube/object.ts";
import type { ResourceType } from "../../kube/resource.ts";
import type { Cluster, ManifestMeta } from "./cluster.ts";

type Writes = Pick<
  Cluster,
  | "applyDeployment"
  | "scaleDeployment"
  | "deleteDeployment"
  | "applyService"
  | "applyAutoscaler"
  | "markSpecialised"
  | "setCondition"
>;

const CONDITION_TRIES = 5;

/** The executor's writes about Deployments, over `kube/`. */
export function deploymentWrites(client: KubeClient): Writes {
  return {
    applyDeployment: async ({ metadata, spec }) => {
      const { replicas, ...kept } = spec;
      const template = { ...kept.template, spec: { containers: [], ...kept.template.spec } };
      const body = { ...kept, template };
      const written = await patchOrCreate(client, DEPLOYMENTS, metadata, body, (meta) => ({
        metadata: meta,
        spec: { ...body, replicas },
      }));
      return { generation: written.metadata.generation ?? 0, replicas: written.spec.replicas ?? 1 };
    },
    scaleDeployment: async (namespace, name, replicas) => {
      const written = await client.patch(DEPLOYMENTS, { namespace, name }, { spec: { replicas } });
      return written.metadata.generation ?? 0;
    },
    deleteDeployment: async (namespace, name) => {
      for (const type of [AUTOSCALERS, SERVICES, DEPLOYMENTS])
        await client.delete(type, { namespace, name }, { propagation: "Background" });
    },
    applyService: async ({ metadata, spec }) => {
      const { selector, ports } = spec;
      const body = { selector, ports: ports.map((port) => ({ ...port })) };
      await patchOrCreate(client, SERVICES, metadata, body, (meta) => ({ metadata: meta, spec: body }));
    },
    applyAutoscaler: async ({ metadata, spec }) => {
      const { behavior, ...rest } = spec;
      const body = { ...rest, metrics: [...spec.metrics] };
      // A merge patch takes away what is null.
      const patch = { ...body, behavior: behavior ?? null };
      await patchOrCreate(client, AUTOSCALERS, metadata, patch, (meta) => ({
        metadata: meta,
        spec: { ...body, ...(behavior === undefined ? {} : { behavior }) },
      }));
    },
    markSpecialised: async ({ namespace, name, uid }) => {
      const condition = {
        type: SPECIALISED_GATE,
        status: "True",
        reason: "Specialised",
        lastTransitionTime: new Date().toISOString().replace(/\.\d+Z$/, "Z"),
      };
      const body = { metadata: { uid }, status: { conditions: [condition] } };
      try {
        await client.patch(PODS, { namespace, name }, body, { strategy: "strategic", subresource: "status" });
      } catch (error) {
        if (!isNotFound(error) && !isConflict(error)) throw error;
      }
    },
    setCondition: (fn, condition) => setCondition(client, fn, condition),
  };
}

const setCondition = async (
  client: KubeClient,
  { namespace, name, uid }: Parameters<Writes["setCondition"]>[0],
  update: Parameters<Writes["setCondition"]>[1],
): Promise<void> => {
  for (let attempt = 1; ; attempt += 1) {
    const fn = await client.find(FUNCTIONS, { namespace, name });
    if (!fn || fn.metadata.uid !== uid) return;
    const before = fn.status?.conditions;
    const { generation, resourceVersion } = fn.metadata;
    const conditions = setConditions(before, [update], { generation, now: new Date() });
    if (conditions === before) return;
    try {
      await client.patchStatus(FUNCTIONS, { namespace, name }, { conditions }, { resourceVersion });
      return;
    } catch (error) {
      if (isNotFound(error)) return;
      // The controller writes the same status.
      if (!isConflict(error) || attempt === CONDITION_TRIES) throw error;
    }
  }
};

/** Patches the spec of what exists, creates what does not. */
async function patchOrCreate<T extends KubeObject>(
  client: KubeClient,
  type: ResourceType<T>,
  metadata: ManifestMeta,
  patch: unknown,
  make: (meta: KubeObject["metadata"]) => T,
): Promise<T> {
  const { name, namespace, labels } = metadata;
  const ref = { namespace, name };
  const change = { metadata: { labels }, spec: patch };
  try {
    return await client.patch(type, ref, change);
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
  try {
    const ownerReferences = [...(metadata.ownerReferences ?? [])];
    return await client.create(type, make({ ...ref, labels, ownerReferences }));
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
    return client.patch(type, ref, change);
  }
}
