import type { Serving } from "../../api/kinds/serving.ts";
import { type AdoptionParts, adoptPod, adoptSpecialised, ORPHAN_DEADLINE_MS } from "./adoption.ts";
import { type ArchiveCache, archiveCache } from "./archives.ts";
import { type ContentSource, contentSource } from "./content.ts";
import { type AutoScale, createAutoScale } from "./auto-scale.ts";
import { createEnvironments, type Environments } from "./environments.ts";
import type { ExecutorOptions } from "./executor.ts";
import { createFleet, type Fleet } from "./fleet.ts";
import { createFunctions, type Functions } from "./functions.ts";
import { createIdleReaper, type IdleReaper } from "./idle-reaper.ts";
import { createLoadBook, type LoadBook } from "./load-book.ts";
import { createMetrics, type ExecutorMetrics } from "./metrics.ts";
import type { Pod } from "./pod.ts";
import { podCalls } from "./pod-calls.ts";
import { createPodLabels, type PodLabels } from "./pod-labels.ts";
import { podTemplate } from "./pod-manifest.ts";
import { createPrefetcher, type Prefetcher } from "./prefetch.ts";
import {
  createRevision,
  type FunctionIdentity,
  type Revision,
  type RevisionOptions,
  revisionKey,
} from "./revision.ts";
import { createRollover, type Rollover } from "./rollover.ts";
import type { ScaleTarget } from "./scale-decision.ts";
import { createScaler, type Scaler } from "./scaler.ts";
import { createSharedPods, type SharedPods } from "./shared-pods.ts";
import { createSliceWriter, type SliceWriter } from "./slices.ts";
import { specializeRequest } from "./specialize-request.ts";
import { createWatchdog, type Watchdog } from "./watchdog.ts";
import { createWorkloads, type Workloads } from "./workloads.ts";

/** The parts of an executor, each of which knows the others by what they tell it only. */
export interface Parts extends AdoptionParts {
  readonly options: ExecutorOptions;
  readonly archives: ArchiveCache;
  readonly contents: ContentSource;
  readonly prefetcher: Prefetcher;
  readonly labels: PodLabels;
  readonly reaper: IdleReaper;
  readonly watchdog: Watchdog;
  readonly metrics: ExecutorMetrics;
  readonly workloads: Workloads;
  readonly load: LoadBook;
  readonly scaler: Scaler;
  readonly autoScale: AutoScale;
  /** Numbers of pods that revisions may have, by their key, as the Functions say now. */
  readonly scales: Map<string, Serving["scale"]>;
  /** Specialised pods and what they serve. */
  readonly serving: Map<Pod, Revision>;
  phase: "starting" | "ready" | "stopped";
}

/** Key `namespace/name` of the Environment that a function's revision runs in. */
export const environmentOf = ({ namespace }: FunctionIdentity, { environment }: Serving): string =>
  `${namespace}/${environment.name}`;

const HEALTH_TIMEOUT_MS = 1_000;
const SERVED = { cancel: () => undefined };

/** The parts, once all of them exist. */
type Later = () => Parts;

