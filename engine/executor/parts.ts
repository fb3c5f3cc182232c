import type { Serving } from "../../api/kinds/serving.ts";
import { type AdoptionParts, adoptPod, adoptSpecialised, ORPHAN_DEADLINE_MS } from "./adoption.ts";
import { type ArchiveCache, archiveCache } from "./archives.ts";
import { type Aliases, createAliases } from "./aliases.ts";
import { type AutoScale, createAutoScale } from "./auto-scale.ts";
import { createConditions } from "./conditions.ts";
import { type ContentSource, contentSource } from "./content.ts";
import { createDeployments, type Deployments } from "./deployments.ts";
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
import {
  becameCurrent,
  environmentOf,
  named,
  needed,
  podGeneric,
  podGone,
  podReadiness,
  podTrouble,
  revisionOptions,
  served,
  superseded,
  withdrawn,
} from "./pod-life.ts";
import { createPrefetcher, type Prefetcher } from "./prefetch.ts";
import { createRevision, type Revision } from "./revision.ts";
import { createRollover, type Rollover } from "./rollover.ts";
import { createScaler, type Scaler } from "./scaler.ts";
import { applyScale, drained, keptPods, retainedPods, scaleDown, scaleTarget } from "./scaling.ts";
import { createSharedPods, type SharedPods } from "./shared-pods.ts";
import { createSliceWriter, type SliceWriter } from "./slices.ts";
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
  readonly deployments: Deployments;
  /** Revisions that are not served any more and whose pods a Deployment is about to take away. */
  readonly fading: Set<Revision>;
  readonly load: LoadBook;
  readonly aliases: Aliases;
  readonly scaler: Scaler;
  readonly autoScale: AutoScale;
  /** Numbers of pods that revisions may have, by their key, as the Functions say now. */
  readonly scales: Map<string, Serving["scale"]>;
  /** Specialised pods and what they serve. */
  readonly serving: Map<Pod, Revision>;
  phase: "starting" | "ready" | "stopped";
}

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
    aliases: connectAliases(later),
    shared: connectShared(options, later),
    rollover: connectRollover(options, later),
    slices: connectSlices(options, later),
    labels: createPodLabels({ cluster, log, beforeWrite: () => options.onFaultPoint?.("before-label") }),
    reaper: createIdleReaper({
      retained: (revision) => retainedPods(parts, revision),
      discard: (pod, reason, graceSeconds) => scaleDown(parts, pod, reason, graceSeconds),
    }),
    watchdog: createWatchdog({ log, discard, byUid, pollIntervalMs, silenceGraceMs }),
    metrics: connectMetrics(archives, later),
    workloads: connectWorkloads(options, owns, later),
    deployments: connectDeployments(options, owns, later),
    load,
    scaler: createScaler({
      load,
      revisions: () => parts.functions.revisions(),
      targetOf: (revision) => scaleTarget(parts, revision),
      apply: (revision, pods) => applyScale(parts, revision, pods),
      now: Date.now,
    }),
    autoScale: createAutoScale({
      downAfterMs: settings.scaleDownDelayMs,
      now: Date.now,
      onDraining: (pod) => parts.reaper.forget(pod),
      onKept: (revision, pod) => {
        if (!parts.deployments.handles(revision)) parts.reaper.watch(revision, pod);
      },
      drained,
      // With its grace period: a request that was on its way to it is answered, if only that it is refused.
      release: (pod, reason) => scaleDown(parts, pod, reason),
    }),
    scales: new Map(),
    fading: new Set(),
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
      take: (...asked) => parts().environments.take(...asked),
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
    beforeDelete: (pod) => parts().workloads.beforeDelete(pod) ?? parts().deployments.beforeDelete(pod),
    ...(options.connect ? { connect: options.connect } : {}),
    events: {
      onGeneric: (pod) => podGeneric(parts(), pod),
      onReady: (pod) => podReadiness(parts(), pod),
      onGone: (pod, reason, failed) => podGone(parts(), pod, reason, failed),
      onTrouble: (pod, reason, message) => podTrouble(parts(), pod, reason, message),
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
    onChanged: (key) => parts().deployments.environmentChanged(key),
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
    onWithdrawn: (revision) => withdrawn(parts(), revision),
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
    onServed: (revision, serving) => served(parts(), revision, serving),
    onCurrent: (revision, previous) => becameCurrent(parts(), revision, previous),
    onNamed: (revision) => named(parts(), revision),
    onSuperseded: (revision, deleted) => superseded(parts(), revision, deleted),
  });

const connectAliases = (parts: Later): Aliases =>
  createAliases({
    functions: {
      find: (namespace, name) => parts().functions.find(namespace, name),
      versionRevision: (namespace, version, uid) =>
        parts().functions.versionRevision(namespace, version, uid),
    },
    onNeeded: (revision) => needed(parts(), revision),
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
    environment: (revision) => environmentOf(parts(), revision),
    isWithdrawn: (revision) => parts().rollover.isWithdrawn(revision),
    beforeWrite: (write) => onFaultPoint?.(`before-${write}`),
  });

const connectDeployments = (
  { cluster, log, tokensOf, onFaultPoint }: ExecutorOptions,
  owns: (environment: string) => boolean,
  parts: Later,
): Deployments =>
  createDeployments({
    cluster,
    log,
    owns,
    tokensOf,
    functions: {
      revision: (uid, revision) => parts().functions.revision(uid, revision),
      isNamed: (revision) => parts().functions.isNamed(revision),
      isCurrent: (revision) => parts().functions.isCurrent(revision),
    },
    keptPods: (revision, pods) => keptPods(parts(), revision, pods),
    environment: (revision) => environmentOf(parts(), revision),
    conditions: createConditions({ cluster, log }),
    beforeWrite: (write) => onFaultPoint?.(`before-${write}`),
  });

function population(pods: Iterable<Pod>, environment: string): number {
  let count = 0;
  for (const pod of pods) if (pod.environment === environment && pod.phase !== "leaving") count += 1;
  return count;
}
