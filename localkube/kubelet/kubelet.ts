/**
 * The node agent: runs the pods of the one node as processes on this machine.
 * 1. Every pod that is bound to the node, or to none, has one worker from its first sight until nothing of it is left.
 * 2. A process whose pod is gone is killed; a folder whose pod is gone is removed.
 * 3. Losing the shim ends all processes; a new shim is started before anything else is.
 */
import { mkdirSync, readdirSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { RunningPart } from "../part.ts";
import type { KubeObject } from "../store/kube-object.ts";
import type { Store, StoreEvent } from "../store/store.ts";
import type { PodLogs } from "../logs/pod-logs.ts";
import { makeAddressPool } from "./addresses.ts";
import { readConfigSources } from "./config-sources.ts";
import { makeEventRecorder } from "./event-recorder.ts";
import type { ImageTable } from "./images.ts";
import type { KubeletContext } from "./kubelet-context.ts";
import { boundLogs } from "./log-bounds.ts";
import { asPod, type Pod } from "./pod.ts";
import { makePodLogs } from "./pod-logs.ts";
import { type PodWorker, startPodWorker } from "./pod-worker.ts";
import { type BackoffSettings, RESTART_BACKOFF } from "./restart-backoff.ts";
import type { PodFolders } from "./run-spec.ts";
import { connectRuntime, type Runtime } from "./runtime.ts";
import type { ExitRecord, Life, ProcessRecord } from "./shim/messages.ts";

const HOUSEKEEPING_MS = 30_000;
const RECONNECT_MS = 500;

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

function uidOf(processId: string): string {
  return processId.slice(0, processId.indexOf("/"));
}

function folderPair(stateDir: string, pod: Pod): PodFolders {
  const { namespace = "default", name, uid } = pod.metadata;
  return {
    podDir: join(stateDir, "pods", uid),
    logDir: join(stateDir, "logs", "pods", `${namespace}_${name}_${uid}`),
  };
}

/** Starts the kubelet on an open store; it is at work when the promise resolves. */
export async function startKubelet(
  store: Store,
  settings: KubeletSettings,
  log: (message: string) => void,
): Promise<Kubelet> {
  const { stateDir, nodeName } = settings;
  const podsDir = join(stateDir, "pods");
  const logsDir = join(stateDir, "logs", "pods");
  const ownDir = join(stateDir, "kubelet");
  for (const folder of [podsDir, logsDir, ownDir]) mkdirSync(folder, { recursive: true, mode: 0o700 });

  const workers = new Map<string, PodWorker>();
  const pods = new Map<string, Pod>();
  const running = new Set<string>();
  let found: ProcessRecord[] = [];
  let stopped = false;

  const onExit = (id: string, exit: ExitRecord): void => {
    running.delete(id);
    const record = found.find((one) => one.id === id);
    if (record) record.exit = exit;
    workers.get(uidOf(id))?.exited(id, exit);
  };
  const connectOnce = (): Promise<Runtime> =>
    connectRuntime({ dir: ownDir, podsDir, life: settings.life, onExit, onLost });
  let runtime = connectOnce();

  function onLost(): void {
    if (stopped) return;
    log("the process shim has ended and all pods with it; starting another");
    runtime = reconnect();
    runtime.then(
      () => {
        running.clear();
        for (const worker of workers.values()) worker.lostProcesses();
      },
      () => {},
    );
  }
  async function reconnect(): Promise<Runtime> {
    for (;;) {
      try {
        return await connectOnce();
      } catch (error) {
        log(error instanceof Error ? error.message : String(error));
        if (stopped) throw error;
        await new Promise((resolve) => setTimeout(resolve, RECONNECT_MS));
      }
    }
  }

  const first = await runtime;
  found = first.found;
  for (const record of found) if (!record.exit) running.add(record.id);

  const context: KubeletContext = {
    store,
    runtime: async () => {
      const connected = await runtime;
      return {
        ...connected,
        run: async (spec) => {
          const record = await connected.run(spec);
          if (!record.exit) running.add(spec.id);
          return record;
        },
      };
    },
    images: settings.images,
    sources: readConfigSources(store),
    events: makeEventRecorder(store, "kubelet", log),
    addresses:
      settings.podCidr === undefined
        ? undefined
        : makeAddressPool(settings.podCidr, join(ownDir, "address-cursor")),
    nodeName,
    hostIP: "127.0.0.1",
    backoff: settings.backoff ?? RESTART_BACKOFF,
    maxLogBytes: settings.maxLogBytes ?? MAX_LOG_BYTES,
    folders: (pod) => folderPair(stateDir, pod),
    log,
  };

  const isOurs = (pod: Pod): boolean => {
    const { nodeName: wanted, schedulerName = "default-scheduler" } = pod.spec;
    return wanted === undefined || wanted === ""
      ? schedulerName === "default-scheduler"
      : wanted === nodeName;
  };

  const onPod = ({ type, object }: StoreEvent): void => {
    const pod = asPod(object);
    const { uid } = pod.metadata;
    const worker = workers.get(uid);
    if (type === "DELETED") {
      pods.delete(uid);
      worker?.removed();
      return;
    }
    if (!isOurs(pod)) return;
    pods.set(uid, pod);
    if (worker) {
      worker.update(pod);
      return;
    }
    const own = found.filter(({ id }) => uidOf(id) === uid);
    workers.set(
      uid,
      startPodWorker(pod, own, context, () => workers.delete(uid)),
    );
  };

  const onSource =
    (kind: "secret" | "configmap") =>
    ({ object }: { object: KubeObject }): void => {
      for (const [uid, worker] of workers) {
        if (pods.get(uid)?.metadata.namespace === object.metadata.namespace) {
          worker.sourceChanged(`${kind}/${object.metadata.name}`);
        }
      }
    };

  const dropOrphans = async (): Promise<void> => {
    const connected = await runtime;
    for (const record of found) {
      const uid = uidOf(record.id);
      if (workers.has(uid)) continue;
      if (!record.exit) await connected.signal(record.id, "SIGKILL");
      await connected.forget(record.id);
    }
    found = found.filter(({ id, exit }) => !exit && !workers.has(uidOf(id)));
    for (const uid of readdirSync(podsDir)) {
      if (!workers.has(uid)) await rm(join(podsDir, uid), { recursive: true, force: true });
    }
  };
  const housekeep = async (): Promise<void> => {
    await dropOrphans();
    await boundLogs(logsDir, new Set(workers.keys()), settings.maxOldLogBytes ?? MAX_OLD_LOG_BYTES);
  };

  const secretsFrom = store.list("secrets").resourceVersion;
  const configMapsFrom = store.list("configmaps").resourceVersion;
  const unwatch = [
    store.watch("pods", undefined, onPod),
    store.watch("secrets", secretsFrom, onSource("secret")),
    store.watch("configmaps", configMapsFrom, onSource("configmap")),
  ];
  const tidy = (): void => {
    housekeep().catch((error: unknown) =>
      log(`housekeeping: ${error instanceof Error ? error.message : String(error)}`),
    );
  };
  tidy();
  const timer = setInterval(tidy, HOUSEKEEPING_MS);

  return {
    logs: makePodLogs({
      logDir: (pod) => context.folders(pod).logDir,
      isOver: (uid, container, attempt) => !running.has(`${uid}/${container}/${attempt}`),
    }),
    async stop() {
      stopped = true;
      clearInterval(timer);
      for (const end of unwatch) end();
      for (const worker of workers.values()) worker.abandon();
      const connected = await runtime.catch(() => undefined);
      if (settings.podsOutliveStop) connected?.disconnect();
      else await connected?.shutdown();
      await context.events.flush();
    },
  };
}