/** Makes the parts and lets each tell the others what happened. They are called back only after all of them exist. */
export function connectParts(options: ExecutorOptions): Parts {
  const { cluster, settings, log, owns = () => true } = options;
  const { pollIntervalMs, silenceGraceMs } = settings;
  const later: Later = () => parts;
  const archives = archiveCache(options.archives, settings.archiveCacheBytes);
  const fleet = connectFleet(options, later);
  const { discard } = fleet;
  const byUid = (uid: string) => parts.shared.placeIn(uid) ?? fleet.byUid(uid);
  const load = createLoadBook(Date.now);
  const parts: Parts = {
    options,
    owns,
    cluster,
    archives,
    contents: contentSource(cluster, archives),
    prefetcher: createPrefetcher(),
    fleet,
    environments: connectEnvironments(options, owns, later),
    functions: connectFunctions(options, later),
    shared: connectShared(options, later),
    rollover: connectRollover(options, later),
    slices: connectSlices(options, later),
    labels: createPodLabels({ cluster, log, beforeWrite: () => options.onFaultPoint?.("before-label") }),
    reaper: createIdleReaper({
      retained: (revision) =>
        Math.max(revision.serving.limits.retainPods, scaleOf(parts, revision)?.minPods ?? 0),
      discard: (pod, reason, graceSeconds) => scaleDown(parts, pod, reason, graceSeconds),
    }),
    watchdog: createWatchdog({ log, discard, byUid, pollIntervalMs, silenceGraceMs }),
    metrics: connectMetrics(archives, later),
    workloads: connectWorkloads(options, owns, later),
    load,
    scaler: createScaler({
      load,
      revisions: () => parts.functions.revisions(),
      targetOf: (revision) => scaleTarget(parts, revision),
      apply: (revision, pods) => parts.autoScale.apply(revision, pods),
      now: Date.now,
    }),
    autoScale: createAutoScale({
      downAfterMs: settings.scaleDownDelayMs,
      now: Date.now,
      onDraining: (pod) => parts.reaper.forget(pod),
      onKept: (revision, pod) => parts.reaper.watch(revision, pod),
      release: (pod, reason) => scaleDown(parts, pod, reason, 0),
    }),
    scales: new Map(),
    serving: new Map(),
    phase: "starting",
  };
  return parts;
}

const connectMetrics = (archives: ArchiveCache, parts: Later): ExecutorMetrics =>
  createMetrics({
    pools: () => parts().environments.snapshot(),
    phases: () => [...parts().fleet.all()].map(({ phase }) => phase),
    waiters: () =>
      [...parts().functions.revisions()].reduce((sum, revision) => sum + revision.snapshot().waiting, 0),
    archiveBytes: () => archives.sizeBytes,
  });

/** Pods, and the places of functions that share one, which leave in a way of their own. */
function connectFleet(options: ExecutorOptions, parts: Later): Fleet {
  const fleet = connectPods(options, parts);
  return {
    ...fleet,
    discard: (pod, reason, graceSeconds) =>
      pod.host ? parts().shared.discard(pod, reason) : fleet.discard(pod, reason, graceSeconds),
  };
}

const connectShared = ({ tokensOf }: ExecutorOptions, parts: Later): SharedPods =>
  createSharedPods({
    environments: {
      take: (key, owner, deliver, fail) => parts().environments.take(key, owner, deliver, fail),
    },
    connect: ({ address, namespace, name }, functionUid) =>
      podCalls(address, tokensOf(namespace, name), functionUid),
    discardHost: (host, reason) => parts().fleet.discard(host, reason, 0),
    onGone: (place, reason, failed) => podGone(parts(), place, reason, failed),
  });

const connectPods = (options: ExecutorOptions, parts: Later): Fleet =>
  createFleet({
    cluster: options.cluster,
    log: options.log,
    tokensOf: options.tokensOf,
    startTimeoutMs: options.settings.startTimeoutMs,
    beforeDelete: (pod) => parts().workloads.beforeDelete(pod),
    ...(options.connect ? { connect: options.connect } : {}),
    events: {
      onGeneric: (pod) => generic(parts(), pod),
      onReady: (pod) => parts().workloads.seenReady(pod),
      onGone: (pod, reason, failed) => podGone(parts(), pod, reason, failed),
      onTrouble: (pod, reason, message) =>
        parts().environments.pool(pod.environment)?.trouble(pod, reason, message),
      onUnknown: (object) => adoptPod(parts(), object),
      onSpecialised: (pod, status) => adoptSpecialised(parts(), pod, status),
    },
  });

const connectEnvironments = (
  { cluster, log, settings }: ExecutorOptions,
  owns: (environment: string) => boolean,
  parts: Later,
): Environments =>
  createEnvironments({
    log,
    owns,
    settings,
    create: (environment, template) => {
      parts().metrics.podCreated();
      return parts().fleet.create(environment, template);
    },
    discard: (pod, reason, graceSeconds) => parts().fleet.discard(pod, reason, graceSeconds),
    population: (key) => population(parts().fleet.all(), key),
    emitEvent: cluster.emitEvent,
    onDeleted: (key) => {
      const { workloads, serving, rollover } = parts();
      workloads.environmentDeleted(key);
      for (const pod of serving.keys()) if (pod.environment === key) rollover.orphan(pod, ORPHAN_DEADLINE_MS);
    },
  });

