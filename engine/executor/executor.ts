import { PlatformError } from "../../api/errors.ts";
import { EXECUTOR_TYPES } from "../../api/kinds/function.ts";
import type {
  AcquireReply,
  AcquireRequest,
  SuspectReport,
  WarmReply,
  WarmRequest,
} from "../../api/wire/executor.ts";
import type { LoadReport } from "../../api/wire/load.ts";
import { adoptionEnds, adoptSlices } from "./adoption.ts";
import type { ArchiveSource } from "./archives.ts";
import type { Cluster } from "./cluster.ts";
import type { DeploymentWrite } from "./deployment-writer.ts";
import type { ExecutorLog } from "./executor-log.ts";
import { connectParts, type Parts } from "./parts.ts";
import type { PodCalls } from "./pod-calls.ts";
import type { PoolSnapshot } from "./pool.ts";
import type { Revision, RevisionSnapshot } from "./revision.ts";
import type { ExecutorSettings } from "./settings.ts";
import { warmUp } from "./warm-up.ts";
import { environmentKey } from "./workload.ts";
import type { WorkloadWrite } from "./workload-writer.ts";

/** Moments at which a crash must lose nothing; a test may end the process there. */
export type FaultPoint = "before-label" | "before-slice" | `before-${WorkloadWrite | DeploymentWrite}`;

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
  /** Starts pods ahead of requests (`warm-up.ts`); throws `PlatformError`. */
  warm(request: WarmRequest, signal?: AbortSignal): Promise<WarmReply>;
  suspect(report: SuspectReport): void;
  /** What a router has to do. */
  load(report: LoadReport): void;
  /** The environment (`namespace/name`) that the call's revision runs in; undefined when the revision is not known. */
  environmentOf(request: RevisionOf): Promise<string | undefined>;
  readonly ready: boolean;
  snapshot(): ExecutorSnapshot;
  /** Prometheus text. */
  metrics(): string;
}

/** What a call names a revision by. */
export type RevisionOf = Pick<AcquireRequest, "namespace" | "name" | "uid" | "revision">;

export interface ExecutorSnapshot {
  readonly ready: boolean;
  readonly pools: readonly PoolSnapshot[];
  readonly revisions: readonly RevisionSnapshot[];
  readonly pods: readonly { namespace: string; name: string; uid: string; address: string; phase: string }[];
  readonly archiveCacheBytes: number;
}

const stopping = () => new PlatformError("executor_unavailable", "This executor is stopping");
const SETTLE_LIMIT_MS = 2_000;
const SUPPORTED_TYPES = new Set(["", ...EXECUTOR_TYPES]);

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
      return revision && environmentKey(revision);
    },
    acquire: async (request, signal) => {
      const beganMs = performance.now();
      try {
        if (parts.phase === "starting") await started.promise;
        if (parts.phase === "stopped") throw stopping();
        const revision = functions.revision(request.uid, request.revision) ?? (await lookUp(parts, request));
        checkServable(revision, request);
        if (revision.available().length === 0) parts.autoScale.keepOne(revision);
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
    warm: async (request, signal) => {
      if (parts.phase === "starting") await started.promise;
      if (parts.phase === "stopped") throw stopping();
      const revision = functions.revision(request.uid, request.revision) ?? (await lookUp(parts, request));
      checkServable(revision, request);
      return warmUp(parts, revision, request, signal);
    },
    suspect: (report) => parts.watchdog.suspect(report),
    load: (report) => parts.load.record(report),
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

async function start(parts: Parts): Promise<void> {
  const { cluster } = parts.options;
  const { environments, functions, aliases, fleet, slices, workloads, deployments, scaler } = parts;
  const stopped = () => parts.phase === "stopped";
  await Promise.all([
    cluster.environments.start({ upsert: environments.upsert, remove: environments.remove }),
    cluster.functions.start({ upsert: functions.upsert, remove: functions.remove }),
    cluster.versions.start({ upsert: functions.upsertVersion, remove: functions.removeVersion }),
  ]);
  await cluster.aliases.start({ upsert: aliases.upsert, remove: aliases.remove });
  await adoptSlices(parts);
  await cluster.replicaSets.start({ upsert: workloads.observe, remove: workloads.vanish });
  await cluster.deployments.start({ upsert: deployments.observe, remove: deployments.vanish });
  await cluster.autoscalers.start({ upsert: deployments.observeAutoscaler, remove: () => undefined });
  await cluster.pods.start({ upsert: fleet.observe, remove: fleet.vanish });
  await adoptionEnds(parts, stopped);
  if (stopped()) return;
  environments.open();
  workloads.open();
  deployments.open();
  scaler.start();
  for (const revision of functions.revisions()) slices.touch(revision);
  parts.phase = "ready";
}

async function stop(parts: Parts): Promise<void> {
  const { cluster } = parts.options;
  const {
    scaler,
    autoScale,
    prefetcher,
    rollover,
    reaper,
    watchdog,
    environments,
    functions,
    slices,
    labels,
    fleet,
    workloads,
    deployments,
  } = parts;
  parts.phase = "stopped";
  for (const part of [scaler, autoScale, prefetcher, rollover, reaper, watchdog, environments]) part.close();
  const error = stopping();
  for (const revision of functions.revisions()) functions.drop(revision, error);
  const limit = new Promise((resolve) => setTimeout(resolve, SETTLE_LIMIT_MS).unref());
  await Promise.race([
    Promise.all([slices.settled(), labels.settled(), workloads.settled(), deployments.settled()]),
    limit,
  ]);
  slices.close();
  labels.close();
  workloads.close();
  deployments.close();
  await Promise.all([
    cluster.pods.stop(),
    cluster.replicaSets.stop(),
    cluster.deployments.stop(),
    cluster.autoscalers.stop(),
    cluster.functions.stop(),
    cluster.versions.stop(),
    cluster.aliases.stop(),
    cluster.environments.stop(),
  ]);
  fleet.close();
}

/** The router may have seen the new revision before this process's watch did. */
async function lookUp({ options, functions }: Parts, request: RevisionOf): Promise<Revision> {
  const { namespace, name } = request;
  const object = await options.cluster.getFunction(namespace, name);
  if (object) functions.upsert(object);
  const revision = functions.revision(request.uid, request.revision);
  if (revision) return revision;
  const fn = functions.find(namespace, name);
  if (fn?.uid === request.uid) {
    for (const version of await options.cluster.listVersions(namespace, fn.uid))
      functions.upsertVersion(version);
    const published = functions.revision(request.uid, request.revision);
    if (published) return published;
  }
  if (fn?.uid !== request.uid)
    throw new PlatformError(
      "function_not_found",
      `Function "${namespace}/${name}" with UID "${request.uid}" does not exist`,
    );
  throw new PlatformError(
    "function_not_ready",
    `Function "${namespace}/${name}" does not serve revision "${request.revision}"`,
  );
}

function checkServable({ identity, serving }: Revision, { namespace, name }: RevisionOf): void {
  if (identity.namespace !== namespace || identity.name !== name)
    throw new PlatformError(
      "function_not_found",
      `Function "${namespace}/${name}" does not have UID "${identity.uid}"`,
    );
  if (!SUPPORTED_TYPES.has(serving.executorType))
    throw new PlatformError(
      "function_not_ready",
      `Cannot run function "${name}": executor type must be one of ${EXECUTOR_TYPES.join(", ")}, got "${serving.executorType}"`,
    );
}
