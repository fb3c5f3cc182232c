/**
 * 1. At most one ReplicaSet has the template of the Deployment; the others are old and only shrink.
 * 2. The pods wanted of all ReplicaSets together never exceed replicas + maxSurge, but for a change of `replicas` itself.
 */
import { isRefusal } from "../kubelet/error-text.ts";
import { claimOwned } from "./claim-owned.ts";
import {
  beyondHistory,
  boundsOf,
  DESIRED_REPLICAS,
  MAX_REPLICAS,
  newSetSize,
  REVISION,
  revisionOf,
  type Scaling,
  sameTemplate,
  scaleInProportion,
  shrinkOldSets,
  TEMPLATE_HASH,
  templateHash,
  wanted,
} from "./deployment-plan.ts";
import { deploymentStatus, untilStuckMs } from "./deployment-status.ts";
import type { ControllerContext } from "./replica-set.ts";
import {
  canonicalJson,
  controlledBy,
  controllerOf,
  type Deployment,
  isDeployment,
  isReplicaSet,
  type ReplicaSet,
  selects,
  splitKey,
} from "./workload.ts";

const DEPLOYMENTS = "deployments.apps";
const REPLICA_SETS = "replicasets.apps";
const LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration";

interface Sets {
  newSet: ReplicaSet | undefined;
  old: ReplicaSet[];
}

async function findSets({ store }: ControllerContext, deployment: Deployment): Promise<Sets> {
  const { namespace } = deployment.metadata;
  const filter = namespace === undefined ? {} : { namespace };
  const candidates = store
    .list(REPLICA_SETS, filter)
    .items.flatMap((set): ReplicaSet[] => (isReplicaSet(set) ? [set] : []));
  const owned = await claimOwned(store, REPLICA_SETS, deployment, candidates, (set) =>
    selects(deployment.spec.selector, set.metadata.labels),
  );
  const fitting = owned
    .filter((set) => sameTemplate(set.spec.template, deployment.spec.template))
    .sort((left, right) => left.metadata.creationTimestamp.localeCompare(right.metadata.creationTimestamp));
  const newSet = fitting[0];
  return { newSet, old: owned.filter((set) => set !== newSet) };
}

function sizeAnnotations(deployment: Deployment): Record<string, string> {
  const { replicas, surge } = boundsOf(deployment);
  return { [DESIRED_REPLICAS]: String(replicas), [MAX_REPLICAS]: String(replicas + surge) };
}

async function scale(
  context: ControllerContext,
  deployment: Deployment,
  set: ReplicaSet,
  size: number,
): Promise<void> {
  const { store, events } = context;
  const before = wanted(set);
  const annotations = sizeAnnotations(deployment);
  const annotated = Object.entries(annotations).every(
    ([key, value]) => set.metadata.annotations?.[key] === value,
  );
  if (before === size && annotated) return;
  const { namespace, name } = set.metadata;
  await store.patch(REPLICA_SETS, namespace, name, { metadata: { annotations }, spec: { replicas: size } });
  if (before === size) return;
  const message = `Scaled ${size > before ? "up" : "down"} replica set ${name} from ${before} to ${size}`;
  events.record(deployment, { type: "Normal", reason: "ScalingReplicaSet", message });
}

async function scaleAll(
  context: ControllerContext,
  deployment: Deployment,
  sets: readonly ReplicaSet[],
  scaling: Scaling,
): Promise<void> {
  for (const set of sets) {
    const size = scaling.get(set.metadata.name);
    if (size !== undefined) await scale(context, deployment, set, size);
  }
}

async function ensureRevision(
  { store }: ControllerContext,
  deployment: Deployment,
  set: ReplicaSet,
  revision: number,
): Promise<void> {
  const text = String(revision);
  const { namespace, name } = deployment.metadata;
  if (set.metadata.annotations?.[REVISION] !== text) {
    await store.patch(REPLICA_SETS, namespace, set.metadata.name, {
      metadata: { annotations: { [REVISION]: text } },
    });
  }
  if (deployment.metadata.annotations?.[REVISION] !== text) {
    await store.patch(DEPLOYMENTS, namespace, name, { metadata: { annotations: { [REVISION]: text } } });
  }
}

async function createSet(
  context: ControllerContext,
  deployment: Deployment,
  size: number,
  revision: number,
): Promise<ReplicaSet | undefined> {
  const { store, events } = context;
  const { namespace = "default", name, annotations = {} } = deployment.metadata;
  const collisions = deployment.status?.collisionCount ?? 0;
  const hash = templateHash(deployment.spec.template, collisions);
  const template = structuredClone(deployment.spec.template);
  const labels = { ...template.metadata?.labels, [TEMPLATE_HASH]: hash };
  const { [LAST_APPLIED]: _applied, [REVISION]: _revision, ...inherited } = annotations;
  const matchLabels = { ...deployment.spec.selector.matchLabels, [TEMPLATE_HASH]: hash };
  try {
    const created = await store.create(REPLICA_SETS, {
      apiVersion: "apps/v1",
      kind: "ReplicaSet",
      metadata: {
        name: `${name}-${hash}`,
        namespace,
        labels,
        annotations: { ...inherited, ...sizeAnnotations(deployment), [REVISION]: String(revision) },
        ownerReferences: [controlledBy(deployment)],
      },
      spec: {
        replicas: size,
        selector: { ...deployment.spec.selector, matchLabels },
        template: { ...template, metadata: { ...template.metadata, labels } },
        ...(deployment.spec.minReadySeconds === undefined
          ? {}
          : { minReadySeconds: deployment.spec.minReadySeconds }),
      },
    });
    const message = `Scaled up replica set ${name}-${hash} from 0 to ${size}`;
    if (size > 0) events.record(deployment, { type: "Normal", reason: "ScalingReplicaSet", message });
    return isReplicaSet(created) ? created : undefined;
  } catch (error) {
    if (!isRefusal(error, 409)) throw error;
    const holder = store.get(REPLICA_SETS, namespace, `${name}-${hash}`);
    const ours = isReplicaSet(holder) && controllerOf(holder)?.uid === deployment.metadata.uid;
    if (!ours) {
      const status = { collisionCount: collisions + 1 };
      await store.patch(DEPLOYMENTS, namespace, name, { status }, { subresource: "status" });
    }
    throw error;
  }
}

