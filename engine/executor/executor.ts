import { PlatformError } from "../../api/errors.ts";
import type { Serving } from "../../api/kinds/serving.ts";
import type { AcquireReply, AcquireRequest, SuspectReport } from "../../api/wire/executor.ts";
import {
  type AdoptionParts,
  adoptionEnds,
  adoptPod,
  adoptSlices,
  adoptSpecialised,
  ORPHAN_DEADLINE_MS,
} from "./adoption.ts";
import { type ArchiveCache, type ArchiveSource, archiveCache } from "./archives.ts";
import type { Cluster } from "./cluster.ts";
import { type ContentSource, contentSource } from "./content.ts";
import { createEnvironments } from "./environments.ts";
import type { ExecutorLog } from "./executor-log.ts";
import { createFleet } from "./fleet.ts";
import { createFunctions } from "./functions.ts";
import { createIdleReaper, type IdleReaper } from "./idle-reaper.ts";
import { createMetrics, type ExecutorMetrics } from "./metrics.ts";
import type { Pod } from "./pod.ts";
import type { PodCalls } from "./pod-calls.ts";
import { createPodLabels, type PodLabels } from "./pod-labels.ts";
import type { PoolSnapshot } from "./pool.ts";
import { createPrefetcher, type Prefetcher } from "./prefetch.ts";
import {
  createRevision,
  type FunctionIdentity,
  type Revision,
  type RevisionOptions,
  type RevisionSnapshot,
  revisionKey,
} from "./revision.ts";
import { createRollover } from "./rollover.ts";
import type { ExecutorSettings } from "./settings.ts";
import { createSliceWriter } from "./slices.ts";
import { specializeRequest } from "./specialize-request.ts";
import { createWatchdog, type Watchdog } from "./watchdog.ts";

/** Moments at which a crash must lose nothing; a test may end the process there. */
export type FaultPoint = "before-label" | "before-slice";

export interface ExecutorOptions {
  readonly cluster: Cluster;
  readonly archives: ArchiveSource;
  /** Tokens of a pod's control calls, the current one first. */
  readonly tokensOf: (namespace: string, name: string) => readonly string[];
  readonly settings: ExecutorSettings;
  readonly log: ExecutorLog;
  /** Whether this executor minds an environment (`namespace/name`); default: all. Fixed for the executor's life. */
  readonly owns?: (environment: string) => boolean;
  readonly onFaultPoint?: (point: FaultPoint) => void;
  /** For tests: another way to call pods than HTTP. */
  readonly connect?: (address: string, tokens: readonly string[]) => PodCalls;
}

export interface Executor {
  /** Resolves when pods of a process before this one are adopted and pools fill; calls that come earlier wait. */
  start(): Promise<void>;
  /** Stops without touching pods: the next process adopts them. Waits for writes under way. */
  stop(): Promise<void>;
  /** Throws `PlatformError`. The signal aborts when the caller has left. */
  acquire(request: AcquireRequest, signal?: AbortSignal): Promise<AcquireReply>;
  suspect(report: SuspectReport): void;
  /** The environment (`namespace/name`) that the call's revision runs in; undefined when the revision is not known. */
  environmentOf(request: AcquireRequest): Promise<string | undefined>;
  readonly ready: boolean;
  snapshot(): ExecutorSnapshot;
  /** Prometheus text. */
  metrics(): string;
}

export interface ExecutorSnapshot {
  readonly ready: boolean;
  readonly pools: readonly PoolSnapshot[];
  readonly revisions: readonly RevisionSnapshot[];
  readonly pods: readonly { namespace: string; name: string; uid: string; address: string; phase: string }[];
  readonly archiveCacheBytes: number;
}

interface Parts extends AdoptionParts {
  readonly options: ExecutorOptions;
  readonly archives: ArchiveCache;
  readonly contents: ContentSource;
  readonly prefetcher: Prefetcher;
  readonly labels: PodLabels;
  readonly reaper: IdleReaper;
  readonly watchdog: Watchdog;
  readonly metrics: ExecutorMetrics;
  /** Specialised pods and what they serve. */
  readonly serving: Map<Pod, Revision>;
  phase: "starting" | "ready" | "stopped";
}

const stopping = () => new PlatformError("executor_unavailable", "This executor is stopping");
const environmentOf = ({ namespace }: FunctionIdentity, { environment }: Serving): string =>
  `${namespace}/${environment.name}`;

const SETTLE_LIMIT_MS = 2_000;
const HEALTH_TIMEOUT_MS = 1_000;
const SUPPORTED_TYPES = new Set(["", "poolmgr", "auto"]);