const connectRollover = ({ settings }: ExecutorOptions, parts: Later): Rollover =>
  createRollover({
    delayMs: settings.supersedeDelayMs,
    discard: (pod, reason, graceSeconds) => parts().fleet.discard(pod, reason, graceSeconds),
    onWithdrawn: (revision) => {
      parts().slices.touch(revision);
      parts().workloads.changed(revision);
    },
    onDrained: (revision, error) => {
      parts().scales.delete(revision.key);
      parts().functions.drop(revision, error);
    },
  });

const connectSlices = ({ cluster, log, onFaultPoint }: ExecutorOptions, parts: Later): SliceWriter =>
  createSliceWriter({
    cluster,
    log,
    published: (revision) =>
      revision.serving.limits.onceOnly || parts().rollover.isWithdrawn(revision) ? [] : revision.available(),
    beforeWrite: () => onFaultPoint?.("before-slice"),
  });

const connectFunctions = ({ log }: ExecutorOptions, parts: Later): Functions =>
  createFunctions({
    log,
    create: (identity, serving) => createRevision(revisionOptions(parts(), identity, serving)),
    onServed: (revision, { scale }) => void parts().scales.set(revision.key, scale),
    onCurrent: (revision, previous) => becameCurrent(parts(), revision, previous),
    onSuperseded: (revision, deleted) => parts().rollover.superseded(revision, deleted),
  });

const connectWorkloads = (
  { cluster, log, tokensOf, onFaultPoint }: ExecutorOptions,
  owns: (environment: string) => boolean,
  parts: Later,
): Workloads =>
  createWorkloads({
    cluster,
    log,
    owns,
    tokensOf,
    functions: { revision: (uid, revision) => parts().functions.revision(uid, revision) },
    environment: (key) => parts().environments.find(key),
    isWithdrawn: (revision) => parts().rollover.isWithdrawn(revision),
    beforeWrite: (write) => onFaultPoint?.(`before-${write}`),
  });

/** No other pod is wanted in the place of this one. */
function scaleDown({ workloads, fleet }: Parts, pod: Pod, reason: string, graceSeconds?: number): void {
  workloads.scaledDown(pod);
  fleet.discard(pod, reason, graceSeconds);
}

/** As the Function says now; its revision was made with what it said then. */
const scaleOf = ({ scales }: Parts, { key, serving }: Pick<Revision, "key" | "serving">): Serving["scale"] =>
  scales.get(key) ?? serving.scale;

const maxPodsOf = (parts: Parts, revision: Pick<Revision, "key" | "serving">): number =>
  Math.min(
    revision.serving.limits.concurrency,
    scaleOf(parts, revision)?.maxPods ?? Number.POSITIVE_INFINITY,
  );

/** The last pods go by their own word that nobody uses them (`idle-reaper.ts`), so the load never asks for less than one. */
function scaleTarget(parts: Parts, revision: Revision): ScaleTarget | undefined {
  const { workloads, rollover, options } = parts;
  if (!workloads.handles(revision) || rollover.isWithdrawn(revision) || revision.pods().size === 0)
    return undefined;
  const { limits } = revision.serving;
  const { minPods = 0, requestsPerSecond } = scaleOf(parts, revision) ?? {};
  return {
    requestsPerPod: limits.requestsPerPod,
    utilization: options.settings.targetUtilization / 100,
    requestsPerSecond,
    minPods: Math.max(1, minPods),
    maxPods: maxPodsOf(parts, revision),
    downAfterMs: options.settings.scaleDownDelayMs,
    toZeroAfterMs: Number.POSITIVE_INFINITY,
  };
}

