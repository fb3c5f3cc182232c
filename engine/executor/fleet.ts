import { ANNOTATION_HOST_PORT, FUNCTION_PORT, LABEL_ENVIRONMENT } from "../../api/names.ts";
import type { PodHealth, PodStatus } from "../../api/wire/pod.ts";
import type { Cluster, KubeEnvironment, KubePod } from "./cluster.ts";
import type { ExecutorLog } from "./executor-log.ts";
import { type Pod, podKey } from "./pod.ts";
import { type PodCalls, podCalls } from "./pod-calls.ts";
import { LABEL_TEMPLATE, type PodTemplate, podManifest, podName } from "./pod-manifest.ts";

/**
 * All pods of the executor, from the call that creates one to the watch event that says it is gone.
 *
 * Invariants
 * 1. A pod is in `pods` from before its creation is asked for until the API server says that it is gone.
 * 2. `leave` happens once per pod: its phase becomes `leaving` first, then `onGone` is told, so nobody hands it out afterwards.
 * 3. A pod that left is deleted by its UID until the API server confirms, across failures of the API server.
 * 4. Two pods that are not leaving never have the same address: the newer one is real, so the older one leaves.
 */
export interface Fleet {
  /** Starts a pod; it is `starting` until it answers, then `onGeneric` is told. */
  readonly create: (environment: KubeEnvironment, template: PodTemplate) => Pod;
  /** Takes over a pod that another process, or this one before a restart, made: it is asked what it is. */
  readonly adopt: (object: KubePod) => Pod;
  readonly observe: (object: KubePod) => void;
  readonly vanish: (object: KubePod) => void;
  /** Takes the pod out of service and deletes it. `graceSeconds` 0 = killed at once. */
  readonly discard: (pod: Pod, reason: string, graceSeconds?: number) => void;
  readonly byUid: (uid: string) => Pod | undefined;
  readonly all: () => Iterable<Pod>;
  readonly close: () => void;
}

export interface FleetEvents {
  /** A pod answers and is generic. */
  onGeneric(pod: Pod): void;
  /** A pod that is not leaving stopped existing, or was discarded. `failed`: it ended by itself. */
  onGone(pod: Pod, reason: string, failed: boolean): void;
  /** A pod cannot start for now, e.g. because its image cannot be pulled. */
  onTrouble(pod: Pod, reason: string, message: string): void;
  /** A pod that this process does not hold. */
  onUnknown(object: KubePod): void;
  /** An adopted pod says that it is specialised. */
  onSpecialised(pod: Pod, status: PodStatus): void;
}

export interface FleetOptions {
  readonly cluster: Pick<Cluster, "createPod" | "deletePod">;
  readonly log: ExecutorLog;
  readonly tokensOf: (namespace: string, name: string) => readonly string[];
  readonly events: FleetEvents;
  readonly startTimeoutMs: number;
  readonly connect?: (address: string, tokens: readonly string[]) => PodCalls;
  readonly now?: () => number;
}

const FIRST_PROBE_MS = 10;
const SLOWEST_PROBE_MS = 500;
const PROBE_TIMEOUT_MS = 1_000;
const FOUND_PATIENCE_MS = 5_000;
const DELETE_RETRY_MS = { first: 500, most: 30_000 };

