import {
  ANNOTATION_HOST_PORT,
  FETCHER_PORT,
  FUNCTION_PORT,
  LABEL_CONTRACT,
  LABEL_ENVIRONMENT,
  LABEL_FUNCTION_UID,
  LABEL_REVISION,
} from "../../api/names.ts";
import type { PodHealth, PodStatus } from "../../api/wire/pod.ts";
import type { Cluster, KubeEnvironment, KubePod } from "./cluster.ts";
import { PLAIN_CONTRACT } from "./container-template.ts";
import type { ExecutorLog } from "./executor-log.ts";
import { type Pod, podKey } from "./pod.ts";
import { type PodCalls, podCalls } from "./pod-calls.ts";
import {
  ANNOTATION_MADE_BY,
  ANNOTATION_PORT,
  LABEL_TEMPLATE,
  type PodTemplate,
  podManifest,
  podName,
} from "./pod-manifest.ts";
import { revisionKey } from "./revision.ts";

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
  /** The API server says for the first time that the pod is ready; of a plain pod, each time that it is or is not (`pod.ready`). */
  onReady(pod: Pod): void;
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
  /** What must be done before a pod that left is deleted; undefined = nothing. It must not reject. */
  readonly beforeDelete?: (pod: Pod) => Promise<void> | undefined;
  readonly connect?: (address: string, tokens: readonly string[]) => PodCalls;
  readonly now?: () => number;
}

const FIRST_PROBE_MS = 10;
const SLOWEST_PROBE_MS = 500;
const PROBE_TIMEOUT_MS = 1_000;
const FOUND_PATIENCE_MS = 5_000;
const DELETE_RETRY_MS = { first: 500, most: 30_000 };

interface State {
  readonly options: FleetOptions;
  readonly now: () => number;
  readonly pods: Map<string, Pod>;
  readonly byUid: Map<string, Pod>;
  readonly timers: Set<NodeJS.Timeout>;
  closed: boolean;
}

export function createFleet(options: FleetOptions): Fleet {
  const state: State = {
    options,
    now: options.now ?? Date.now,
    pods: new Map(),
    byUid: new Map(),
    timers: new Set(),
    closed: false,
  };
  return {
    create: (environment, template) => create(state, environment, template),
    adopt: (object) => adopt(state, object),
    observe: (object) => observe(state, object),
    vanish: ({ metadata }) => {
      const pod = state.pods.get(podKey(metadata.namespace, metadata.name));
      if (!pod) return;
      leave(state, pod, "the pod was deleted", false);
      remove(state, pod);
    },
    discard: (pod, reason, graceSeconds) => discard(state, pod, reason, graceSeconds),
    byUid: (uid) => state.byUid.get(uid),
    all: () => state.pods.values(),
    close: () => {
      state.closed = true;
      for (const timer of state.timers) clearTimeout(timer);
      for (const pod of state.pods.values()) pod.calls?.close();
    },
  };
}

function create(state: State, environment: KubeEnvironment, template: PodTemplate): Pod {
  const { cluster, tokensOf, startTimeoutMs } = state.options;
  const { namespace } = environment.metadata;
  const name = podName(environment.metadata.name);
  const pod: Pod = {
    namespace,
    name,
    environment: `${namespace}/${environment.metadata.name}`,
    template: template.hash,
    createdAtMs: state.now(),
    uid: "",
    address: "",
    calls: undefined,
    phase: "starting",
    found: false,
    wasReady: false,
    maker: "",
    madeFor: "",
    plain: false,
    restarts: 0,
    ready: false,
    counted: false,
  };
  state.pods.set(podKey(namespace, name), pod);
  const [token = ""] = tokensOf(namespace, name);
  const created = (object: KubePod) => {
    identify(state, pod, object.metadata.uid);
    if (pod.phase === "leaving") deleteUntilGone(state, pod, 0);
    else observe(state, object);
  };
  const refused = (error: unknown) => {
    leave(
      state,
      pod,
      `the API server refused it: ${error instanceof Error ? error.message : String(error)}`,
      true,
    );
    // It may exist all the same when the answer was lost: the watch then shows a pod that nobody holds, which is adopted.
    if (pod.uid === "") remove(state, pod);
  };
  cluster.createPod(podManifest(environment, template, name, token)).then(created, refused);
  later(state, startTimeoutMs, () => {
    if (pod.phase === "starting") giveUp(state, pod);
  });
  return pod;
}

function adopt(state: State, object: KubePod): Pod {
  const pod = foundPod(object, state.now());
  state.pods.set(podKey(pod.namespace, pod.name), pod);
  state.byUid.set(pod.uid, pod);
  // What Kubernetes started it does not give up.
  if (pod.maker !== "") return pod;
  later(state, patienceMs(state, pod), () => {
    if (pod.phase === "starting" && pod.address === "") giveUp(state, pod);
  });
  return pod;
}