/** The new ReplicaSet, made when there is none yet, with its revision number and template settings up to date. */
async function ensureNewSet(
  context: ControllerContext,
  deployment: Deployment,
  sets: Sets,
): Promise<ReplicaSet | undefined> {
  const revision = Math.max(0, ...sets.old.map(revisionOf)) + 1;
  const { newSet } = sets;
  if (!newSet) return createSet(context, deployment, newSetSize(deployment, undefined, sets.old), revision);
  await ensureRevision(context, deployment, newSet, Math.max(revision, revisionOf(newSet)));
  const minReadySeconds = deployment.spec.minReadySeconds ?? 0;
  if ((newSet.spec.minReadySeconds ?? 0) !== minReadySeconds) {
    await context.store.patch(REPLICA_SETS, newSet.metadata.namespace, newSet.metadata.name, {
      spec: { minReadySeconds },
    });
  }
  return newSet;
}

function podsOf({ store }: ControllerContext, sets: readonly ReplicaSet[]): number {
  const uids = new Set(sets.map(({ metadata }) => metadata.uid));
  const namespace = sets[0]?.metadata.namespace;
  if (namespace === undefined) return 0;
  return store.list("pods", { namespace }).items.filter((pod) => {
    const phase = pod.status?.["phase"];
    return uids.has(controllerOf(pod)?.uid ?? "") && phase !== "Succeeded" && phase !== "Failed";
  }).length;
}

async function recreate(context: ControllerContext, deployment: Deployment, sets: Sets): Promise<void> {
  const busy = sets.old.filter((set) => wanted(set) > 0);
  for (const set of busy) await scale(context, deployment, set, 0);
  if (busy.length > 0 || podsOf(context, sets.old) > 0) return;
  const newSet = await ensureNewSet(context, deployment, sets);
  if (newSet) await scale(context, deployment, newSet, deployment.spec.replicas ?? 1);
}

async function roll(context: ControllerContext, deployment: Deployment, sets: Sets): Promise<void> {
  const newSet = await ensureNewSet(context, deployment, sets);
  if (!newSet) return;
  const size = newSetSize(deployment, newSet, [...sets.old, newSet]);
  if (size !== wanted(newSet)) {
    await scale(context, deployment, newSet, size);
    return;
  }
  await scale(context, deployment, newSet, size);
  const old = sets.old.filter((set) => wanted(set) > 0);
  await scaleAll(context, deployment, old, shrinkOldSets(deployment, newSet, old));
}

function isScaling(deployment: Deployment, sets: readonly ReplicaSet[]): boolean {
  const replicas = String(deployment.spec.replicas ?? 1);
  return sets.some((set) => {
    const desired = set.metadata.annotations?.[DESIRED_REPLICAS];
    return wanted(set) > 0 && desired !== undefined && desired !== replicas;
  });
}

async function writeStatus(context: ControllerContext, deployment: Deployment): Promise<number | undefined> {
  const { store } = context;
  const { newSet, old } = await findSets(context, deployment);
  const status = deploymentStatus(deployment, newSet, newSet ? [...old, newSet] : old, Date.now());
  if (canonicalJson({ ...deployment.status, ...status }) !== canonicalJson(deployment.status ?? {})) {
    const { namespace, name } = deployment.metadata;
    await store.patch(DEPLOYMENTS, namespace, name, { status }, { subresource: "status" });
  }
  if (status.conditions?.some(({ reason }) => reason === "NewReplicaSetAvailable")) {
    for (const { metadata } of beyondHistory(deployment, old)) {
      await store.delete(REPLICA_SETS, metadata.namespace, metadata.name, {
        preconditions: { uid: metadata.uid },
      });
    }
  }
  return untilStuckMs(deployment, status, Date.now());
}

/** Moves one Deployment a step towards its template and size. Returns when to look again. */
export async function reconcileDeployment(
  context: ControllerContext,
  key: string,
): Promise<number | undefined> {
  const { store } = context;
  const { namespace, name } = splitKey(key);
  const deployment = store.get(DEPLOYMENTS, namespace, name);
  if (!isDeployment(deployment)) return undefined;
  if (deployment.metadata.deletionTimestamp === undefined) {
    const sets = await findSets(context, deployment);
    const all = sets.newSet ? [...sets.old, sets.newSet] : sets.old;
    if (deployment.spec.paused || isScaling(deployment, all)) {
      await scaleAll(context, deployment, all, scaleInProportion(deployment, sets.newSet, all));
    } else if (deployment.spec.strategy?.type === "Recreate") {
      await recreate(context, deployment, sets);
    } else {
      await roll(context, deployment, sets);
    }
  }
  const latest = store.get(DEPLOYMENTS, namespace, name);
  if (!isDeployment(latest)) return undefined;
  const untilMs = await writeStatus(context, latest);
  return untilMs === undefined ? undefined : untilMs + 1000;
}