export function createFleet(options: FleetOptions): Fleet {
  const { cluster, events, log } = options;
  const now = options.now ?? Date.now;
  const pods = new Map<string, Pod>();
  const byUid = new Map<string, Pod>();
  const timers = new Set<NodeJS.Timeout>();
  let closed = false;

  const later = (delayMs: number, run: () => void) => {
    if (closed) return;
    const timer = setTimeout(() => {
      timers.delete(timer);
      run();
    }, delayMs);
    timers.add(timer);
  };

  const identify = (pod: Pod, uid: string) => {
    if (pod.uid === "" && uid !== "") {
      pod.uid = uid;
      byUid.set(uid, pod);
    }
  };

  const remove = (pod: Pod) => {
    pods.delete(podKey(pod.namespace, pod.name));
    byUid.delete(pod.uid);
  };

  const leave = (pod: Pod, reason: string, failed: boolean) => {
    if (pod.phase === "leaving") return;
    pod.phase = "leaving";
    pod.calls?.close();
    log.debug("pod leaves", { pod: pod.name, namespace: pod.namespace, reason });
    events.onGone(pod, reason, failed);
  };

  const deleteUntilGone = (
    pod: Pod,
    graceSeconds: number | undefined,
    delayMs = DELETE_RETRY_MS.first,
  ): void => {
    if (closed || !pods.has(podKey(pod.namespace, pod.name)) || pod.uid === "") return;
    const grace = graceSeconds === undefined ? {} : { graceSeconds };
    cluster.deletePod(pod.namespace, pod.name, { uid: pod.uid, ...grace }).catch((error: unknown) => {
      log.warn("cannot delete pod, trying again", { pod: pod.name, error });
      later(delayMs, () => deleteUntilGone(pod, graceSeconds, Math.min(delayMs * 2, DELETE_RETRY_MS.most)));
    });
  };

  const discard = (pod: Pod, reason: string, graceSeconds?: number) => {
    if (pod.phase === "leaving") return;
    leave(pod, reason, false);
    deleteUntilGone(pod, graceSeconds);
  };

  /** Asks a starting pod until it answers; the kubelet's own probe runs once a second at best. */
  const probe = (pod: Pod, delayMs = FIRST_PROBE_MS): void => {
    const { calls } = pod;
    if (!calls || pod.phase !== "starting" || closed) return;
    const asked = pod.found ? calls.status(PROBE_TIMEOUT_MS) : calls.health(PROBE_TIMEOUT_MS);
    void asked.then((answer) => {
      if (pod.phase !== "starting" || closed || pod.calls !== calls) return;
      if (answer && answer.podUid === pod.uid && understood(pod, answer)) return;
      if (now() - pod.createdAtMs > patienceMs(pod)) giveUp(pod);
      else later(delayMs, () => probe(pod, Math.min(delayMs * 1.5, SLOWEST_PROBE_MS)));
    });
  };

  /** Whether the answer settles what the pod is. */
  const understood = (pod: Pod, answer: PodHealth | PodStatus): boolean => {
    if (answer.state === "generic") {
      pod.phase = "generic";
      events.onGeneric(pod);
      return true;
    }
    if (answer.state === "specialising") return false;
    if (answer.state === "specialised" && pod.found && "revision" in answer)
      events.onSpecialised(pod, answer);
    else discard(pod, `it answers that it is ${answer.state}`, 0);
    return true;
  };

  /** A pod that ran before is given less time to answer than one that may still pull its image. */
  const patienceMs = (pod: Pod) => (pod.wasReady ? FOUND_PATIENCE_MS : options.startTimeoutMs);

  const giveUp = (pod: Pod) => {
    const reason = `the pod did not answer GET /_isotope/healthz as a generic pod within ${patienceMs(pod)} ms; only images of the Deno environment can be specialised directly`;
    leave(pod, reason, true);
    deleteUntilGone(pod, 0);
  };

  const create = (environment: KubeEnvironment, template: PodTemplate): Pod => {
    const { namespace } = environment.metadata;
    const name = podName(environment.metadata.name);
    const pod: Pod = {
      namespace,
      name,
      environment: `${namespace}/${environment.metadata.name}`,
      template: template.hash,
      createdAtMs: now(),
      uid: "",
      address: "",
      calls: undefined,
      phase: "starting",
      found: false,
      wasReady: false,
    };
    pods.set(podKey(namespace, name), pod);
    const [token = ""] = options.tokensOf(namespace, name);
    cluster.createPod(podManifest(environment, template, name, token)).then(
      (object) => {
        if (pod.phase === "leaving") {
          identify(pod, object.metadata.uid);
          deleteUntilGone(pod, 0);
        } else observe(object);
      },
      (error: unknown) => {
        leave(
          pod,
          `the API server refused it: ${error instanceof Error ? error.message : String(error)}`,
          true,
        );
        remove(pod);
      },
    );
    later(options.startTimeoutMs, () => {
      if (pod.phase === "starting") giveUp(pod);
    });
    return pod;
  };

  const observe = (object: KubePod): void => {
    const pod = pods.get(podKey(object.metadata.namespace, object.metadata.name));
    if (!pod) {
      if (object.metadata.deletionTimestamp === undefined) events.onUnknown(object);
      return;
    }
    identify(pod, object.metadata.uid);
    if (pod.phase === "leaving") return;
    const ended = endOf(object);
    if (ended !== undefined) {
      leave(pod, ended, object.metadata.deletionTimestamp === undefined);
      deleteUntilGone(pod, undefined);
      return;
    }
    const trouble = object.status?.containerStatuses?.[0]?.state?.waiting;
    if (pod.phase === "starting" && trouble?.reason !== undefined && isTrouble(trouble.reason))
      events.onTrouble(pod, trouble.reason, trouble.message ?? "");
    const address = addressOf(object);
    if (address !== "" && address !== pod.address) connect(pod, address);
  };

  const connect = (pod: Pod, address: string) => {
    for (const other of pods.values()) {
      if (other !== pod && other.address === address && other.phase !== "leaving")
        discard(other, `its address ${address} belongs to pod "${pod.name}" now`, 0);
    }
    pod.address = address;
    pod.calls?.close();
    pod.calls = (options.connect ?? podCalls)(address, options.tokensOf(pod.namespace, pod.name));
    probe(pod);
  };

  const adopt = (object: KubePod): Pod => {
    const pod = foundPod(object, now());
    pods.set(podKey(pod.namespace, pod.name), pod);
    byUid.set(pod.uid, pod);
    later(patienceMs(pod), () => {
      if (pod.phase === "starting" && pod.address === "") giveUp(pod);
    });
    return pod;
  };

  return {
    create,
    adopt,
    observe,
    discard,
    vanish: (object) => {
      const pod = pods.get(podKey(object.metadata.namespace, object.metadata.name));
      if (!pod) return;
      leave(pod, "the pod was deleted", false);
      remove(pod);
    },
    byUid: (uid) => byUid.get(uid),
    all: () => pods.values(),
    close: () => {
      closed = true;
      for (const timer of timers) clearTimeout(timer);
      for (const pod of pods.values()) pod.calls?.close();
    },
  };
}