function observe(state: State, object: KubePod): void {
  const { events } = state.options;
  const pod = state.pods.get(podKey(object.metadata.namespace, object.metadata.name));
  if (!pod) {
    if (object.metadata.deletionTimestamp === undefined) events.onUnknown(object);
    return;
  }
  identify(state, pod, object.metadata.uid);
  if (pod.phase === "leaving") return;
  const ended = endOfPod(pod, object);
  if (ended !== undefined) {
    leave(state, pod, ended, object.metadata.deletionTimestamp === undefined);
    deletePod(state, pod, undefined);
    return;
  }
  const trouble = containersOf(object)
    .map(({ state: { waiting } = {} }) => waiting)
    .find((waiting) => isTrouble(waiting?.reason ?? ""));
  if (pod.phase === "starting" && trouble) events.onTrouble(pod, trouble.reason ?? "", trouble.message ?? "");
  const ready = isReady(object);
  if (pod.ready !== ready && (ready || pod.plain)) {
    pod.ready = ready;
    events.onReady(pod);
  }
  const address = addressOf(object);
  if (address !== "" && address !== pod.address) connect(state, pod, address);
  if (pod.plain && ready && pod.phase === "starting") {
    pod.phase = "generic";
    events.onGeneric(pod);
  }
}

function connect(state: State, pod: Pod, address: string): void {
  for (const other of state.pods.values()) {
    if (other !== pod && other.address === address && other.phase !== "leaving")
      discard(state, other, `its address ${address} belongs to pod "${pod.name}" now`, 0);
  }
  pod.address = address;
  if (pod.plain) return;
  pod.calls?.close();
  pod.calls = (state.options.connect ?? podCalls)(
    address,
    state.options.tokensOf(pod.namespace, tokenName(pod)),
  );
  void probe(state, pod, FIRST_PROBE_MS);
}

/** Asks a starting pod until it answers; the kubelet's own probe runs once a second at best. */
async function probe(state: State, pod: Pod, delayMs: number): Promise<void> {
  const { calls } = pod;
  if (!calls || pod.phase !== "starting" || state.closed) return;
  const health = await calls.health(PROBE_TIMEOUT_MS);
  // A pod that may have been specialised is asked for what; one that ran before and does not listen any more has ended.
  const asksMore = pod.found && (health ? health.state !== "generic" : pod.wasReady);
  const answer = asksMore ? await calls.status(PROBE_TIMEOUT_MS) : health;
  // Another probe runs when the pod got another address meanwhile.
  if (state.closed || pod.calls !== calls || isSettled(pod)) return;
  if (answer === "refused") return discard(state, pod, "it ran before and nothing listens at its address", 0);
  if (answer && answer.podUid === pod.uid && understood(state, pod, answer)) return;
  if (state.now() - pod.createdAtMs > patienceMs(state, pod)) giveUp(state, pod);
  else later(state, delayMs, () => void probe(state, pod, Math.min(delayMs * 1.5, SLOWEST_PROBE_MS)));
}

const isSettled = (pod: Pod): boolean => pod.phase !== "starting";

/** Whether the answer settles what the pod is. */
function understood(state: State, pod: Pod, answer: PodHealth | PodStatus): boolean {
  const { events } = state.options;
  if (answer.state === "generic") {
    pod.phase = "generic";
    events.onGeneric(pod);
    return true;
  }
  if (answer.state === "specialising") return false;
  if (answer.state === "specialised" && pod.found && "revision" in answer) events.onSpecialised(pod, answer);
  else discard(state, pod, `it answers that it is ${answer.state}`, 0);
  return true;
}

/** A pod that ran before is given less time to answer than one that may still pull its image. */
const patienceMs = (state: State, pod: Pod): number =>
  pod.wasReady ? FOUND_PATIENCE_MS : state.options.startTimeoutMs;

function giveUp(state: State, pod: Pod): void {
  const reason = `the pod did not answer GET /_isotope/healthz as a generic pod within ${patienceMs(state, pod)} ms; only images of the Deno environment can be specialised directly, and others must listen on port ${FUNCTION_PORT}`;
  leave(state, pod, reason, true);
  deletePod(state, pod, 0);
}

function discard(state: State, pod: Pod, reason: string, graceSeconds?: number): void {
  if (pod.phase === "leaving") return;
  leave(state, pod, reason, false);
  deletePod(state, pod, graceSeconds);
}

function leave(state: State, pod: Pod, reason: string, failed: boolean): void {
  if (pod.phase === "leaving") return;
  pod.phase = "leaving";
  pod.calls?.close();
  state.options.log.debug("pod leaves", { pod: pod.name, namespace: pod.namespace, reason });
  state.options.events.onGone(pod, reason, failed);
}

function deletePod(state: State, pod: Pod, graceSeconds: number | undefined): void {
  const before = state.options.beforeDelete?.(pod);
  if (before) void before.then(() => deleteUntilGone(state, pod, graceSeconds));
  else deleteUntilGone(state, pod, graceSeconds);
}

