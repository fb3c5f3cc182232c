import { PlatformError } from "../../api/errors.ts";
import { LABEL_ENVIRONMENT, LABEL_FUNCTION_UID } from "../../api/names.ts";
import type { KubeAutoscaler, KubeDeployment } from "./cluster.ts";
import type { Conditions } from "./conditions.ts";
import { type Deployed, type Line, lineOf, newDeployed, replicasOf, type Scale } from "./deployed.ts";
import {
  createDeploymentWriter,
  type DeploymentWriter,
  type DeploymentWriterOptions,
} from "./deployment-writer.ts";
import type { Functions } from "./functions.ts";
import type { Pod } from "./pod.ts";
import type { Revision } from "./revision.ts";
import type { Ticket } from "./ticket-queue.ts";
import { environmentKey } from "./workload.ts";

/**
 * The Deployments of functions of executor types `newdeploy` and `container`: Kubernetes starts, replaces and rolls their pods; the executor
 * gives them their code as they come, and says how many there should be at least.
 *
 * Invariants
 * 1. One writer per function: its writes come one after the other, the newest state last; a failed one is tried again.
 * 2. A pod serves nothing before its revision took it, and is ready for Kubernetes only afterwards, so that a rollout takes no pod away
 *    before another one serves.
 * 3. Replicas are raised by whoever needs more. They are lowered by the HorizontalPodAutoscaler while it works, else by the executor, and
 *    to zero by the executor alone.
 * 4. A pod that was made for a revision serves that one only, and for as long as Kubernetes leaves it alone.
 */
export interface Deployments {
  /** Whether pods of the revision are a Deployment's. */
  readonly handles: (revision: Pick<Revision, "serving">) => boolean;
  /** A Function serves the revision, or says other numbers of pods for it. */
  readonly current: (revision: Revision, scale: Scale) => void;
  /** The function has no Deployment any more. */
  readonly remove: (functionUid: string) => void;
  /** Most pods that the revision may have: those that a rollout starts beyond the function's number are welcome. */
  readonly maxPods: (revisionKey: string, functionUid: string) => number;
  /** A pod that a Deployment made can be given its code. */
  readonly ready: (pod: Pod) => void;
  /** A pod joined its revision. */
  readonly joined: (revision: Revision, pod: Pod) => void;
  readonly gone: (pod: Pod) => void;
  /** A pod for the revision: one that is there, or the next one that comes. */
  readonly take: (
    revisionKey: string,
    functionUid: string,
    deliver: (pod: Pod) => void,
    fail: (error: PlatformError) => void,
  ) => Ticket;
  /** A pod of a Deployment cannot start, e.g. because its image cannot be pulled. */
  readonly trouble: (pod: Pod, reason: string, message: string) => void;
  /** So many pods are needed for the requests that there are. */
  readonly need: (revision: Revision, pods: number) => void;
  /** Whether a HorizontalPodAutoscaler decides how many pods there are, above what is needed. */
  readonly isAutoscaled: (revision: Revision) => boolean;
  /** The executor is about to discard the pod and wants no other in its place. */
  readonly scaledDown: (pod: Pod) => void;
  readonly beforeDelete: (pod: Pod) => Promise<void> | undefined;
  readonly environmentChanged: (key: string) => void;
  readonly observe: (object: KubeDeployment) => void;
  readonly vanish: (object: KubeDeployment) => void;
  readonly observeAutoscaler: (object: KubeAutoscaler) => void;
  readonly open: () => void;
  readonly settled: () => Promise<void>;
  readonly close: () => void;
}

export interface DeploymentsOptions extends Omit<DeploymentWriterOptions, "onTrouble"> {
  readonly functions: Pick<Functions, "revision">;
  readonly owns: (environment: string) => boolean;
  readonly conditions: Conditions;
}

/** How long a pod that goes may wait for Kubernetes to take it before the executor deletes it itself. */
const TAKE_AWAY_MS = 5_000;

interface State {
  readonly options: DeploymentsOptions;
  readonly writer: DeploymentWriter;
  /** By function UID. */
  readonly functions: Map<string, Deployed>;
  /** Pods that went by the executor's decision. */
  readonly lowered: WeakSet<Pod>;
  opened: boolean;
}

