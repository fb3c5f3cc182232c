import { PlatformError } from "../../api/errors.ts";
import type { Serving } from "../../api/kinds/serving.ts";
import type { AcquireRequest, Endpoint } from "../../api/wire/executor.ts";
import type { SpecializeError } from "../../api/wire/specialize.ts";
import type { Content } from "./content.ts";
import type { ExecutorLog } from "./executor-log.ts";
import { type FailureMemory, failureMemory } from "./failure-memory.ts";
import type { Pod } from "./pod.ts";
import type { SpecializeOutcome } from "./pod-calls.ts";
import { startsTarget } from "./starts-wanted.ts";
import type { Ticket } from "./ticket-queue.ts";
import { type WaiterLine, waiterLine } from "./waiter-line.ts";

/**
 * One revision of one function: its pods, the specialisations under way and the calls that wait.
 *
 * Invariants
 * 1. pods + starts ≤ the most pods that it may have, at every moment: both change only in this file, in one turn, and `pump` is the only place that adds.
 * 2. Every start ends: as a pod, or as a failure that frees its place. A platform failure keeps the place and tries another pod.
 * 3. Every waiting call ends once (`waiter-line.ts`).
 * 4. A pod of a onceOnly function is given to one waiting call only.
 * 5. While the code is known to fail, at most one start at a time tries it again, and only after the back-off.
 */
export interface Revision {
  /** `functionUid/revision`. */
  readonly key: string;
  readonly serving: Serving;
  readonly identity: FunctionIdentity;
  /** Endpoints that the caller does not know, at once or when there are; throws `PlatformError`. */
  acquire(
    request: Pick<AcquireRequest, "known" | "waiting" | "waitMs">,
    signal?: AbortSignal,
  ): Promise<Endpoint[]>;
  /** Has at least so many pods once, without anybody waiting; never more than concurrency. */
  warm(pods: number): void;
  /** A pod that was specialised by a process before this one. */
  adopt(pod: Pod): void;
  /** A specialised pod is out of service. */
  gone(pod: Pod): void;
  /** The pod is given to nobody any more, though it may still work; `restore` takes that back. */
  withdraw(pod: Pod): void;
  restore(pod: Pod): void;
  /** Nothing is started any more; waiting calls fail. */
  close(reason: PlatformError): void;
  pods(): ReadonlySet<Pod>;
  /** Pods that are not withdrawn. */
  available(): readonly Pod[];
  snapshot(): RevisionSnapshot;
}

export interface FunctionIdentity {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
}

export interface RevisionSnapshot {
  readonly function: string;
  readonly revision: string;
  readonly pods: string[];
  readonly starting: number;
  /** Calls that wait, and the requests behind them. */
  readonly waiting: number;
  readonly demand: number;
  readonly failure: string | null;
}

export interface RevisionOptions {
  readonly serving: Serving;
  readonly identity: FunctionIdentity;
  readonly log: ExecutorLog;
  readonly content: () => Promise<Content>;
  readonly take: (deliver: (pod: Pod) => void, fail: (error: PlatformError) => void) => Ticket;
  readonly specialize: (pod: Pod, content: Content) => Promise<SpecializeOutcome>;
  readonly discard: (pod: Pod, reason: string, graceSeconds?: number) => void;
  /** Whether the pod is still generic, asked after a connection broke in the middle of a specialisation. */
  readonly stillGeneric: (pod: Pod) => Promise<boolean>;
  /** The set of pods changed. */
  readonly onChange: (revision: Revision, pod: Pod, joined: boolean) => void;
  readonly onOutcome: (outcome: string, durationMs: number) => void;
  /** Most pods, as of now. */
  readonly maxPods: () => number;
  /** Pods that one start may use up. */
  readonly attempts: number;
  readonly now?: () => number;
}

interface Start {
  phase: "queued" | "specialising";
  ticket: Ticket | undefined;
  attempts: number;
}

