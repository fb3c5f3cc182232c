/**
 * What a pod is and what it lets in.
 *
 * 1. A pod is specialised at most once: `generic` → `specialising` → `specialised` | `failed`; `retired` is final.
 * 2. `inFlight` never passes `limits.requestsPerPod`; with `onceOnly`, `started` never passes 1.
 * 3. A refusal is decided before any user code runs, and leaves every count as it was.
 */
import type { PodRefusal } from "../../api/headers.ts";
import type { PodStatus } from "../../api/wire/pod.ts";
import type { SpecializeRequest } from "../../api/wire/specialize.ts";
import { max, now } from "./primordials.ts";

export type PodState = PodStatus["state"];

/** What a specialised pod serves. */
export interface Assignment {
  /** Null under the reference system's contract, which knows no revisions. */
  readonly revision: string | null;
  readonly function: SpecializeRequest["function"];
  readonly limits: SpecializeRequest["limits"];
  readonly debug: boolean;
}

export interface Pod {
  readonly uid: string;
  state: PodState;
  assignment: Assignment | null;
  inFlight: number;
  started: number;
  /** When the last request ended, on the monotonic clock. */
  idleSince: number;
  /** When the last request was refused, likewise; 0 = never. */
  refusedAt: number;
}

export function genericPod(uid: string): Pod {
  return { uid, state: "generic", assignment: null, inFlight: 0, started: 0, idleSince: now(), refusedAt: 0 };
}

/** Why this pod does not take a request addressed so (null = not addressed), or null when it does. */
export function refusal(pod: Pod, podUid: string | null, revision: string | null): PodRefusal | null {
  const { assignment } = pod;
  const direct = assignment === null || assignment.revision !== null;
  if (direct && podUid !== pod.uid) return "wrong-pod";
  if (pod.state === "retired" || pod.state === "failed") return "retired";
  if (assignment === null) return "not-specialised";
  if (direct && revision !== null && revision !== assignment.revision) return "wrong-revision";
  if (assignment.limits.onceOnly && pod.started > 0) return "retired";
  return pod.inFlight >= assignment.limits.requestsPerPod ? "busy" : null;
}

/** The status that goes with a refusal. */
export function refusalStatus(reason: PodRefusal): number {
  return reason === "busy" ? 429 : reason === "retired" ? 503 : 421;
}

/** Milliseconds without a request; 0 while one runs. */
export function idleMs(pod: Pod): number {
  return pod.inFlight > 0 ? 0 : max(0, now() - pod.idleSince);
}

export function podStatus(pod: Pod): PodStatus {
  const fn = pod.assignment?.function;
  return {
    podUid: pod.uid,
    state: pod.state,
    revision: pod.assignment?.revision ?? null,
    function: fn === undefined ? null : { namespace: fn.namespace, name: fn.name, uid: fn.uid },
    inFlight: pod.inFlight,
    started: pod.started,
    idleMs: idleMs(pod),
  };
}