export function createDeployments(options: DeploymentsOptions): Deployments {
  const state: State = {
    options,
    writer: createDeploymentWriter({
      ...options,
      onTrouble: (deployed, message) => tell(state, deployed, message),
    }),
    functions: new Map(),
    lowered: new WeakSet(),
    opened: false,
  };
  const find = (functionUid: string) => state.functions.get(functionUid);
  return {
    handles,
    current: (revision, scale) => current(state, revision, scale),
    remove: (functionUid) => remove(state, functionUid),
    maxPods: (revisionKey, functionUid) => maxPods(find(functionUid), revisionKey, options),
    ready: (pod) => ready(state, pod),
    joined: (revision, pod) => {
      if (!pod.plain && !pod.ready) options.conditions.specialised(pod);
      const deployed = find(revision.identity.uid);
      if (deployed?.revision === revision) tell(state, deployed, undefined);
    },
    gone: (pod) => {
      const deployed = find(ownerOf(pod));
      deployed?.lines.get(pod.madeFor)?.spares.delete(pod);
    },
    take: (revisionKey, functionUid, deliver, fail) => take(state, revisionKey, functionUid, deliver, fail),
    trouble: (pod, reason, message) => {
      const deployed = find(ownerOf(pod));
      if (!deployed || deployed.revision.key !== pod.madeFor) return;
      const text = `Pods of Deployment "${deployed.name}" do not start: ${reason}${message === "" ? "" : `: ${message}`}`;
      tell(state, deployed, text);
      for (const ticket of lineOf(deployed, pod.madeFor).tickets.drain())
        ticket.fail(new PlatformError("pool_exhausted", text));
    },
    need: (revision, pods) => need(state, revision, pods),
    isAutoscaled: ({ identity }) => find(identity.uid)?.autoscaled ?? false,
    scaledDown: (pod) => scaledDown(state, pod),
    beforeDelete: (pod) => beforeDelete(state, pod),
    environmentChanged: (key) => {
      for (const deployed of state.functions.values())
        if (deployed.replicas !== undefined && environmentKey(deployed.revision) === key)
          state.writer.touch(deployed);
    },
    observe: (object) => observe(state, object),
    vanish: (object) => vanish(state, object),
    observeAutoscaler: ({ metadata, active }) => {
      const deployed = find(metadata.labels?.[LABEL_FUNCTION_UID] ?? "");
      if (deployed?.name === metadata.name) deployed.autoscaled = active;
    },
    open: () => {
      state.opened = true;
      state.writer.open();
      for (const deployed of state.functions.values())
        for (const [key, line] of deployed.lines) fill(state, key, line);
    },
    settled: () => state.writer.settled(),
    close: () => state.writer.close(),
  };
}

const handles = ({ serving: { executorType } }: Pick<Revision, "serving">): boolean =>
  executorType === "newdeploy" || executorType === "container";

/** UID of the function that a pod was made for. */
const ownerOf = ({ madeFor }: Pod): string => madeFor.slice(0, madeFor.indexOf("/"));

function current(state: State, revision: Revision, scale: Scale): void {
  const { uid } = revision.identity;
  const before = state.functions.get(uid);
  const deployed = before && !before.removed ? before : newDeployed(revision, scale);
  if (deployed !== before) {
    deployed.replicas = before?.replicas;
    state.functions.set(uid, deployed);
  }
  const same = deployed === before && deployed.revision === revision && sameScale(deployed.scale, scale);
  if (same) return;
  deployed.revision = revision;
  deployed.scale = scale;
  if (replicasOf(deployed) > scale.maxPods) deployed.wanted = scale.maxPods;
  raise(state, deployed, scale.minPods);
  state.writer.touch(deployed);
}

const sameScale = (one: Scale, other: Scale): boolean => JSON.stringify(one) === JSON.stringify(other);

function remove(state: State, functionUid: string): void {
  const deployed = state.functions.get(functionUid);
  if (!deployed || deployed.removed) return;
  deployed.removed = true;
  for (const { tickets } of deployed.lines.values())
    for (const ticket of tickets.drain())
      ticket.fail(new PlatformError("function_not_ready", "The function is served otherwise now"));
  state.writer.touch(deployed);
}

function maxPods(
  deployed: Deployed | undefined,
  revisionKey: string,
  { functions }: DeploymentsOptions,
): number {
  if (!deployed) return 0;
  const [uid = "", revision = ""] = revisionKey.split("/");
  const pods = functions.revision(uid, revision)?.pods().size ?? 0;
  return Math.max(deployed.scale.maxPods, pods + (deployed.lines.get(revisionKey)?.spares.size ?? 0));
}

function ready(state: State, pod: Pod): void {
  const deployed = state.functions.get(ownerOf(pod));
  if (!deployed) return;
  const line = lineOf(deployed, pod.madeFor);
  const ticket = line.tickets.next();
  if (ticket) {
    pod.phase = "claimed";
    ticket.deliver(pod);
    return;
  }
  line.spares.add(pod);
  fill(state, pod.madeFor, line);
}

/** Has all pods of a line given their code: Kubernetes wants them. */
function fill({ options, opened }: State, revisionKey: string, { spares }: Line): void {
  if (!opened || spares.size === 0) return;
  const [uid = "", name = ""] = revisionKey.split("/");
  const revision = options.functions.revision(uid, name);
  revision?.warm(revision.pods().size + spares.size);
}

