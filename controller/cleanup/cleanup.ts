/**
 * Removes what the platform made outside of its release, once it is gone.
 *
 * Invariants
 * U1. Only objects that carry the platform's own labels, or have a name of the namespace kit, are touched.
 * U2. Owners go before what they would make again: Deployments and ReplicaSets before pods, autoscalers before both.
 * U3. Functions, packages and all other resources of users stay; versions can be deleted from then on, since nobody guards them.
 */
import { LABEL_MANAGED_BY, MANAGED_BY } from "../../api/names.ts";
import type { KubeClient } from "../../kube/client.ts";
import { ENDPOINT_SLICES, LEASES, PODS, REPLICA_SETS } from "../../kube/core.ts";
import { isNotFound, KubeError } from "../../kube/kube-error.ts";
import { LABEL_LEASE_GROUP } from "../../kube/lease.ts";
import { NAMESPACES } from "../../kube/namespace-scope.ts";
import type { KubeObject } from "../../kube/object.ts";
import { type ResourceType, resourceType } from "../../kube/resource.ts";
import { sleep } from "../../kube/sleep.ts";
import type { Log } from "../../net/log.ts";
import type { KitObject } from "../function-namespace/kit.ts";
import { unguardReleases } from "../unguard-releases.ts";
import { HTTP_ROUTES, INGRESSES } from "../http-trigger/route-objects.ts";

export interface CleanupOptions {
  readonly client: KubeClient;
  /** Namespace that the platform was in. */
  readonly namespace: string;
  /** Labels (`key=value`) of function namespaces; `*` = all. */
  readonly labels: readonly string[];
  readonly kit: readonly KitObject[];
  readonly timeoutMs: number;
  readonly log: Log;
}

const OWN = `${LABEL_MANAGED_BY}=${MANAGED_BY}`;
const OWNERS: readonly ResourceType[] = [
  resourceType("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
  resourceType("apps/v1", "Deployment", "deployments"),
  REPLICA_SETS,
  resourceType("v1", "Service", "services"),
  ENDPOINT_SLICES,
];
/** Leases of what works in one process of several. */
const LEADERS = new Set(["isotope-controller", "isotope-storage"]);
const LOOK_MS = 500;

/** Resolves when nothing is left. Throws when pods are still there after `timeoutMs`, or the API server refuses. */
export async function cleanup(options: CleanupOptions): Promise<void> {
  const { client, namespace, kit, log } = options;
  const namespaces = await functionNamespacesOf(client, options.labels, kit);
  for (const one of namespaces) {
    log.info("Cleaning up", { namespace: one });
    for (const type of OWNERS) await removeAll(client, type, one);
    await removeAll(client, PODS, one);
  }
  await podsGone(options, namespaces);
  for (const one of namespaces) {
    // Pods' EndpointSlices may have come late; they would keep addresses of nobody.
    await removeAll(client, ENDPOINT_SLICES, one);
    await unguardReleases(client, one);
    for (const { type, name } of kit.toReversed())
      if (type.kind !== "Environment") await client.delete(type, { namespace: one, name });
  }
  for (const type of [INGRESSES, HTTP_ROUTES]) await removeAll(client, type, namespace);
  for (const { metadata } of (await client.list(LEASES, { namespace })).items)
    if (LEADERS.has(metadata.name) || metadata.labels?.[LABEL_LEASE_GROUP] !== undefined)
      await client.delete(LEASES, metadata);
}

/** Those with a label now, and those that lost it while nobody looked: they still hold the kit's first RoleBinding. */
async function functionNamespacesOf(
  client: KubeClient,
  labels: readonly string[],
  kit: readonly KitObject[],
): Promise<string[]> {
  const wanted = labels.map((label) => label.split("=", 2));
  const marker = kit.find(({ type }) => type.kind === "RoleBinding");
  const found: string[] = [];
  for (const { metadata } of (await client.list(NAMESPACES)).items) {
    const labelled = wanted.some(([key = "", value]) => key === "*" || metadata.labels?.[key] === value);
    const marked = async () =>
      marker &&
      (await client.find(marker.type, { namespace: metadata.name, name: marker.name })) !== undefined;
    if (labelled || (await marked())) found.push(metadata.name);
  }
  return found;
}

async function removeAll(client: KubeClient, type: ResourceType, namespace: string): Promise<void> {
  let found: KubeObject[];
  try {
    found = (await client.list(type, { namespace, labelSelector: OWN })).items;
  } catch (error) {
    // A kind that the cluster does not have, such as HTTPRoutes, or that the release was not given.
    if (isNotFound(error) || (error instanceof KubeError && error.status === 403 && type === HTTP_ROUTES))
      return;
    throw error;
  }
  for (const { metadata } of found)
    if (!metadata.deletionTimestamp) await client.delete(type, metadata, { propagation: "Background" });
}

async function podsGone({ client, timeoutMs }: CleanupOptions, namespaces: readonly string[]): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const left: string[] = [];
    for (const namespace of namespaces) {
      for (const { metadata } of (await client.list(PODS, { namespace, labelSelector: OWN })).items) {
        left.push(`${namespace}/${metadata.name}`);
        if (!metadata.deletionTimestamp) await client.delete(PODS, metadata);
      }
    }
    if (left.length === 0) return;
    if (performance.now() > deadline)
      throw new Error(`Pods are still there: ${left.slice(0, 10).join(", ")}${left.length > 10 ? " …" : ""}`);
    await sleep(LOOK_MS);
  }
}
