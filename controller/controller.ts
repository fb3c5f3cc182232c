import type { KubeClient } from "../kube/client.ts";
import { createEventRecorder } from "../kube/events.ts";
import {
  createReconciler,
  type Reconcile,
  type Reconciler,
  type ReconcilerStats,
} from "../kube/reconcile.ts";
import { keyOf } from "../kube/object.ts";
import type { Log } from "../net/log.ts";
import { watchWarnings } from "../net/watch-warnings.ts";
import { canaryReconcile, type LiveCanaries, watchCanaries } from "./canary/reconcile.ts";
import type { CanaryOptions } from "./canary/run-canary.ts";
import type { ControllerContext } from "./context.ts";
import { environmentReconcile, watchEnvironments } from "./environment/reconcile.ts";
import { functionReconcile, watchFunctions } from "./function/reconcile.ts";
import type { KitObject } from "./function-namespace/kit.ts";
import { functionNamespaces } from "./function-namespace/reconcile.ts";
import { exposureKeeper } from "./http-trigger/exposure.ts";
import { triggerReconcile, watchTriggers } from "./http-trigger/reconcile.ts";
import type { ExposureSettings } from "./http-trigger/route-objects.ts";
import { watchLaterKinds } from "./later-kinds.ts";
import type { Archives, PackageBuilder } from "./package/ports.ts";
import { packageReconciler, watchPackages } from "./package/reconcile.ts";
import { releaseLoops } from "./release-loops.ts";
import { timerReconcile, watchTimers } from "./time-trigger/reconcile.ts";
import {
  type TriggerServiceProbe,
  type UnattendedTriggers,
  unattendedTriggers,
} from "./unattended-triggers.ts";
import { type DefinitionChecker, watchWorkflows, workflowReconcile } from "./workflow/reconcile.ts";
import { type RunsClient, workflowRunReconcile } from "./workflow-run/reconcile.ts";
import { openWorld, type World } from "./world.ts";

export interface ControllerOptions {
  client: KubeClient;
  archives: Archives;
  builder: PackageBuilder;
  log: Log;
  /** Hosts that packages may fetch archives from although they are private. */
  allowedArchiveHosts?: readonly string[];
  maxArchiveBytes?: number;
  maxConcurrentBuilds?: number;
  /** How often a running build's log is written to its Package at most. */
  buildLogIntervalMs?: number;
  now?: () => Date;
  /** What every function namespace gets; none on a laptop. */
  namespaceKit?: readonly KitObject[];
  /** How canaries see and prepare traffic; absent: they are not run. */
  canary?: CanaryOptions;
  /** How triggers are offered outside the cluster; absent: not at all. */
  exposure?: ExposureSettings;
  /** The workflow service; absent: Workflows wait for one. */
  checkDefinition?: DefinitionChecker;
  /** The same, for WorkflowRuns; absent: they wait. */
  runs?: RunsClient;
  /** How to find out whether there is a trigger service; absent: what it says of triggers stays as it is. */
  triggerService?: TriggerServiceProbe;
}

/** The reconcilers of all kinds, over shared local copies of the objects. */
export interface Controller {
  readonly world: World;
  /** Canaries that this process runs now. */
  readonly canaries: LiveCanaries;
  /** Begins to watch only: the copies are there for readers, and for `start` when this process's turn comes. */
  observe(): void;
  /** Begins to watch, if it did not yet; reconcilers work from the moment when all copies are complete. */
  start(): void;
  /** Resolves when the first look at everything can begin. */
  readonly synced: Promise<unknown>;
  /** Ends all work; running builds are aborted and resumed by the next process. */
  stop(): Promise<void>;
  /** Why it cannot work now, or undefined. */
  notReady(): string | undefined;
  stats(): ReconcilerStats[];
  buildsRunning(): number;
}

const DEFAULT_MAX_ARCHIVE_BYTES = 256 * 2 ** 20;
const DOWNLOAD_TIMEOUT_MS = 120_000;
const STALE_MS = 120_000;

const loopsThatTell =
  (log: Log) =>
  (name: string, reconcile: Reconcile, concurrency: number): Reconciler =>
    createReconciler({
      name,
      reconcile,
      concurrency,
      onError: (key, error, retryInMs) => log.warn("Cannot reconcile", { kind: name, key, retryInMs, error }),
    });

/** Timers, and what is said of all triggers while nobody works for them. */
function timerLoopOf(
  context: ControllerContext,
  service: TriggerServiceProbe | undefined,
  loop: ReturnType<typeof loopsThatTell>,
): { timerLoop: Reconciler; unattended: UnattendedTriggers[] } {
  const unattended =
    service &&
    unattendedTriggers(context, service, () => {
      for (const timer of context.world.timers.list()) timerLoop.queue.add(keyOf(timer));
    });
  const isUnattended = (): boolean => unattended?.isGone() ?? false;
  const timerLoop = loop("TimeTrigger", timerReconcile(context, isUnattended), 4);
  return { timerLoop, unattended: unattended ? [unattended] : [] };
}

