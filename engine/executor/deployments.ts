import { PlatformError } from "../../api/errors.ts";
import { LABEL_ENVIRONMENT, LABEL_FUNCTION_UID, LABEL_REVISION } from "../../api/names.ts";
import type { KubeAutoscaler, KubeDeployment, ObjectMeta } from "./cluster.ts";
import type { Conditions } from "./conditions.ts";
import {
  type Deployed,
  type Line,
  lineOf,
  newDeployed,
  replicasOf,
  type Scale,
  servingPods,
} from "./deployed.ts";
import { deploymentMaker, versionDeploymentName } from "./deployment-manifest.ts";
import {
  createDeploymentWriter,
  type DeploymentWriter,
  type DeploymentWriterOptions,
} from "./deployment-writer.ts";
import type { Functions } from "./functions.ts";
import type { Pod } from "./pod.ts";
import { type Revision, revisionKey } from "./revision.ts";
import type { Ticket } from "./ticket-queue.ts";
import { createTimers } from "./timers.ts";
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
 * 5. A revision that versions name and the function does not serve has a Deployment beside the function's, which has as many pods as the
 *    revision needs before a rollout takes those of the function's away, and goes when the function's own has them again.
 */
export interface Deployments {
  /** Whether pods of the revision are a Deployment's. */
  readonly handles: (revision: Pick<Revision, "serving">) => boolean;
  /** A Function serves the revision, or says other numbers of pods for it. */
  readonly current: (revision: Revision, scale: Scale) => void;
  /** Versions name the revision; the Function serves another one, or what needs no Deployment. */
  readonly named: (revision: Revision, scale: Scale) => void;
  /** The revision is not served any more: what was made for it alone goes. False when it has no Deployment of its own. */
  readonly dropped: (revisionKey: string) => boolean;
  /** Whether the revision has a Deployment of its own. */
  readonly isBeside: (revisionKey: string) => boolean;
  /** The function has no Deployment any more. */
  readonly remove: (functionUid: string) => void;
  /** Most pods that the revision may have: those that a rollout starts beyond the function's number are welcome. */
  readonly maxPods: (revisionKey: string) => number;
  /** A pod that a Deployment made can be given its code. */
  readonly ready: (pod: Pod) => void;
  /** A pod joined its revision. */
  readonly joined: (revision: Revision, pod: Pod) => void;
  readonly gone: (pod: Pod) => void;
  /** A pod for the revision: one that is there, or the next one that comes. */
  readonly take: (
    revisionKey: string,
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

export interface DeploymentsOptions extends Omit<DeploymentWriterOptions, "onTrouble" | "mustWait"> {
  readonly functions: Pick<Functions, "revision" | "isNamed" | "isCurrent">;
  /** Pods that the revision is to go on with when it gets a Deployment of its own and has `pods`. */
  readonly keptPods: (revision: Revision, pods: number) => number;
  readonly now?: () => number;
  readonly owns: (environment: string) => boolean;
  readonly conditions: Conditions;
}

/** A rollout does not wait longer than that for the pods of a version. */
const COVER_MS = 60_000;
/** How long a pod that goes may wait for Kubernetes to take it before the executor deletes it itself. */
const TAKE_AWAY_MS = 5_000;

interface State {
  readonly options: DeploymentsOptions;
  readonly writer: DeploymentWriter;
  /** By function UID. */
  readonly functions: Map<string, Deployed>;
  /** Of revisions that only versions name, by revision key. */
  readonly beside: Map<string, Deployed>;
  /** By revision key. */
  readonly lines: Map<string, Line>;
  readonly now: () => number;
  readonly later: (delayMs: number, run: () => void) => void;
  /** Pods that went by the executor's decision. */
  readonly lowered: WeakSet<Pod>;
  opened: boolean;
}

export function createDeployments(options: DeploymentsOptions): Deployments {
  const timers = createTimers();
  const state: State = {
    options,
    writer: createDeploymentWriter({
      ...options,
      mustWait: (deployed) => isUncovered(state, deployed),
      onTrouble: (deployed, message) => tell(state, deployed, message),
    }),
    functions: new Map(),
    beside: new Map(),
    lines: new Map(),
    now: options.now ?? Date.now,
    later: timers.later,
    lowered: new WeakSet(),
    opened: false,
  };
  return {
    handles,
    current: (revision, scale) => current(state, revision, scale),
    named: (revision, scale) => named(state, revision, scale),
    dropped: (revisionKey) => {
      const deployed = state.beside.get(revisionKey);
      if (deployed) remove(state, deployed);
      return deployed !== undefined;
    },
    isBeside: (revisionKey) => state.beside.has(revisionKey),
    remove: (functionUid) => {
      for (const deployed of all(state))
        if (deployed.revision.identity.uid === functionUid) remove(state, deployed);
    },
    maxPods: (revisionKey) => maxPods(state, revisionKey),
    ready: (pod) => ready(state, pod),
    joined: (revision, pod) => {
      if (!pod.plain && !pod.ready) options.conditions.specialised(pod);
      const deployed = find(state, revision.key);
      if (deployed?.revision === revision) tell(state, deployed, undefined);
      covered(state, revision);
    },
    gone: (pod) => void state.lines.get(pod.madeFor)?.spares.delete(pod),
    take: (revisionKey, deliver, fail) => take(state, revisionKey, deliver, fail),
    trouble: (pod, reason, message) => {
      const deployed = makerOf(state, pod);
      if (!deployed || deployed.revision.key !== pod.madeFor) return;
      const text = `Pods of Deployment "${deployed.name}" do not start: ${reason}${message === "" ? "" : `: ${message}`}`;
      tell(state, deployed, text);
      for (const ticket of lineOf(state.lines, pod.madeFor).tickets.drain())
        ticket.fail(new PlatformError("pool_exhausted", text));
    },
    need: (revision, pods) => need(state, revision, pods),
    isAutoscaled: ({ key }) => find(state, key)?.autoscaled ?? false,
    scaledDown: (pod) => scaledDown(state, pod),
    beforeDelete: (pod) => beforeDelete(state, pod),
    environmentChanged: (key) => {
      for (const deployed of all(state))
        if (deployed.replicas !== undefined && environmentKey(deployed.revision) === key)
          state.writer.touch(deployed);
    },
    observe: (object) => observe(state, object),
    vanish: (object) => vanish(state, object),
    observeAutoscaler: ({ metadata, active }) => {
      const deployed = belongsTo(state, metadata);
      if (deployed) deployed.autoscaled = active;
    },
    open: () => {
      state.opened = true;
      state.writer.open();
      for (const key of state.lines.keys()) fill(state, key);
      for (const deployed of state.beside.values()) cover(state, deployed);
    },
    settled: () => state.writer.settled(),
    close: () => {
      timers.close();
      state.writer.close();
    },
  };
}

const handles = ({ serving: { executorType } }: Pick<Revision, "serving">): boolean =>
  executorType === "newdeploy" || executorType === "container";

/** UID of the function of a revision. */
const functionOf = (revisionKey: string): string => revisionKey.slice(0, revisionKey.indexOf("/"));

const all = ({ functions, beside }: State): Deployed[] => [...functions.values(), ...beside.values()];

/** The Deployment that pods of the revision come from. */
const find = ({ functions, beside }: State, revisionKey: string): Deployed | undefined =>
  beside.get(revisionKey) ?? functions.get(functionOf(revisionKey));

/** The Deployment that made the pod. */
function makerOf({ functions, beside }: State, { maker, madeFor }: Pod): Deployed | undefined {
  const own = functions.get(functionOf(madeFor));
  return own && maker === deploymentMaker(own.name) ? own : beside.get(madeFor);
}

/** The Deployment that an object belongs to. */
function belongsTo({ functions, beside }: State, { name, labels = {} }: ObjectMeta): Deployed | undefined {
  const uid = labels[LABEL_FUNCTION_UID] ?? "";
  const deployed = beside.get(revisionKey(uid, labels[LABEL_REVISION] ?? "")) ?? functions.get(uid);
  return deployed?.name === name ? deployed : undefined;
}

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
  const previous = deployed.revision;
  deployed.revision = revision;
  if (previous !== revision && state.options.functions.isNamed(previous))
    named(state, previous, deployed.scale);
  deployed.scale = scale;
  if (replicasOf(deployed) > scale.maxPods) deployed.wanted = scale.maxPods;
  const own = state.beside.get(revision.key);
  raise(state, deployed, Math.max(scale.minPods, own ? servingPods(own) : 0));
  state.writer.touch(deployed);
  covered(state, revision);
}

function named(state: State, revision: Revision, scale: Scale): void {
  const { beside, functions } = state;
  const given = { ...scale, minPods: 0 };
  const before = beside.get(revision.key);
  if (before && !before.removed) {
    before.scale = given;
    if (before.replicas !== undefined) state.writer.touch(before);
    return;
  }
  // Nothing has taken the function's own Deployment from it.
  if (functions.get(revision.identity.uid)?.revision === revision) return;
  const deployed = newDeployed(revision, given, true);
  deployed.replicas = before?.replicas;
  beside.set(revision.key, deployed);
  if (state.opened) cover(state, deployed);
}

/** The revision still has pods of the function's own Deployment, which a rollout takes away: as many as it needs are made beside first. */
function cover(state: State, deployed: Deployed): void {
  const { revision } = deployed;
  const own = state.functions.get(revision.identity.uid);
  if (!own || own.revision === revision) return covered(state, revision);
  const there = revision.available().filter(({ maker }) => maker === deploymentMaker(own.name)).length;
  const pods = there === 0 ? 0 : Math.min(state.options.keptPods(revision, there), deployed.scale.maxPods);
  if (pods === 0) return;
  deployed.covers = { pods, untilMs: state.now() + COVER_MS };
  raise(state, deployed, pods);
  state.later(COVER_MS, () => state.writer.touch(own));
}

/** Whether a rollout would take away pods that a version still needs. */
function isUncovered(state: State, { beside, removed, revision }: Deployed): boolean {
  if (beside || removed) return false;
  for (const other of state.beside.values()) {
    if (other.revision.identity.uid !== revision.identity.uid || !other.covers) continue;
    if (!other.removed && servingPods(other) < other.covers.pods && state.now() < other.covers.untilMs)
      return true;
    other.covers = undefined;
  }
  return false;
}

/** Pods of the revision came: a rollout may go on that waited for them, or what stood in for the function's Deployment may go. */
function covered(state: State, revision: Revision): void {
  const deployed = state.beside.get(revision.key);
  const own = state.functions.get(revision.identity.uid);
  if (!deployed || !own) return;
  if (own.revision !== revision) {
    if (deployed.covers && servingPods(deployed) >= deployed.covers.pods) state.writer.touch(own);
    return;
  }
  const needed = Math.min(Math.max(servingPods(deployed), own.scale.minPods), own.scale.maxPods);
  if (state.opened && servingPods(own) >= needed) remove(state, deployed);
}

const sameScale = (one: Scale, other: Scale): boolean => JSON.stringify(one) === JSON.stringify(other);

function remove(state: State, deployed: Deployed): void {
  if (deployed.removed) return;
  deployed.removed = true;
  const { beside, functions, lines } = state;
  const { key, identity } = deployed.revision;
  if (deployed.beside && deployed.replicas === undefined && !deployed.busy) beside.delete(key);
  const own = functions.get(identity.uid);
  // A rollout may have waited for it.
  if (deployed.covers && own && !own.removed) state.writer.touch(own);
  for (const [of, { tickets }] of lines) {
    const theirs = deployed.beside
      ? of === key && own?.revision.key !== key
      : functionOf(of) === identity.uid && !beside.has(of);
    for (const ticket of theirs ? tickets.drain() : [])
      ticket.fail(new PlatformError("function_not_ready", "The function is served otherwise now"));
  }
  state.writer.touch(deployed);
}

function maxPods(state: State, key: string): number {
  const deployed = find(state, key);
  if (!deployed) return 0;
  const pods = revisionOf(state, key)?.pods().size ?? 0;
  return Math.max(deployed.scale.maxPods, pods + (state.lines.get(key)?.spares.size ?? 0));
}

function revisionOf({ options }: State, key: string): Revision | undefined {
  const [uid = "", revision = ""] = key.split("/");
  return options.functions.revision(uid, revision);
}

function ready(state: State, pod: Pod): void {
  if (!makerOf(state, pod)) return;
  const line = lineOf(state.lines, pod.madeFor);
  const ticket = line.tickets.next();
  if (ticket) {
    pod.phase = "claimed";
    ticket.deliver(pod);
    return;
  }
  line.spares.add(pod);
  fill(state, pod.madeFor);
}

/** Has all pods of a line given their code: Kubernetes wants them. */
function fill(state: State, key: string): void {
  const { size } = lineOf(state.lines, key).spares;
  if (!state.opened || size === 0) return;
  const revision = revisionOf(state, key);
  revision?.warm(revision.pods().size + size);
}

function take(
  state: State,
  revisionKey: string,
  deliver: (pod: Pod) => void,
  fail: (error: PlatformError) => void,
): Ticket {
  const deployed = find(state, revisionKey);
  if (!deployed || deployed.removed) {
    fail(new PlatformError("function_not_ready", "The function has no Deployment"));
    return SERVED;
  }
  const { spares, tickets } = lineOf(state.lines, revisionKey);
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
  const deployed = find(state, revision.key);
  if (!deployed || deployed.revision !== revision) return;
  for (const key of state.lines.keys()) if (functionOf(key) === revision.identity.uid) fill(state, key);
  const { failure } = revision.snapshot();
  if (failure !== null) tell(state, deployed, failure);
  raise(state, deployed, pods);
  if (deployed.needed === pods) return;
  deployed.needed = pods;
  if (deployed.replicas !== undefined) state.writer.touch(deployed);
}

function scaledDown(state: State, pod: Pod): void {
  const deployed = makerOf(state, pod);
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
  const deployed = makerOf(state, pod);
  if (!deployed || !state.lowered.has(pod)) return undefined;
  const written = state.writer.written(deployed) ?? Promise.resolve();
  return written.then(() => new Promise((resolve) => setTimeout(resolve, TAKE_AWAY_MS).unref()));
}

function observe(state: State, object: KubeDeployment): void {
  const { namespace, labels = {}, generation = 0, deletionTimestamp } = object.metadata;
  if (!state.options.owns(`${namespace}/${labels[LABEL_ENVIRONMENT] ?? ""}`)) return;
  const deployed = belongsTo(state, object.metadata) ?? leftOver(state, object);
  if (!deployed || deletionTimestamp !== undefined) return;
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

/** A Deployment of a version that a process before this one made, and that nothing names any more or the function serves again. */
function leftOver(state: State, { metadata }: KubeDeployment): Deployed | undefined {
  const { name, namespace, labels = {} } = metadata;
  const revision = state.options.functions.revision(
    labels[LABEL_FUNCTION_UID] ?? "",
    labels[LABEL_REVISION] ?? "",
  );
  if (labels[LABEL_REVISION] === undefined || metadata.deletionTimestamp !== undefined) return undefined;
  const scale = revision?.serving.scale;
  if (revision && scale && handles(revision) && versionDeploymentName(revision) === name) {
    const deployed = newDeployed(revision, { ...scale, minPods: 0 }, true);
    state.beside.set(revision.key, deployed);
    return deployed;
  }
  state.options.cluster
    .deleteDeployment(namespace, name)
    .catch((error: unknown) =>
      state.options.log.warn("cannot delete Deployment", { deployment: name, error }),
    );
  return undefined;
}

function vanish(state: State, { metadata }: KubeDeployment): void {
  const deployed = belongsTo(state, metadata);
  if (!deployed) return;
  const { uid } = deployed.revision.identity;
  deployed.replicas = undefined;
  deployed.writtenTemplate = "";
  deployed.writtenScale = "";
  if (deployed.removed && deployed.beside) state.beside.delete(deployed.revision.key);
  else if (deployed.removed) state.functions.delete(uid);
  else if (deployed.scale.minPods > 0) raise(state, deployed, deployed.scale.minPods);
  else deployed.wanted = undefined;
}

function tell({ options }: State, deployed: Deployed, message: string | undefined): void {
  const { identity, serving } = deployed.revision;
  const told = `${serving.revision} ${message ?? ""}`;
  if (deployed.told === told) return;
  deployed.told = told;
  if (deployed.beside) {
    if (message !== undefined)
      options.log.warn("pods of a version do not serve", { deployment: deployed.name, message });
    return;
  }
  options.conditions.pods(
    identity,
    message === undefined
      ? { status: "True", reason: "PodsServe", message: `Pods of revision ${serving.revision} serve` }
      : { status: "False", reason: "PodsFailing", message },
  );
}