interface State {
  readonly options: RevisionOptions;
  readonly slotsPerPod: number;
  readonly pods: Set<Pod>;
  readonly withdrawn: Set<Pod>;
  /** Pods of a onceOnly function that nobody was given yet. */
  readonly unused: Set<Pod>;
  readonly starts: Set<Start>;
  readonly waiters: WaiterLine;
  readonly failure: FailureMemory;
  floor: number;
  /** The code has loaded at least once. */
  proven: boolean;
  chances: number;
  trimTimer: NodeJS.Timeout | undefined;
  closed: PlatformError | undefined;
  readonly changed: (pod: Pod, joined: boolean) => void;
}

const MAX_WAITERS = 10_000;
const MAX_ENDPOINTS = 100;
/** Starts at the same time before the first success. */
const UNPROVEN_STARTS = 3;
/** A router that got one pod of several asks again at once, so a fall of demand counts only when it lasts. */
const TRIM_AFTER_MS = 100;
/** Failures of the code that a revision survives when it has loaded before. */
const SECOND_CHANCES = 1;

export const revisionKey = (functionUid: string, revision: string): string => `${functionUid}/${revision}`;

export function createRevision(options: RevisionOptions): Revision {
  const { serving, identity } = options;
  const state: State = {
    options,
    slotsPerPod: serving.limits.onceOnly ? 1 : serving.limits.requestsPerPod,
    pods: new Set(),
    withdrawn: new Set(),
    unused: new Set(),
    starts: new Set(),
    waiters: waiterLine(() => {
      state.trimTimer ??= setTimeout(() => trim(state), TRIM_AFTER_MS);
    }),
    failure: failureMemory(options.now ?? Date.now),
    floor: 0,
    proven: false,
    chances: SECOND_CHANCES,
    trimTimer: undefined,
    closed: undefined,
    changed: (pod, joined) => options.onChange(revision, pod, joined),
  };
  const revision: Revision = {
    key: revisionKey(identity.uid, serving.revision),
    serving,
    identity,
    acquire: async ({ known, waiting, waitMs }, signal) => {
      const found = unknownTo(state, known);
      if (found.length > 0) return found;
      const refused = refusal(state);
      if (refused) throw refused;
      const served = state.waiters.add({ waiting, waitMs, signal }, (waitedMs) => timedOut(state, waitedMs));
      pump(state);
      return served;
    },
    warm: (pods) => {
      state.floor = Math.min(pods, options.maxPods());
      pump(state);
    },
    adopt: (pod) => {
      join(state, pod, serving.limits.onceOnly);
      pump(state);
    },
    gone: (pod) => {
      if (!state.pods.delete(pod)) return;
      state.unused.delete(pod);
      state.withdrawn.delete(pod);
      state.changed(pod, false);
      pump(state);
    },
    withdraw: (pod) => {
      if (!state.pods.has(pod) || state.withdrawn.has(pod)) return;
      state.withdrawn.add(pod);
      state.changed(pod, false);
    },
    restore: (pod) => {
      if (!state.withdrawn.delete(pod)) return;
      state.changed(pod, false);
      state.waiters.grant(endpointOf(state, pod), state.slotsPerPod);
    },
    close: (reason) => close(state, reason),
    pods: () => state.pods,
    available: () => [...state.pods].filter((pod) => !state.withdrawn.has(pod)),
    snapshot: () => ({
      function: `${identity.namespace}/${identity.name}`,
      revision: serving.revision,
      pods: [...state.pods].map((pod) => pod.name),
      starting: state.starts.size,
      waiting: state.waiters.size,
      demand: state.waiters.demand,
      failure: state.failure.current?.message ?? null,
    }),
  };
  return revision;
}

function close(state: State, reason: PlatformError): void {
  state.closed = reason;
  state.waiters.failAll(reason);
  clearTimeout(state.trimTimer);
  for (const start of state.starts) {
    if (start.phase !== "queued") continue;
    start.ticket?.cancel();
    state.starts.delete(start);
  }
}

/** How many starts there should be now. */
function target(state: State): number {
  const failing = state.failure.current !== undefined;
  return startsTarget({
    demand: state.waiters.demand,
    floor: state.floor,
    requestsPerPod: state.slotsPerPod,
    pods: state.pods.size,
    concurrency: state.options.maxPods(),
    unprovenStarts: failing ? 1 : UNPROVEN_STARTS,
    proven: state.proven && !failing,
  });
}