function take(
  state: State,
  revisionKey: string,
  functionUid: string,
  deliver: (pod: Pod) => void,
  fail: (error: PlatformError) => void,
): Ticket {
  const deployed = state.functions.get(functionUid);
  if (!deployed || deployed.removed) {
    fail(new PlatformError("function_not_ready", "The function has no Deployment"));
    return SERVED;
  }
  const { spares, tickets } = lineOf(deployed, revisionKey);
  for (const pod of spares) {
    spares.delete(pod);
    pod.phase = "claimed";
    deliver(pod);
    return SERVED;
  }
  const ticket = tickets.add(revisionKey, deliver, fail);
  if (deployed.revision.key === revisionKey)
    raise(state, deployed, deployed.revision.pods().size + tickets.size);
  return ticket;
}

const SERVED: Ticket = { cancel: () => undefined };

function raise(state: State, deployed: Deployed, pods: number): void {
  const wanted = Math.min(pods, deployed.scale.maxPods);
  if (wanted <= replicasOf(deployed)) return;
  deployed.wanted = wanted;
  state.writer.touch(deployed);
}

function need(state: State, revision: Revision, pods: number): void {
  const deployed = state.functions.get(revision.identity.uid);
  if (!deployed || deployed.revision !== revision) return;
  for (const [key, line] of deployed.lines) fill(state, key, line);
  const { failure } = revision.snapshot();
  if (failure !== null) tell(state, deployed, failure);
  raise(state, deployed, pods);
  if (deployed.needed === pods) return;
  deployed.needed = pods;
  if (deployed.replicas !== undefined) state.writer.touch(deployed);
}

function scaledDown(state: State, pod: Pod): void {
  const deployed = state.functions.get(ownerOf(pod));
  if (!deployed || pod.phase === "leaving" || deployed.retiring.has(pod)) return;
  // A pod of an earlier revision goes by the rollout.
  if (deployed.revision.key !== pod.madeFor) return;
  deployed.retiring.add(pod);
  state.lowered.add(pod);
  deployed.wanted = Math.max(0, replicasOf(deployed) - 1);
  state.writer.touch(deployed);
}

/** A pod that goes is Kubernetes' to delete once replicas were lowered; another one that it took instead would be made anew. */
function beforeDelete(state: State, pod: Pod): Promise<void> | undefined {
  const deployed = state.functions.get(ownerOf(pod));
  if (!deployed || !state.lowered.has(pod)) return undefined;
  const written = state.writer.written(deployed) ?? Promise.resolve();
  return written.then(() => new Promise((resolve) => setTimeout(resolve, TAKE_AWAY_MS).unref()));
}

function observe(state: State, object: KubeDeployment): void {
  const { namespace, name, labels = {}, generation = 0, deletionTimestamp } = object.metadata;
  const uid = labels[LABEL_FUNCTION_UID] ?? "";
  if (!state.options.owns(`${namespace}/${labels[LABEL_ENVIRONMENT] ?? ""}`)) return;
  const deployed = state.functions.get(uid);
  if (!deployed || deployed.name !== name || deletionTimestamp !== undefined) return;
  const isNew = deployed.replicas === undefined;
  if (!isNew && generation <= deployed.generation) return;
  deployed.generation = generation;
  deployed.replicas = object.replicas;
  // Somebody else scales it, or this process has just started; while a write is under way it may be that one.
  if (deployed.busy && !isNew) deployed.dirty = true;
  else deployed.wanted = undefined;
  raise(state, deployed, deployed.scale.minPods);
  if (deployed.removed) state.writer.touch(deployed);
}

function vanish(state: State, { metadata }: KubeDeployment): void {
  const uid = metadata.labels?.[LABEL_FUNCTION_UID] ?? "";
  const deployed = state.functions.get(uid);
  if (!deployed || deployed.name !== metadata.name) return;
  deployed.replicas = undefined;
  deployed.writtenTemplate = "";
  deployed.writtenScale = "";
  if (deployed.removed) state.functions.delete(uid);
  else if (deployed.scale.minPods > 0) raise(state, deployed, deployed.scale.minPods);
  else deployed.wanted = undefined;
}

function tell({ options }: State, deployed: Deployed, message: string | undefined): void {
  const { identity, serving } = deployed.revision;
  const told = `${serving.revision} ${message ?? ""}`;
  if (deployed.told === told) return;
  deployed.told = told;
  options.conditions.pods(
    identity,
    message === undefined
      ? { status: "True", reason: "PodsServe", message: `Pods of revision ${serving.revision} serve` }
      : { status: "False", reason: "PodsFailing", message },
  );
}
