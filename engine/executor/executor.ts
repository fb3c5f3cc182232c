import { PlatformError } from "../../api/errors.ts";
import type { Serving } from "../../api/kinds/serving.ts";
import { LABEL_FUNCTION_UID, LABEL_REVISION } from "../../api/names.ts";
import type { AcquireReply, AcquireRequest, SuspectReport } from "../../api/wire/executor.ts";
import type { PodStatus } from "../../api/wire/pod.ts";
import { type ArchiveSource, archiveCache } from "./archives.ts";
import type { Cluster, KubePod } from "./cluster.ts";
import { type Content, contentSource } from "./content.ts";
import { createEnvironments } from "./environments.ts";
import type { ExecutorLog } from "./executor-log.ts";
import { createFleet } from "./fleet.ts";
import { createFunctions } from "./functions.ts";
import { createIdleReaper } from "./idle-reaper.ts";
import { createMetrics, type Gauge } from "./metrics.ts";
import type { Pod } from "./pod.ts";
import type { PodCalls } from "./pod-calls.ts";
import { createPodLabels } from "./pod-labels.ts";
import type { PoolSnapshot } from "./pool.ts";
import { createPrefetcher } from "./prefetch.ts";
import {
  createRevision,
  type FunctionIdentity,
  type Revision,
  type RevisionSnapshot,
  revisionKey,
} from "./revision.ts";
import { createRollover } from "./rollover.ts";
import type { ExecutorSettings } from "./settings.ts";
import { createSliceWriter } from "./slices.ts";
import { specializeRequest } from "./specialize-request.ts";
import { createWatchdog } from "./watchdog.ts";

/** Moments at which a crash must lose nothing; a test may end the process there. */
export type FaultPoint = "before-label" | "before-slice";

export interface ExecutorOptions {
  readonly cluster: Cluster;
  readonly archives: ArchiveSource;
  /** Tokens of a pod's control calls, the current one first. */
  readonly tokensOf: (namespace: string, name: string) => readonly string[];
  readonly settings: ExecutorSettings;
  readonly log: ExecutorLog;
  readonly onFaultPoint?: (point: FaultPoint) => void;
  readonly connect?: (address: string, tokens: readonly string[]) => PodCalls;
}

