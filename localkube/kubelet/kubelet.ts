/**
 * The node agent: runs the pods of the one node as processes on this machine.
 * 1. Every pod that is bound to the node, or to none, has one worker from its first sight until nothing of it is left.
 * 2. A process whose pod is gone is killed; a folder whose pod is gone is removed.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { PodLogs } from "../logs/pod-logs.ts";
import type { RunningPart } from "../part.ts";
import type { Store, StoreEvent } from "../store/store.ts";
import { makeAddressPool } from "./addresses.ts";
import { readConfigSources } from "./config-sources.ts";
import { errorText } from "./error-text.ts";
import { makeEventRecorder } from "./event-recorder.ts";
import { endOrphans, housekeep } from "./housekeeping.ts";
import type { ImageTable } from "./images.ts";
import type { KubeletContext } from "./kubelet-context.ts";
import { asPod, type Pod } from "./pod.ts";
import { makePodLogs } from "./pod-logs.ts";
import { type PodWorker, startPodWorker } from "./pod-worker.ts";
import { type BackoffSettings, RESTART_BACKOFF } from "./restart-backoff.ts";
import { type PodFolders, podUidOf } from "./run-spec.ts";
import { keepRuntime, type RuntimeKeeper } from "./runtime-keeper.ts";
import { isForNode, reportUnschedulable, whyUnschedulable } from "./scheduling.ts";
import type { Life } from "./shim/messages.ts";

const HOUSEKEEPING_MS = 30_000;

export interface KubeletSettings {
  nodeName: string;
  /** `pods/` and `logs/pods/` lie in it. */
  stateDir: string;
  images: ImageTable;
  /** Range of pod addresses; undefined where only 127.0.0.1 exists: pods then differ by port. */
  podCidr: string | undefined;
  /** The process whose death ends all pods. */
  life: Life;
  /** Whether the pods go on when the kubelet is stopped. */
  podsOutliveStop: boolean;
  backoff?: BackoffSettings;
  /** Size at which a container's log file is turned over. */
  maxLogBytes?: number;
  /** Sum above which the logs of pods that are gone are removed, oldest first. */
  maxOldLogBytes?: number;
}

export const DEFAULT_POD_CIDR = "127.64.0.0/10";
const MAX_LOG_BYTES = 10 * 1024 * 1024;
const MAX_OLD_LOG_BYTES = 256 * 1024 * 1024;

export interface Kubelet extends RunningPart {
  logs: PodLogs;
}

function folderPair(stateDir: string, pod: Pod): PodFolders {
  const { namespace = "default", name, uid } = pod.metadata;
  return {
    podDir: join(stateDir, "pods", uid),
    logDir: join(stateDir, "logs", "pods", `${namespace}_${name}_${uid}`),
  };
}

function makeContext(
  store: Store,
  settings: KubeletSettings,
  keeper: RuntimeKeeper,
  log: (message: string) => void,
): KubeletContext {
  const { stateDir, podCidr } = settings;
  return {
    store,
    runtime: () => keeper.get(),
    images: settings.images,
    sources: readConfigSources(store),
    events: makeEventRecorder(store, "kubelet", log),
    addresses:
      podCidr === undefined
        ? undefined
        : makeAddressPool(podCidr, join(stateDir, "kubelet", "address-cursor")),
    nodeName: settings.nodeName,
    hostIP: "127.0.0.1",
    backoff: settings.backoff ?? RESTART_BACKOFF,
    maxLogBytes: settings.maxLogBytes ?? MAX_LOG_BYTES,
    folders: (pod) => folderPair(stateDir, pod),
    log,
  };
}

/** Follows pods, Secrets and ConfigMaps; returns the function that ends it. */
function followStore(
  store: Store,
  context: KubeletContext,
  keeper: RuntimeKeeper,
  workers: Map<string, PodWorker>,
): () => void {
  const namespaces = new Map<string, string>();
  const onPod = ({ type, object }: StoreEvent): void => {
    const pod = asPod(object);
    const { uid, namespace = "default" } = pod.metadata;
    const worker = workers.get(uid);
    if (type === "DELETED") {
      worker?.removed();
    } else if (worker) {
      worker.update(pod);
    } else if (isForNode(pod, context.nodeName)) {
      const obstacle = whyUnschedulable(store, pod, context.nodeName);
      if (obstacle !== undefined) {
        if (pod.metadata.deletionTimestamp === undefined) reportUnschedulable(context, pod, obstacle);
        return;
      }
      namespaces.set(uid, namespace);
      const own = keeper.found.filter(({ id }) => podUidOf(id) === uid);
      const onGone = (): void => {
        workers.delete(uid);
        namespaces.delete(uid);
      };
      workers.set(uid, startPodWorker(pod, own, context, onGone));
    }
  };
  const onSource =
    (kind: "secret" | "configmap") =>
    ({ object: { metadata } }: StoreEvent): void => {
      for (const [uid, worker] of workers) {
        if (namespaces.get(uid) === metadata.namespace) worker.sourceChanged(`${kind}/${metadata.name}`);
      }
    };
  const fromNow = (resource: string): string => store.list(resource).resourceVersion;
  const ends = [
    store.watch("secrets", fromNow("secrets"), onSource("secret")),
    store.watch("configmaps", fromNow("configmaps"), onSource("configmap")),
    store.watch("pods", undefined, onPod),
  ];
  return () => {
    for (const end of ends) end();
  };
}

/** Starts the kubelet on an open store; it is at work when the promise resolves. */
export async function startKubelet(
  store: Store,
  settings: KubeletSettings,
  log: (message: string) => void,
): Promise<Kubelet> {
  const { stateDir } = settings;
  const podsDir = join(stateDir, "pods");
  const logsDir = join(stateDir, "logs", "pods");
  const dir = join(stateDir, "kubelet");
  for (const folder of [podsDir, logsDir, dir]) mkdirSync(folder, { recursive: true, mode: 0o700 });

  const workers = new Map<string, PodWorker>();
  const keeper = await keepRuntime({
    dir,
    podsDir,
    life: settings.life,
    onExit: (id, exit) => workers.get(podUidOf(id))?.exited(id, exit),
    onReplaced: () => {
      for (const worker of workers.values()) worker.lostProcesses();
    },
    log,
  });
  const context = makeContext(store, settings, keeper, log);
  const unfollow = followStore(store, context, keeper, workers);

  const isKnown = (uid: string): boolean => workers.has(uid);
  await endOrphans(keeper, isKnown);
  const tidy = (): void => {
    const maxOldLogBytes = settings.maxOldLogBytes ?? MAX_OLD_LOG_BYTES;
    housekeep({ podsDir, logsDir, maxOldLogBytes, isKnown }).catch((error: unknown) =>
      log(`housekeeping: ${errorText(error)}`),
    );
  };
  tidy();
  const timer = setInterval(tidy, HOUSEKEEPING_MS);

  return {
    logs: makePodLogs({
      logDir: (pod) => context.folders(pod).logDir,
      isOver: (uid, container, attempt) => !keeper.isRunning(`${uid}/${container}/${attempt}`),
    }),
    async stop() {
      clearInterval(timer);
      unfollow();
      for (const worker of workers.values()) worker.abandon();
      await keeper.close(settings.podsOutliveStop);
      await context.events.flush();
    },
  };
}