/** Why a pod cannot serve any more, or undefined. */
export function endOf(object: KubePod): string | undefined {
  const { metadata, status } = object;
  const terminated = status?.containerStatuses?.[0]?.state?.terminated;
  const detail = terminated
    ? ` (${terminated.reason ?? "ended"}, exit code ${terminated.exitCode ?? "unknown"})`
    : "";
  if (metadata.deletionTimestamp !== undefined) return "the pod is being deleted";
  if (status?.phase === "Failed")
    return `the pod failed${detail}${status.message ? `: ${status.message}` : ""}`;
  if (status?.phase === "Succeeded") return `the pod ended${detail}`;
  if (terminated) return `the pod's process ended${detail}`;
  if ((status?.containerStatuses?.[0]?.restartCount ?? 0) > 0) return "the pod's container restarted";
  return undefined;
}

/** `ip:port` of a pod that has an address, else empty. */
export function addressOf(object: KubePod): string {
  const ip = object.status?.podIP;
  if (ip === undefined || ip === "") return "";
  const port = object.metadata.annotations?.[ANNOTATION_HOST_PORT] ?? String(FUNCTION_PORT);
  return ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;
}

const isTrouble = (reason: string): boolean =>
  /^(Err|Invalid|Create\w+Error|Run\w+Error|\w+BackOff)/.test(reason);

function foundPod(object: KubePod, nowMs: number): Pod {
  const { namespace, name, labels, uid } = object.metadata;
  return {
    namespace,
    name,
    environment: `${namespace}/${labels?.[LABEL_ENVIRONMENT] ?? ""}`,
    template: labels?.[LABEL_TEMPLATE] ?? "",
    createdAtMs: nowMs,
    uid,
    address: "",
    calls: undefined,
    phase: "starting",
    found: true,
    wasReady:
      object.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") ?? false,
  };
}
