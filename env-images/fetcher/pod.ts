/**
 * What a pod of a foreign image is and what it lets in. The runtime beside the fetcher refuses nothing, so the fetcher does.
 *
 * 1. A function is specialised at most once at a time; a pod for one function at most once: `generic` → `specialising` → `specialised` |
 *    `failed`. `retired` and `failed` are final.
 * 2. `inFlight` of a function never passes its `limits.requestsPerPod`; with `onceOnly`, `started` never passes 1.
 * 3. A refusal is decided before anything reaches the runtime, and leaves every count as it was.
 */
import type { PodRefusal } from "../../api/headers.ts";
import type { PodStatus } from "../../api/wire/pod.ts";
import type { SpecializeRequest } from "../../api/wire/specialize.ts";

type PodState = PodStatus["state"];

/** A function that the runtime has loaded. */
export interface Assignment {
  readonly revision: string;
  readonly function: SpecializeRequest["function"];
  readonly limits: SpecializeRequest["limits"];
  inFlight: number;
  started: number;
  /** When the last request ended, on the monotonic clock. */
  idleSince: number;
  retired: boolean;
}

export interface FetcherPod {
  readonly uid: string;
  /** Whether the pod takes any number of functions. */
  readonly shared: boolean;
  /** By the function's UID. */
  readonly assignments: Map<string, Assignment>;
  /** UIDs of functions that are being loaded. */
  readonly loading: Set<string>;
  /** The runtime has ended, or holds code that did not load. */
  failed: boolean;
  /** Nothing new is let in. */
  draining: boolean;
  /** The runtime said that connections of its own are open. */
  ownConnections: boolean;
}

export function genericPod(uid: string, shared: boolean): FetcherPod {
  return {
    uid,
    shared,
    assignments: new Map(),
    loading: new Set(),
    failed: false,
    draining: false,
    ownConnections: false,
  };
}

const now = (): number => performance.now();

export function newAssignment(request: SpecializeRequest): Assignment {
  const { revision, function: fn, limits } = request;
  return { revision, function: fn, limits, inFlight: 0, started: 0, idleSince: now(), retired: false };
}

/** The function that a request or a control call means; in a pod for one function there is no choice. */
export function assignmentOf(pod: FetcherPod, functionUid: string | undefined): Assignment | undefined {
  if (pod.shared) return pod.assignments.get(functionUid ?? "");
  for (const assignment of pod.assignments.values()) return assignment;
  return undefined;
}

/** Takes a slot for a request, or says why there is none. */
export function admit(
  pod: FetcherPod,
  podUid: string,
  functionUid: string | undefined,
  revision: string | undefined,
): Assignment | PodRefusal {
  if (podUid !== pod.uid) return "wrong-pod";
  if (pod.failed || pod.draining) return "retired";
  const assignment = assignmentOf(pod, functionUid);
  if (!assignment) return "not-specialised";
  if (revision !== undefined && revision !== assignment.revision) return "wrong-revision";
  const { limits } = assignment;
  if (assignment.retired || (limits.onceOnly && assignment.started > 0)) return "retired";
  if (assignment.inFlight >= limits.requestsPerPod) return "busy";
  assignment.inFlight += 1;
  assignment.started += 1;
  return assignment;
}

/** Gives the slot of `admit` back. */
export function release(assignment: Assignment): void {
  assignment.inFlight -= 1;
  assignment.idleSince = now();
}

/** The status that goes with a refusal. */
export function refusalStatus(reason: PodRefusal): number {
  return reason === "busy" ? 429 : reason === "retired" ? 503 : 421;
}

export function inFlightOf(pod: FetcherPod): number {
  let sum = 0;
  for (const { inFlight } of pod.assignments.values()) sum += inFlight;
  return sum;
}

/** The pod as a whole. One that takes any number of functions is `specialised` as soon as it has one. */
export function podState(pod: FetcherPod): PodState {
  if (pod.failed) return "failed";
  if (pod.draining) return "retired";
  if (pod.assignments.size > 0)
    return !pod.shared && assignmentOf(pod, undefined)?.retired === true ? "retired" : "specialised";
  return pod.loading.size > 0 ? "specialising" : "generic";
}

/** Milliseconds without a request; 0 while one runs. */
function idleMs(pod: FetcherPod, { inFlight, idleSince }: Assignment): number {
  return inFlight > 0 || pod.ownConnections ? 0 : Math.max(0, now() - idleSince);
}

/** Retires a function that was idle for so long; tells whether it is retired. */
export function retire(pod: FetcherPod, assignment: Assignment, ifIdleForMs: number): boolean {
  if (!assignment.retired && (assignment.inFlight > 0 || idleMs(pod, assignment) < ifIdleForMs)) return false;
  assignment.retired = true;
  // Its code stays in the runtime's memory, but the function may come again.
  if (pod.shared) pod.assignments.delete(assignment.function.uid);
  return true;
}

/** State of one function of the pod, or of the pod when it has none. */
export function statusOf(pod: FetcherPod, assignment: Assignment | undefined): PodStatus {
  const state = podState(pod);
  if (!assignment)
    return { podUid: pod.uid, state, revision: null, function: null, inFlight: 0, started: 0, idleMs: 0 };
  return {
    ...functionStatus(pod, assignment),
    podUid: pod.uid,
    state: assignment.retired ? "retired" : state,
    ...(pod.shared
      ? { functions: [...pod.assignments.values()].map((one) => functionStatus(pod, one)) }
      : {}),
  };
}

function functionStatus(pod: FetcherPod, assignment: Assignment) {
  const { namespace, name, uid } = assignment.function;
  return {
    revision: assignment.revision,
    function: { namespace, name, uid },
    inFlight: assignment.inFlight,
    started: assignment.started,
    idleMs: idleMs(pod, assignment),
  };
}

/** State of a pod that takes any number of functions, with all of them. */
export function sharedStatus(pod: FetcherPod): PodStatus {
  const [first] = pod.assignments.values();
  return {
    ...statusOf(pod, first),
    functions: [...pod.assignments.values()].map((one) => functionStatus(pod, one)),
  };
}