/** The executor: pools of generic pods, specialised on demand for the revisions that Functions serve. */
export function createExecutor(options: ExecutorOptions): Executor {
  const parts = connectParts(options);
  const { functions, metrics } = parts;
  const started = Promise.withResolvers<void>();
  return {
    start: async () => {
      await start(parts);
      started.resolve();
    },
    stop: async () => {
      const stopped = stop(parts);
      started.resolve();
      await stopped;
    },
    environmentOf: async (request) => {
      if (parts.phase === "starting") await started.promise;
      const revision =
        functions.revision(request.uid, request.revision) ??
        (await lookUp(parts, request).catch(() => undefined));
      return revision && environmentOf(revision.identity, revision.serving);
    },
    acquire: async (request, signal) => {
      const beganMs = performance.now();
      try {
        if (parts.phase === "starting") await started.promise;
        if (parts.phase === "stopped") throw stopping();
        const revision = functions.revision(request.uid, request.revision) ?? (await lookUp(parts, request));
        checkServable(revision, request);
        const endpoints = await revision.acquire(request, signal);
        metrics.acquired("ok", performance.now() - beganMs);
        return { endpoints };
      } catch (error) {
        metrics.acquired(
          error instanceof PlatformError ? error.code : "internal",
          performance.now() - beganMs,
        );
        throw error;
      }
    },
    suspect: (report) => parts.watchdog.suspect(report),
    get ready() {
      return parts.phase === "ready";
    },
    snapshot: () => ({
      ready: parts.phase === "ready",
      pools: parts.environments.snapshot(),
      revisions: [...functions.revisions()].map((revision) => revision.snapshot()),
      pods: [...parts.fleet.all()].map(({ namespace, name, uid, address, phase }) => ({
        namespace,
        name,
        uid,
        address,
        phase,
      })),
      archiveCacheBytes: parts.archives.sizeBytes,
    }),
    metrics: () => metrics.text(),
  };
}

/** Makes the parts and lets each tell the others what happened. They are called back only after all of them exist. */
function connectParts(options: ExecutorOptions): Parts {
  const { cluster, settings, log, owns = () => true } = options;
  const archives = archiveCache(options.archives, settings.archiveCacheBytes);
  const metrics = createMetrics({
    pools: () => environments.snapshot(),
    phases: () => [...fleet.all()].map(({ phase }) => phase),
    waiters: () => [...functions.revisions()].reduce((sum, revision) => sum + revision.snapshot().waiting, 0),
    archiveBytes: () => archives.sizeBytes,
  });
  const fleet = createFleet({
    cluster,
    log,
    tokensOf: options.tokensOf,
    startTimeoutMs: settings.startTimeoutMs,
    ...(options.connect ? { connect: options.connect } : {}),
    events: {
      onGeneric: (pod) => environments.pool(pod.environment)?.ready(pod),
      onGone: (pod, reason, failed) => podGone(parts, pod, reason, failed),
      onTrouble: (pod, reason, message) => environments.pool(pod.environment)?.trouble(pod, reason, message),
      onUnknown: (object) => adoptPod(parts, object),
      onSpecialised: (pod, status) => adoptSpecialised(parts, pod, status),
    },
  });
  const { discard } = fleet;
  const environments = createEnvironments({
    log,
    owns,
    settings,
    create: (environment, template) => {
      metrics.podCreated();
      return fleet.create(environment, template);
    },
    discard,
    population: (key) => population(fleet.all(), key),
    emitEvent: cluster.emitEvent,
    onDeleted: (key) => {
      for (const pod of serving.keys()) if (pod.environment === key) rollover.orphan(pod, ORPHAN_DEADLINE_MS);
    },
  });
  const rollover = createRollover({
    delayMs: settings.supersedeDelayMs,
    discard,
    onWithdrawn: (revision) => slices.touch(revision),
    onDrained: (revision, error) => functions.drop(revision, error),
  });
  const slices = createSliceWriter({
    cluster,
    log,
    published: (revision) =>
      revision.serving.limits.onceOnly || rollover.isWithdrawn(revision) ? [] : revision.pods(),
    beforeWrite: () => options.onFaultPoint?.("before-slice"),
  });
  const functions = createFunctions({
    log,
    create: (identity, serving) => createRevision(revisionOptions(parts, identity, serving)),
    onCurrent: (revision, previous) => becameCurrent(parts, revision, previous),
    onSuperseded: (revision, deleted) => rollover.superseded(revision, deleted),
  });
  const serving = new Map<Pod, Revision>();
  const { pollIntervalMs, silenceGraceMs } = settings;
  const parts: Parts = {
    options,
    owns,
    cluster,
    archives,
    contents: contentSource(cluster, archives),
    prefetcher: createPrefetcher(),
    fleet,
    environments,
    functions,
    rollover,
    slices,
    labels: createPodLabels({ cluster, log, beforeWrite: () => options.onFaultPoint?.("before-label") }),
    reaper: createIdleReaper({ discard }),
    watchdog: createWatchdog({ log, discard, byUid: fleet.byUid, pollIntervalMs, silenceGraceMs }),
    metrics,
    serving,
    phase: "starting",
  };
  return parts;
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
    content: () => contents.read(key, identity.namespace, serving),
    take: (deliver, fail) => environments.take(environmentKey, key, deliver, fail),
    specialize: async (pod, content) => {
      const request = specializeRequest(pod, identity, serving, content, options.settings.debug);
      if (!pod.calls) return { kind: "unreachable", message: "the pod has no address" };
      return pod.calls.specialize(request, content.archive, serving.limits.specializationTimeoutMs);
    },
    discard: fleet.discard,
    stillGeneric: async (pod) => (await pod.calls?.health(HEALTH_TIMEOUT_MS))?.state === "generic",
    onChange: (revision, pod, joined) => {
      if (joined) podJoined(parts, revision, pod);
      parts.slices.touch(revision);
    },
    onOutcome: metrics.specialised,
  };
}