export interface Executor {
  /** Resolves when pods of a process before this one are adopted and pools fill; calls that come earlier wait. */
  start(): Promise<void>;
  /** Stops without touching pods: the next process adopts them. Waits for writes under way. */
  stop(): Promise<void>;
  acquire(request: AcquireRequest, signal?: AbortSignal): Promise<AcquireReply>;
  suspect(report: SuspectReport): void;
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

const ADOPTION_LIMIT_MS = 3_000;
const ADOPTION_LOOK_MS = 5;
const ORPHAN_DEADLINE_MS = 60_000;
const SETTLE_LIMIT_MS = 2_000;
const SUPPORTED_TYPES = new Set(["", "poolmgr", "auto"]);

/** The executor: pools of generic pods, specialised on demand for the revisions that Functions serve. */
export function createExecutor(options: ExecutorOptions): Executor {
  const { cluster, settings, log } = options;
  const metrics = createMetrics();
  const archives = archiveCache(options.archives, settings.archiveCacheBytes);
  const contents = contentSource(cluster, archives);
  const prefetcher = createPrefetcher();
  const started = Promise.withResolvers<void>();
  /** Specialised pods and what they serve. */
  const serving = new Map<Pod, Revision>();
  let ready = false;
  let stopped = false;

  const fleet = createFleet({
    cluster,
    log,
    tokensOf: options.tokensOf,
    startTimeoutMs: settings.startTimeoutMs,
    ...(options.connect ? { connect: options.connect } : {}),
    events: {
      onGeneric: (pod) => environments.pool(pod.environment)?.ready(pod),
      onGone: (pod, reason, failed) => podGone(pod, reason, failed),
      onTrouble: (pod, reason, message) => environments.pool(pod.environment)?.trouble(pod, reason, message),
      onUnknown: (object) => adopt(object),
      onSpecialised: (pod, status) => adoptSpecialised(pod, status),
    },
  });
  const { discard } = fleet;

  const environments = createEnvironments({
    log,
    settings,
    create: (environment, template) => {
      metrics.podCreated();
      return fleet.create(environment, template);
    },
    discard,
    population: (key) =>
      [...fleet.all()].filter((pod) => pod.environment === key && pod.phase !== "leaving").length,
    emitEvent: cluster.emitEvent,
    onDeleted: (key) => {
      for (const pod of serving.keys()) if (pod.environment === key) rollover.orphan(pod, ORPHAN_DEADLINE_MS);
    },
  });

  const slices = createSliceWriter({
    cluster,
    log,
    published: (revision) =>
      revision.serving.limits.onceOnly || rollover.isWithdrawn(revision) ? [] : revision.pods(),
    beforeWrite: () => options.onFaultPoint?.("before-slice"),
  });
  const labels = createPodLabels({ cluster, log, beforeWrite: () => options.onFaultPoint?.("before-label") });
  const reaper = createIdleReaper({ log, discard });
  const watchdog = createWatchdog({
    log,
    discard,
    byUid: fleet.byUid,
    pollIntervalMs: settings.pollIntervalMs,
    silenceGraceMs: settings.silenceGraceMs,
  });

  const functions = createFunctions({
    log,
    create: (identity, given) => newRevision(identity, given),
    onCurrent: (revision, previous) => {
      rollover.current(revision);
      prefetch(revision);
      const warm = previous?.pods().size ?? 0;
      if (warm > 0 && !revision.serving.limits.onceOnly) revision.warm(Math.min(warm, settings.prewarmPods));
    },
    onSuperseded: (revision, deleted) => rollover.superseded(revision, deleted),
  });

  const rollover = createRollover({
    delayMs: settings.supersedeDelayMs,
    discard,
    onWithdrawn: (revision) => slices.touch(revision),
    onDrained: (revision, error) => functions.drop(revision, error),
  });

  const newRevision = (identity: FunctionIdentity, given: Serving): Revision => {
    const environmentKey = `${identity.namespace}/${given.environment.name}`;
    const key = revisionKey(identity.uid, given.revision);
    return createRevision({
      serving: given,
      identity,
      log,
      attempts: settings.specializeAttempts,
      content: () => contents.read(identity.namespace, given),
      take: (deliver, fail) => environments.take(environmentKey, key, deliver, fail),
      specialize: (pod, content: Content) => {
        const request = specializeRequest(pod, identity, given, content, settings.debug);
        const { specializationTimeoutMs } = given.limits;
        return (
          pod.calls?.specialize(request, content.archive, specializationTimeoutMs) ?? Promise.resolve(GONE)
        );
      },
      discard,
      stillGeneric: async (pod) => (await pod.calls?.health(1_000))?.state === "generic",
      onChange: (revision, pod, joined) => podsChanged(revision, pod, joined),
      onOutcome: metrics.specialised,
    });
  };

  const prefetch = (revision: Revision) => {
    prefetcher.add(() => contents.read(revision.identity.namespace, revision.serving));
  };

  const podsChanged = (revision: Revision, pod: Pod, joined: boolean) => {
    if (joined) {
      serving.set(pod, revision);
      watchdog.watch(revision, pod);
      reaper.watch(revision, pod);
      labels.specialised(revision, pod);
      rollover.joined(revision, pod);
    }
    slices.touch(revision);
  };

  const podGone = (pod: Pod, reason: string, failed: boolean) => {
    metrics.podGone(failed);
    if (failed) log.warn("pod ended", { pod: pod.name, namespace: pod.namespace, reason });
    watchdog.forget(pod);
    reaper.forget(pod);
    environments.pool(pod.environment)?.gone(pod, reason, failed);
    const revision = serving.get(pod);
    serving.delete(pod);
    revision?.gone(pod);
  };

  const adopt = (object: KubePod) => {
    const pod = fleet.adopt(object);
    const pool = environments.pool(pod.environment);
    if (pool) pool.adopt(pod);
    fleet.observe(object);
    if (!pool && pod.phase === "starting") discard(pod, "its Environment does not exist");
  };

  const adoptSpecialised = (pod: Pod, status: PodStatus) => {
    environments.pool(pod.environment)?.release(pod);
    const inOwnNamespace = status.function?.namespace === pod.namespace;
    const revision = inOwnNamespace
      ? functions.revision(status.function?.uid ?? "", status.revision ?? "")
      : undefined;
    pod.phase = "specialised";
    // A pod for one request may have been given out already: it is left to finish.
    if (!revision || revision.serving.limits.onceOnly) rollover.orphan(pod, ORPHAN_DEADLINE_MS);
    else revision.adopt(pod);
  };

  const adoptSlices = async (): Promise<void> => {
    for (const slice of await cluster.listSlices()) {
      const { labels: given = {}, namespace, name } = slice.metadata;
      const revision = functions.revision(given[LABEL_FUNCTION_UID] ?? "", given[LABEL_REVISION] ?? "");
      if (!revision) await cluster.deleteSlice(namespace, name);
      else slices.adopt(revision.key, slice);
    }
  };

  const adoptionEnds = async (): Promise<void> => {
    const until = performance.now() + ADOPTION_LIMIT_MS;
    const open = () => [...fleet.all()].some((pod) => pod.wasReady && pod.phase === "starting");
    while (open() && performance.now() < until && !stopped)
      await new Promise((resolve) => setTimeout(resolve, ADOPTION_LOOK_MS));
  };

  const revisionFor = async (request: AcquireRequest): Promise<Revision> => {
    let revision = functions.revision(request.uid, request.revision);
    if (!revision) {
      // The router may have seen the new revision first.
      const object = await cluster.getFunction(request.namespace, request.name);
      if (object) functions.upsert(object);
      revision = functions.revision(request.uid, request.revision);
    }
    if (!revision) throw unknownRevision(request, functions.find(request.namespace, request.name)?.uid);
    if (revision.identity.namespace !== request.namespace || revision.identity.name !== request.name)
      throw unknownRevision(request, undefined);
    if (!SUPPORTED_TYPES.has(revision.serving.executorType))
      throw new PlatformError(
        "function_not_ready",
        `Cannot run function "${request.name}": executor type must be poolmgr or auto, got "${revision.serving.executorType}"`,
      );
    return revision;
  };

  return {
    start: async () => {
      await Promise.all([
        cluster.environments.start({ upsert: environments.upsert, remove: environments.remove }),
        cluster.functions.start({ upsert: functions.upsert, remove: functions.remove }),
      ]);
      await adoptSlices();
      await cluster.pods.start({ upsert: fleet.observe, remove: fleet.vanish });
      await adoptionEnds();
      if (stopped) return;
      environments.open();
      for (const revision of functions.revisions()) slices.touch(revision);
      ready = true;
      started.resolve();
    },
    stop: async () => {
      stopped = true;
      ready = false;
      started.resolve();
      prefetcher.close();
      rollover.close();
      reaper.close();
      watchdog.close();
      environments.close();
      for (const revision of [...functions.revisions()])
        functions.drop(revision, new PlatformError("executor_unavailable", "This executor is stopping"));
      const limit = new Promise((resolve) => setTimeout(resolve, SETTLE_LIMIT_MS).unref());
      await Promise.race([Promise.all([slices.settled(), labels.settled()]), limit]);
      slices.close();
      labels.close();
      await Promise.all([cluster.pods.stop(), cluster.functions.stop(), cluster.environments.stop()]);
      fleet.close();
    },
    acquire: async (request, signal) => {
      const beganMs = performance.now();
      try {
        if (!ready) await started.promise;
        if (stopped) throw new PlatformError("executor_unavailable", "This executor is stopping");
        const revision = functions.revision(request.uid, request.revision) ?? (await revisionFor(request));
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
    suspect: watchdog.suspect,
    get ready() {
      return ready;
    },
    snapshot: () => ({
      ready,
      pools: environments.snapshot(),
      revisions: [...functions.revisions()].map((revision) => revision.snapshot()),
      pods: [...fleet.all()].map(({ namespace, name, uid, address, phase }) => ({
        namespace,
        name,
        uid,
        address,
        phase,
      })),
      archiveCacheBytes: archives.sizeBytes,
    }),
    metrics: () =>
      metrics.text(gauges(environments.snapshot(), fleet.all(), functions.revisions(), archives.sizeBytes)),
  };
}

const GONE = { kind: "unreachable", message: "the pod has no address" } as const;

function unknownRevision(request: AcquireRequest, uid: string | undefined): PlatformError {
  const { namespace, name } = request;
  if (uid !== request.uid)
    return new PlatformError(
      "function_not_found",
      `Function "${namespace}/${name}" with UID "${request.uid}" does not exist`,
    );
  return new PlatformError(
    "function_not_ready",
    `Function "${namespace}/${name}" does not serve revision "${request.revision}"`,
  );
}

function gauges(
  pools: readonly PoolSnapshot[],
  pods: Iterable<Pod>,
  revisions: Iterable<Revision>,
  archiveBytes: number,
): Gauge[] {
  const phases = new Map<string, number>();
  for (const { phase } of pods) phases.set(phase, (phases.get(phase) ?? 0) + 1);
  let waiting = 0;
  for (const revision of revisions) waiting += revision.snapshot().waiting;
  const byPool = (value: (pool: PoolSnapshot) => number) =>
    pools.map((pool) => ({ labels: { environment: pool.environment }, value: value(pool) }));
  return [
    {
      name: "isotope_executor_pods",
      help: "Pods by phase",
      values: [...phases].map(([phase, value]) => ({ labels: { phase }, value })),
    },
    {
      name: "isotope_executor_pool_ready",
      help: "Generic pods that are ready",
      values: byPool((pool) => pool.ready),
    },
    {
      name: "isotope_executor_pool_target",
      help: "Generic pods that are wanted",
      values: byPool((pool) => pool.target),
    },
    {
      name: "isotope_executor_pool_waiting",
      help: "Starts that wait for a generic pod",
      values: byPool((pool) => pool.waiting),
    },
    {
      name: "isotope_executor_waiters",
      help: "Acquire calls that wait",
      values: [{ labels: {}, value: waiting }],
    },
    {
      name: "isotope_executor_archive_cache_bytes",
      help: "Archives in memory",
      values: [{ labels: {}, value: archiveBytes }],
    },
  ];
}