function deleteUntilGone(
  state: State,
  pod: Pod,
  graceSeconds: number | undefined,
  delayMs = DELETE_RETRY_MS.first,
): void {
  if (state.closed || state.pods.get(podKey(pod.namespace, pod.name)) !== pod || pod.uid === "") return;
  const grace = graceSeconds === undefined ? {} : { graceSeconds };
  state.options.cluster
    .deletePod(pod.namespace, pod.name, { uid: pod.uid, ...grace })
    .catch((error: unknown) => {
      state.options.log.warn("cannot delete pod, trying again", { pod: pod.name, error });
      const nextMs = Math.min(delayMs * 2, DELETE_RETRY_MS.most);
      later(state, delayMs, () => deleteUntilGone(state, pod, graceSeconds, nextMs));
    });
}

function identify(state: State, pod: Pod, uid: string): void {
  if (pod.uid !== "" || uid === "") return;
  pod.uid = uid;
  state.byUid.set(uid, pod);
}

function remove(state: State, pod: Pod): void {
  state.pods.delete(podKey(pod.namespace, pod.name));
  state.byUid.delete(pod.uid);
}

function later(state: State, delayMs: number, run: () => void): void {
  if (state.closed) return;
  const timer = setTimeout(() => {
    state.timers.delete(timer);
    run();
  }, delayMs);
  state.timers.add(timer);
}

/**
 * A generic pod that a ReplicaSet or Deployment made may restart, as often as the kubelet lets it: it is generic again. Any other pod that restarted
 * has lost what it was specialised for, so it has ended.
 */
function endOfPod(pod: Pod, object: KubePod): string | undefined {
  const { metadata, status } = object;
  const over = metadata.deletionTimestamp !== undefined || /^(Failed|Succeeded)$/.test(status?.phase ?? "");
  if (pod.maker === "" || over) return endOf(object);
  // Kubernetes restarts it and says when it can serve again.
  if (pod.plain) return undefined;
  const restarts = restartsOf(object);
  if (pod.phase === "claimed" || pod.phase === "specialised") return endOf(object, pod.restarts);
  pod.restarts = restarts;
  return undefined;
}

/** Runtime and, beside a foreign one, fetcher: neither can do without the other. */
const containersOf = ({ status }: KubePod) => status?.containerStatuses ?? [];

const restartsOf = (object: KubePod): number =>
  containersOf(object).reduce((sum, { restartCount = 0 }) => sum + restartCount, 0);

/** Why a pod cannot serve any more, or undefined. `restarts`: so many of its container are known and do no harm. */
export function endOf(object: KubePod, restarts = 0): string | undefined {
  const { metadata, status } = object;
  const terminated = containersOf(object).find(({ state }) => state?.terminated)?.state?.terminated;
  const detail = terminated
    ? ` (${terminated.reason ?? "ended"}, exit code ${terminated.exitCode ?? "unknown"})`
    : "";
  if (metadata.deletionTimestamp !== undefined) return "the pod is being deleted";
  if (status?.phase === "Failed")
    return `the pod failed${detail}${status.message ? `: ${status.message}` : ""}`;
  if (status?.phase === "Succeeded") return `the pod ended${detail}`;
  if (terminated) return `the pod's process ended${detail}`;
  if (restartsOf(object) > restarts) return "the pod's container restarted";
  return undefined;
}

/** `ip:port` at which a pod takes calls and requests, empty while it has no address. A foreign runtime's fetcher takes both. */
export function addressOf(object: KubePod): string {
  const ip = object.status?.podIP;
  if (ip === undefined || ip === "") return "";
  const ownPort = object.metadata.labels?.[LABEL_CONTRACT] === "sidecar" ? FETCHER_PORT : FUNCTION_PORT;
  const { annotations } = object.metadata;
  const port = annotations?.[ANNOTATION_HOST_PORT] ?? annotations?.[ANNOTATION_PORT] ?? String(ownPort);
  return ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;
}

const isReady = ({ status }: KubePod): boolean =>
  status?.conditions?.some((condition) => condition.type === "Ready" && condition.status === "True") ?? false;

const tokenName = ({ name, maker }: Pod): string => (maker === "" ? name : maker);

const isTrouble = (reason: string): boolean =>
  /^(Err|Invalid|Create\w+Error|Run\w+Error|\w+BackOff)/.test(reason);

function foundPod(object: KubePod, nowMs: number): Pod {
  const { namespace, name, labels, annotations, uid } = object.metadata;
  const maker = annotations?.[ANNOTATION_MADE_BY] ?? "";
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
    maker,
    madeFor:
      maker === "" ? "" : revisionKey(labels?.[LABEL_FUNCTION_UID] ?? "", labels?.[LABEL_REVISION] ?? ""),
    plain: labels?.[LABEL_CONTRACT] === PLAIN_CONTRACT,
    restarts: 0,
    ready: false,
    counted: labels?.[LABEL_REVISION] !== undefined,
    found: true,
    wasReady: isReady(object),
  };
}