function revisionOptions(parts: Parts, identity: FunctionIdentity, serving: Serving): RevisionOptions {
  const { contents, environments, fleet, options, metrics } = parts;
  const environmentKey = environmentOf(identity, serving);
  const key = revisionKey(identity.uid, serving.revision);
  return {
    serving,
    identity,
    log: options.log,
    attempts: options.settings.specializeAttempts,
    maxPods: () => maxPodsOf(parts, { key, serving }),
    content: () => contents.read(key, identity.namespace, serving),
    take: (deliver, fail) => {
      const template = sharedTemplate(environments, environmentKey);
      if (template !== undefined)
        return parts.shared.take(environmentKey, identity.uid, template, deliver, fail);
      const spare = parts.workloads.spare(key);
      if (!spare) return environments.take(environmentKey, key, deliver, fail);
      deliver(spare);
      return SERVED;
    },
    specialize: async (pod, content) => {
      const request = specializeRequest(pod, identity, serving, content, options.settings.debug);
      if (!pod.calls) return { kind: "unreachable", message: "the pod has no address" };
      return pod.calls.specialize(request, content.archive, serving.limits.specializationTimeoutMs);
    },
    discard: (pod, reason, graceSeconds) => {
      if (pod.phase === "claimed") parts.workloads.scaledDown(pod);
      fleet.discard(pod, reason, graceSeconds);
    },
    stillGeneric: async (pod) => (await pod.calls?.health(HEALTH_TIMEOUT_MS))?.state === "generic",
    onChange: (revision, pod, joined) => {
      if (joined) podJoined(parts, revision, pod);
      parts.slices.touch(revision);
    },
    onOutcome: metrics.specialised,
  };
}

/** Fingerprint of the pods of an environment whose functions share them; undefined where each has pods of its own. */
function sharedTemplate(environments: Environments, key: string): string | undefined {
  const environment = environments.find(key);
  return environment?.spec.sidecar?.shared === true ? podTemplate(environment).hash : undefined;
}

function podJoined(
  { serving, watchdog, reaper, labels, rollover, workloads, autoScale }: Parts,
  revision: Revision,
  pod: Pod,
): void {
  serving.set(pod, revision);
  watchdog.watch(revision, pod);
  reaper.watch(revision, pod);
  if (workloads.handles(revision)) workloads.joined(revision, pod);
  else if (!pod.host) labels.specialised(revision, pod);
  autoScale.joined(pod);
  rollover.joined(revision, pod);
}

function podGone(parts: Parts, pod: Pod, reason: string, failed: boolean): void {
  const { metrics, options, watchdog, reaper, environments, serving, workloads, shared } = parts;
  if (!pod.host) metrics.podGone(failed);
  if (failed) options.log.warn("pod ended", { pod: pod.name, namespace: pod.namespace, reason });
  watchdog.forget(pod);
  reaper.forget(pod);
  environments.pool(pod.environment)?.gone(pod, reason, failed);
  const revision = serving.get(pod);
  serving.delete(pod);
  revision?.gone(pod);
  workloads.gone(pod, failed);
  shared.hostGone(pod, reason, failed);
}

/** Pods of the pools serve whoever calls first; one that a ReplicaSet made is its revision's. */
function generic({ workloads, environments, fleet }: Parts, pod: Pod): void {
  if (pod.replicaSet === "") environments.pool(pod.environment)?.ready(pod);
  else if (!workloads.ready(pod)) fleet.discard(pod, "its revision is not served any more", 0);
}

/** Archive and settings of a served revision are read ahead; a revision that replaces a warm one is warm before its first call. */
function becameCurrent(parts: Parts, revision: Revision, previous: Revision | undefined): void {
  const { rollover, prefetcher, contents, options } = parts;
  rollover.current(revision);
  if (!parts.owns(environmentOf(revision.identity, revision.serving))) return;
  prefetcher.add(() => contents.read(revision.key, revision.identity.namespace, revision.serving));
  const { limits, scale } = revision.serving;
  const warm = Math.min(previous?.pods().size ?? 0, options.settings.prewarmPods);
  const least = Math.max(warm, scale?.minPods ?? 0);
  if (least > 0 && !limits.onceOnly) revision.warm(least);
}

function population(pods: Iterable<Pod>, environment: string): number {
  let count = 0;
  for (const pod of pods) if (pod.environment === environment && pod.phase !== "leaving") count += 1;
  return count;
}