function podJoined(
  { serving, watchdog, reaper, labels, rollover }: Parts,
  revision: Revision,
  pod: Pod,
): void {
  serving.set(pod, revision);
  watchdog.watch(revision, pod);
  reaper.watch(revision, pod);
  labels.specialised(revision, pod);
  rollover.joined(revision, pod);
}

function podGone(parts: Parts, pod: Pod, reason: string, failed: boolean): void {
  const { metrics, options, watchdog, reaper, environments, serving } = parts;
  metrics.podGone(failed);
  if (failed) options.log.warn("pod ended", { pod: pod.name, namespace: pod.namespace, reason });
  watchdog.forget(pod);
  reaper.forget(pod);
  environments.pool(pod.environment)?.gone(pod, reason, failed);
  const revision = serving.get(pod);
  serving.delete(pod);
  revision?.gone(pod);
}

/** Archive and settings of a served revision are read ahead; a revision that replaces a warm one is warm before its first call. */
function becameCurrent(parts: Parts, revision: Revision, previous: Revision | undefined): void {
  const { rollover, prefetcher, contents, options } = parts;
  rollover.current(revision);
  if (!parts.owns(environmentOf(revision.identity, revision.serving))) return;
  prefetcher.add(() => contents.read(revision.key, revision.identity.namespace, revision.serving));
  const warm = previous?.pods().size ?? 0;
  if (warm > 0 && !revision.serving.limits.onceOnly)
    revision.warm(Math.min(warm, options.settings.prewarmPods));
}

async function start(parts: Parts): Promise<void> {
  const { cluster } = parts.options;
  const { environments, functions, fleet, slices } = parts;
  const stopped = () => parts.phase === "stopped";
  await Promise.all([
    cluster.environments.start({ upsert: environments.upsert, remove: environments.remove }),
    cluster.functions.start({ upsert: functions.upsert, remove: functions.remove }),
  ]);
  await adoptSlices(parts);
  await cluster.pods.start({ upsert: fleet.observe, remove: fleet.vanish });
  await adoptionEnds(parts, stopped);
  if (stopped()) return;
  environments.open();
  for (const revision of functions.revisions()) slices.touch(revision);
  parts.phase = "ready";
}

async function stop(parts: Parts): Promise<void> {
  const { cluster } = parts.options;
  const { prefetcher, rollover, reaper, watchdog, environments, functions, slices, labels, fleet } = parts;
  parts.phase = "stopped";
  for (const part of [prefetcher, rollover, reaper, watchdog, environments]) part.close();
  const error = stopping();
  for (const revision of functions.revisions()) functions.drop(revision, error);
  const limit = new Promise((resolve) => setTimeout(resolve, SETTLE_LIMIT_MS).unref());
  await Promise.race([Promise.all([slices.settled(), labels.settled()]), limit]);
  slices.close();
  labels.close();
  await Promise.all([cluster.pods.stop(), cluster.functions.stop(), cluster.environments.stop()]);
  fleet.close();
}

/** The router may have seen the new revision before this process's watch did. */
async function lookUp({ options, functions }: Parts, request: AcquireRequest): Promise<Revision> {
  const { namespace, name } = request;
  const object = await options.cluster.getFunction(namespace, name);
  if (object) functions.upsert(object);
  const revision = functions.revision(request.uid, request.revision);
  if (revision) return revision;
  if (functions.find(namespace, name)?.uid !== request.uid)
    throw new PlatformError(
      "function_not_found",
      `Function "${namespace}/${name}" with UID "${request.uid}" does not exist`,
    );
  throw new PlatformError(
    "function_not_ready",
    `Function "${namespace}/${name}" does not serve revision "${request.revision}"`,
  );
}

function checkServable({ identity, serving }: Revision, { namespace, name }: AcquireRequest): void {
  if (identity.namespace !== namespace || identity.name !== name)
    throw new PlatformError(
      "function_not_found",
      `Function "${namespace}/${name}" does not have UID "${identity.uid}"`,
    );
  if (!SUPPORTED_TYPES.has(serving.executorType))
    throw new PlatformError(
      "function_not_ready",
      `Cannot run function "${name}": executor type must be "poolmgr" or "auto", got "${serving.executorType}"`,
    );
}

function population(pods: Iterable<Pod>, environment: string): number {
  let count = 0;
  for (const pod of pods) if (pod.environment === environment && pod.phase !== "leaving") count += 1;
  return count;
}