/** Starts what is missing. */
function pump(state: State): void {
  if (state.closed || state.failure.blocked) return;
  for (let missing = target(state) - state.starts.size; missing > 0; missing -= 1) {
    const start: Start = { phase: "queued", ticket: undefined, attempts: 0 };
    state.starts.add(start);
    void prepare(state, start);
  }
}

/** Gives up starts that nobody waits for any more and that have no pod yet. */
function trim(state: State): void {
  state.trimTimer = undefined;
  let surplus = state.starts.size - target(state);
  for (const start of [...state.starts].toReversed()) {
    if (surplus <= 0) return;
    if (start.phase !== "queued") continue;
    start.ticket?.cancel();
    state.starts.delete(start);
    surplus -= 1;
  }
}

/** The content is read before a pod is taken, so that content which cannot be read uses up no pod. */
async function prepare(state: State, start: Start): Promise<void> {
  try {
    const content = await state.options.content();
    if (state.starts.has(start)) claim(state, start, content);
  } catch (error) {
    if (state.starts.has(start)) fail(state, start, toPlatformError(error));
  }
}

function claim(state: State, start: Start, content: Content): void {
  start.phase = "queued";
  start.attempts += 1;
  // Delivery may come before `take` returns; the ticket is then served and cancelling it does nothing.
  start.ticket = state.options.take(
    (pod) => {
      start.phase = "specialising";
      void specialize(state, start, pod, content);
    },
    (error) => {
      state.starts.delete(start);
      // Those that specialise now may still serve some waiters; what remains then asks the pool again.
      if (![...state.starts].some(({ phase }) => phase === "specialising")) state.waiters.failAll(error);
    },
  );
}

async function specialize(state: State, start: Start, pod: Pod, content: Content): Promise<void> {
  const { options } = state;
  const beganMs = performance.now();
  let outcome = await options.specialize(pod, content);
  // A kept-alive connection may have been closed by the pod just before: nothing reached it, so the same pod is asked again.
  if (outcome.kind === "lost" && pod.phase === "claimed" && (await options.stillGeneric(pod)))
    outcome = await options.specialize(pod, content);
  options.onOutcome(outcome.kind, performance.now() - beganMs);
  settle(state, start, pod, outcome, content);
}

function settle(state: State, start: Start, pod: Pod, outcome: SpecializeOutcome, content: Content): void {
  const { identity, serving, discard } = state.options;
  switch (outcome.kind) {
    case "done":
      if (pod.phase !== "claimed") return again(state, start, pod, content, "it went away meanwhile", false);
      state.starts.delete(start);
      join(state, pod);
      return pump(state);
    case "rejected":
      discard(pod, `its code does not load: ${outcome.error.message}`, 0);
      return fail(state, start, loadError(identity, outcome.error));
    case "timeout":
      discard(pod, "its code did not load in time", 0);
      return fail(
        state,
        start,
        new PlatformError(
          "specialization_timeout",
          `Function "${identity.name}" did not load within ${serving.limits.specializationTimeoutMs} ms`,
        ),
      );
    case "taken":
      return again(state, start, pod, content, "it is specialised already", false);
    default:
      return again(state, start, pod, content, outcome.message, outcome.kind === "lost");
  }
}

/** The pod serves the revision from now on. `given`: somebody may have it already, so a onceOnly pod is given to nobody. */
function join(state: State, pod: Pod, given = false): void {
  pod.phase = "specialised";
  state.pods.add(pod);
  state.proven = true;
  state.chances = SECOND_CHANCES;
  state.failure.clear();
  if (state.pods.size >= state.floor) state.floor = 0;
  if (state.options.serving.limits.onceOnly && !given) state.unused.add(pod);
  state.changed(pod, true);
  if (given) return;
  if (state.waiters.grant(endpointOf(state, pod), state.slotsPerPod)) state.unused.delete(pod);
}