export function createController(options: ControllerOptions): Controller {
  const { client, log } = options;
  const now = options.now ?? (() => new Date());
  const onWatchError = watchWarnings(log);
  const world = openWorld(client, onWatchError);
  const events = createEventRecorder({
    client,
    component: "isotope-controller",
    onError: (error) => log.warn("Cannot record an event", { error }),
    now,
  });
  const context: ControllerContext = { client, world, events, log, now };
  const loop = loopsThatTell(log);

  const packages = packageReconciler(context, {
    archives: options.archives,
    builder: options.builder,
    maxConcurrentBuilds: options.maxConcurrentBuilds ?? 4,
    logIntervalMs: options.buildLogIntervalMs ?? 200,
    enqueue: (key) => packageLoop.queue.add(key),
    download: {
      maxBytes: options.maxArchiveBytes ?? DEFAULT_MAX_ARCHIVE_BYTES,
      timeoutMs: DOWNLOAD_TIMEOUT_MS,
      allowedHosts: options.allowedArchiveHosts ?? [],
    },
  });
  const packageLoop = loop("Package", packages.reconcile, 8);
  const functionLoop = loop("Function", functionReconcile(context), 8);
  const environmentLoop = loop("Environment", environmentReconcile(context), 2);
  const exposure = options.exposure && exposureKeeper(client, options.exposure, onWatchError);
  const triggerLoop = loop("HTTPTrigger", triggerReconcile(context, exposure), 8);
  const { timerLoop, unattended } = timerLoopOf(context, options.triggerService, loop);
  const canaries = canaryLoop(context, options.canary, loop);
  const namespaces = functionNamespaces({ client, kit: options.namespaceKit ?? [], log, now });
  const namespaceLoop = loop("Namespace", namespaces.reconcile, 4);
  const loops = [
    packageLoop,
    functionLoop,
    environmentLoop,
    triggerLoop,
    timerLoop,
    ...releaseLoops(context, options.archives, loop),
    ...canaries.loops,
    ...workflowLoops(context, options, loop),
    namespaceLoop,
  ];
  watchPackages(world, packageLoop.queue.add);
  watchFunctions(world, functionLoop.queue.add);
  watchEnvironments(world, environmentLoop.queue.add);
  watchTriggers(world, triggerLoop.queue.add);
  watchTimers(world, timerLoop.queue.add);
  exposure?.watch(triggerLoop.queue.add);
  const besides = [watchLaterKinds({ client, log, now }, onWatchError), ...unattended];
  let stopped = false;
  /** Before all copies are complete, a missing object could not be told from one that was not listed yet. */
  const begin = async (): Promise<void> => {
    exposure?.start();
    await Promise.all([world.synced, exposure?.synced]);
    if (stopped) return;
    namespaces.watch(namespaceLoop.queue.add);
    for (const one of loops) one.start();
    for (const one of besides) one.start();
  };

  return {
    world,
    canaries: canaries.live,
    observe: () => world.start(),
    start: () => {
      world.start();
      void begin();
    },
    synced: world.synced,
    stop: async () => {
      stopped = true;
      namespaces.stop();
      await Promise.all([
        world.stop(),
        ...besides.map((one) => one.stop()),
        packages.stop(),
        exposure?.stop(),
        ...loops.map((one) => one.stop()),
      ]);
      await events.flush();
    },
    notReady: () => whyNotReady(world),
    stats: () => [...loops, ...besides.flatMap((one) => one.reconcilers)].map((one) => one.stats()),
    buildsRunning: () => packages.buildsRunning(),
  };
}

function workflowLoops(
  context: ControllerContext,
  options: Pick<ControllerOptions, "checkDefinition" | "runs">,
  loop: ReturnType<typeof loopsThatTell>,
): Reconciler[] {
  const workflows = loop("Workflow", workflowReconcile(context, options.checkDefinition), 4);
  const runs = loop("WorkflowRun", workflowRunReconcile(context, options.runs), 8);
  watchWorkflows(context.world, workflows.queue.add);
  context.world.workflowRuns.subscribe({ onChange: ({ key }) => runs.queue.add(key) });
  return [workflows, runs];
}

const NO_CANARIES: LiveCanaries = { get: () => undefined };

function canaryLoop(
  context: ControllerContext,
  options: CanaryOptions | undefined,
  loop: ReturnType<typeof loopsThatTell>,
): { loops: Reconciler[]; live: LiveCanaries } {
  if (!options) return { loops: [], live: NO_CANARIES };
  const { reconcile, live } = canaryReconcile(context, options);
  const canaries = loop("CanaryConfig", reconcile, 8);
  watchCanaries(context.world, canaries.queue.add);
  return { loops: [canaries], live };
}

function whyNotReady(world: World): string | undefined {
  if (!world.isSynced()) return "objects are not listed yet";
  const staleMs = world.stalenessMs();
  return staleMs > STALE_MS
    ? `the Kubernetes API has been silent for ${Math.round(staleMs / 1000)} s`
    : undefined;
}