/** A pod failed, not the code for all we know: the start keeps its place and takes another pod. */
function again(
  state: State,
  start: Start,
  pod: Pod,
  content: Content,
  message: string,
  whileLoading: boolean,
): void {
  const { identity, log, discard, attempts } = state.options;
  discard(pod, `it could not be specialised: ${message}`, 0);
  log.warn("specialisation failed on one pod", { function: identity.name, pod: pod.name, message });
  if (state.closed) {
    state.starts.delete(start);
    return;
  }
  if (start.attempts < attempts) return claim(state, start, content);
  const tried = `${start.attempts} pods`;
  fail(
    state,
    start,
    whileLoading
      ? new PlatformError(
          "specialization_failed",
          `Function "${identity.name}": ${tried} ended while they loaded its code (${message})`,
        )
      : new PlatformError(
          "pool_exhausted",
          `${tried} failed before they loaded the code of function "${identity.name}" (${message})`,
        ),
  );
}

function fail(state: State, start: Start, error: PlatformError): void {
  const { identity, serving, log } = state.options;
  state.starts.delete(start);
  const codeAtFault = error.code === "specialization_failed" || error.code === "specialization_timeout";
  if (codeAtFault && state.proven && state.chances > 0) {
    state.chances -= 1;
    return pump(state);
  }
  if (codeAtFault) {
    state.failure.remember(error);
    log.warn("function does not load", {
      function: identity.name,
      revision: serving.revision,
      error: error.message,
    });
  }
  state.floor = 0;
  state.waiters.failAll(codeAtFault ? (state.failure.error() ?? error) : error);
  trim(state);
}

function unknownTo(state: State, known: readonly string[]): Endpoint[] {
  if (state.options.serving.limits.onceOnly) {
    for (const pod of state.unused) {
      state.unused.delete(pod);
      return [endpointOf(state, pod)];
    }
    return [];
  }
  const knows = new Set(known);
  const found: Endpoint[] = [];
  for (const pod of state.pods) {
    if (!knows.has(pod.uid) && !state.withdrawn.has(pod)) found.push(endpointOf(state, pod));
    if (found.length === MAX_ENDPOINTS) break;
  }
  return found;
}

/** Why a call cannot even wait, or undefined. */
function refusal(state: State): PlatformError | undefined {
  const { identity } = state.options;
  const { starts, waiters, pods, slotsPerPod, failure } = state;
  if (state.closed) return state.closed;
  if (failure.blocked && starts.size === 0) return failure.error();
  if (waiters.size >= MAX_WAITERS)
    return new PlatformError(
      "queue_full",
      `${waiters.size} calls wait for a pod of function "${identity.name}"`,
    );
  const concurrency = state.options.maxPods();
  const coming = starts.size * slotsPerPod - waiters.demand;
  if (coming > 0 || pods.size + starts.size < concurrency) return undefined;
  return new PlatformError(
    "capacity_exceeded",
    `Function "${identity.name}" runs ${pods.size} of ${concurrency} pods (concurrency) with ${slotsPerPod} requests each, and ${starts.size} more start`,
  );
}

function timedOut(state: State, waitMs: number): PlatformError {
  const { name } = state.options.identity;
  const loading = [...state.starts].some((start) => start.phase === "specialising");
  return loading
    ? new PlatformError("specialization_timeout", `Function "${name}" is still loading after ${waitMs} ms`)
    : new PlatformError(
        "pool_exhausted",
        `No generic pod became ready for function "${name}" within ${waitMs} ms`,
      );
}

const endpointOf = (state: State, pod: Pod): Endpoint => ({
  podUid: pod.uid,
  podName: pod.name,
  address: pod.address,
  revision: state.options.serving.revision,
  requestsPerPod: state.slotsPerPod,
  ...(state.options.serving.environment.contract
    ? { contract: state.options.serving.environment.contract }
    : {}),
});

const loadError = ({ name }: FunctionIdentity, { code, message }: SpecializeError) =>
  new PlatformError(
    code === "load_timeout" ? "specialization_timeout" : "specialization_failed",
    `Function "${name}" does not load (${code}): ${message}`,
  );

function toPlatformError(error: unknown): PlatformError {
  if (error instanceof PlatformError) return error;
  return new PlatformError("internal", error instanceof Error ? error.message : String(error), {
    cause: error,
  });
}
