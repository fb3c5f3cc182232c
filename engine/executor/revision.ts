import { PlatformError } from "../../api/errors.ts";
import type { Serving } from "../../api/kinds/serving.ts";
import type { AcquireRequest, Endpoint } from "../../api/wire/executor.ts";
import type { Content } from "./content.ts";
import type { ExecutorLog } from "./executor-log.ts";
import type { Pod } from "./pod.ts";
import type { SpecializeOutcome } from "./pod-calls.ts";
import { type FailureMemory, failureMemory } from "./failure-memory.ts";
import { startsTarget } from "./starts-wanted.ts";
import type { Ticket } from "./ticket-queue.ts";

/**
 * One revision of one function: its pods, the specialisations under way and the calls that wait.
 *
 * Invariants
 * 1. pods + starts ≤ concurrency at every moment: both change only in this file, in one turn, and `pump` is the only place that adds.
 * 2. Every start ends: as a pod, or as a failure that frees its place. A platform failure keeps the place and tries another pod.
 * 3. Every waiter ends once: with endpoints, an error, its time limit, or its caller's leaving.
 * 4. A pod of a onceOnly function is given to one waiter only.
 * 5. While the code is known to fail, at most one start at a time tries it again, and only after the back-off.
 */
export interface Revision {
  readonly key: string;
  readonly serving: Serving;
  readonly identity: FunctionIdentity;
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
  /** Nothing is started any more; waiters fail. */
  close(reason: PlatformError): void;
  pods(): ReadonlySet<Pod>;
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
  readonly onOutcome: (code: string, durationMs: number) => void;
  readonly attempts: number;
  readonly now?: () => number;
}

interface Waiter {
  readonly known: ReadonlySet<string>;
  readonly waiting: number;
  readonly end: (result: Endpoint[] | PlatformError) => void;
}

interface Start {
  phase: "queued" | "specialising";
  ticket: Ticket | undefined;
  attempts: number;
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
  const { serving, identity, log } = options;
  const { limits } = serving;
  const slotsPerPod = limits.onceOnly ? 1 : limits.requestsPerPod;
  const now = options.now ?? Date.now;
  const pods = new Set<Pod>();
  const starts = new Set<Start>();
  const waiters = new Set<Waiter>();
  /** Pods of a onceOnly function that nobody was given yet. */
  const unused = new Set<Pod>();
  const failure: FailureMemory = failureMemory(now);
  let floor = 0;
  let proven = false;
  let chances = SECOND_CHANCES;
  let demand = 0;
  let trimTimer: NodeJS.Timeout | undefined;
  let closed: PlatformError | undefined;

  const target = () =>
    startsTarget({
      demand,
      floor,
      requestsPerPod: slotsPerPod,
      pods: pods.size,
      starting: starts.size,
      concurrency: limits.concurrency,
      unprovenStarts: failure.current ? 1 : UNPROVEN_STARTS,
      proven: proven && !failure.current,
    });

  const pump = () => {
    if (closed || failure.blocked) return;
    for (let missing = target() - starts.size; missing > 0; missing -= 1) {
      const start: Start = { phase: "queued", ticket: undefined, attempts: 0 };
      starts.add(start);
      void prepare(start);
    }
  };

  const trim = () => {
    trimTimer = undefined;
    let surplus = starts.size - target();
    for (const start of [...starts].reverse()) {
      if (surplus <= 0) return;
      if (start.phase !== "queued") continue;
      start.ticket?.cancel();
      starts.delete(start);
      surplus -= 1;
    }
  };

  const endWaiter = (waiter: Waiter, result: Endpoint[] | PlatformError) => {
    if (!waiters.delete(waiter)) return;
    demand -= waiter.waiting;
    waiter.end(result);
    trimTimer ??= setTimeout(trim, TRIM_AFTER_MS);
  };

  const failWaiters = (error: PlatformError) => {
    for (const waiter of waiters) endWaiter(waiter, error);
  };

  /** Gives a new pod's slots to those who wait longest. */
  const grant = (pod: Pod) => {
    let slots = slotsPerPod;
    const endpoint = endpointOf(pod);
    for (const waiter of waiters) {
      if (slots <= 0) return;
      slots -= waiter.waiting;
      unused.delete(pod);
      endWaiter(waiter, [endpoint]);
    }
  };

  const endpointOf = (pod: Pod): Endpoint => ({
    podUid: pod.uid,
    podName: pod.name,
    address: pod.address,
    revision: serving.revision,
    requestsPerPod: slotsPerPod,
  });

  /** The content is read before a pod is taken, so that content which cannot be read uses up no pod. */
  const prepare = async (start: Start): Promise<void> => {
    try {
      const content = await options.content();
      if (starts.has(start)) claim(start, content);
    } catch (error) {
      if (starts.has(start)) failed(start, toPlatformError(error));
    }
  };

  const claim = (start: Start, content: Content) => {
    start.phase = "queued";
    start.attempts += 1;
    // Delivery may come before `take` returns; the ticket is then served and cancelling it does nothing.
    start.ticket = options.take(
      (pod) => {
        start.phase = "specialising";
        void specialize(start, pod, content);
      },
      (error) => {
        starts.delete(start);
        // Those that specialise now may still serve some waiters; what remains then asks the pool again.
        if (![...starts].some(({ phase }) => phase === "specialising")) failWaiters(error);
      },
    );
  };

  const specialize = async (start: Start, pod: Pod, content: Content): Promise<void> => {
    const beganMs = performance.now();
    let outcome = await options.specialize(pod, content);
    // A kept-alive connection may have been closed by the pod just before: nothing reached it, so the same pod is asked again.
    if (outcome.kind === "lost" && pod.phase === "claimed" && (await options.stillGeneric(pod)))
      outcome = await options.specialize(pod, content);
    options.onOutcome(outcome.kind, performance.now() - beganMs);
    settle(start, pod, outcome, content);
  };

  const settle = (start: Start, pod: Pod, outcome: SpecializeOutcome, content: Content) => {
    if (outcome.kind === "done") {
      if (pod.phase === "claimed") return joined(start, pod);
      return again(start, pod, content, "the pod went away while it was specialised", false);
    }
    if (outcome.kind === "rejected") {
      options.discard(pod, `its code does not load: ${outcome.error.message}`, 0);
      return failed(start, loadError(identity, outcome.error));
    }
    if (outcome.kind === "timeout") {
      options.discard(pod, "its code did not load in time", 0);
      return failed(
        start,
        new PlatformError(
          "specialization_timeout",
          `Function "${identity.name}" did not load within ${limits.specializationTimeoutMs} ms`,
        ),
      );
    }
    const message = "message" in outcome ? outcome.message : "it is specialised already";
    return again(start, pod, content, message, outcome.kind === "lost");
  };

  const joined = (start: Start, pod: Pod) => {
    starts.delete(start);
    pod.phase = "specialised";
    pods.add(pod);
    proven = true;
    chances = SECOND_CHANCES;
    failure.clear();
    if (pods.size >= floor) floor = 0;
    if (limits.onceOnly) unused.add(pod);
    options.onChange(revision, pod, true);
    grant(pod);
    pump();
  };

  /** A pod failed, not the code for all we know: the start keeps its place and takes another pod. */
  const again = (start: Start, pod: Pod, content: Content, message: string, whileLoading: boolean) => {
    options.discard(pod, `it could not be specialised: ${message}`, 0);
    log.warn("specialisation failed on one pod", { function: identity.name, pod: pod.name, message });
    if (closed) {
      starts.delete(start);
      return;
    }
    if (start.attempts < options.attempts) return claim(start, content);
    failed(
      start,
      whileLoading
        ? new PlatformError(
            "specialization_failed",
            `Function "${identity.name}": ${start.attempts} pods ended while they loaded its code (${message})`,
          )
        : new PlatformError(
            "pool_exhausted",
            `${start.attempts} pods failed before they loaded the code (${message})`,
          ),
    );
  };

  const failed = (start: Start, error: PlatformError) => {
    starts.delete(start);
    if (isCodeAtFault(error)) {
      if (proven && chances > 0) {
        chances -= 1;
        return pump();
      }
      failure.remember(error);
      log.warn("function does not load", {
        function: identity.name,
        revision: serving.revision,
        error: error.message,
      });
    }
    floor = 0;
    failWaiters(failure.error() ?? error);
    trim();
  };

  const unknownTo = (known: ReadonlySet<string>): Endpoint[] => {
    if (limits.onceOnly) {
      for (const pod of unused) {
        unused.delete(pod);
        return [endpointOf(pod)];
      }
      return [];
    }
    const found: Endpoint[] = [];
    for (const pod of pods) {
      if (!known.has(pod.uid)) found.push(endpointOf(pod));
      if (found.length === MAX_ENDPOINTS) break;
    }
    return found;
  };

  const refusal = (): PlatformError | undefined => {
    if (closed) return closed;
    if (failure.blocked && starts.size === 0) return failure.error();
    if (waiters.size >= MAX_WAITERS)
      return new PlatformError(
        "queue_full",
        `${waiters.size} calls wait for a pod of function "${identity.name}"`,
      );
    const coming = starts.size * slotsPerPod - demand;
    if (coming <= 0 && pods.size + starts.size >= limits.concurrency)
      return new PlatformError(
        "capacity_exceeded",
        `Function "${identity.name}" runs ${pods.size} of ${limits.concurrency} pods (concurrency) with ${slotsPerPod} requests each, and ${starts.size} more are starting`,
      );
    return undefined;
  };

  const revision: Revision = {
    key: revisionKey(identity.uid, serving.revision),
    serving,
    identity,
    acquire: (request, signal) => {
      const known = new Set(request.known);
      const found = unknownTo(known);
      if (found.length > 0) return Promise.resolve(found);
      const refused = refusal();
      if (refused) return Promise.reject(refused);
      return new Promise((resolve, reject) => {
        const leave = () => endWaiter(waiter, new PlatformError("client_disconnect"));
        const timer = setTimeout(() => endWaiter(waiter, timedOut(request.waitMs)), request.waitMs);
        const waiter: Waiter = {
          known,
          waiting: request.waiting,
          end: (result) => {
            clearTimeout(timer);
            signal?.removeEventListener("abort", leave);
            if (result instanceof PlatformError) reject(result);
            else resolve(result);
          },
        };
        signal?.addEventListener("abort", leave, { once: true });
        waiters.add(waiter);
        demand += waiter.waiting;
        pump();
      });
    },
    warm: (count) => {
      floor = Math.min(count, limits.concurrency);
      pump();
    },
    adopt: (pod) => {
      pod.phase = "specialised";
      pods.add(pod);
      proven = true;
      options.onChange(revision, pod, true);
      grant(pod);
    },
    gone: (pod) => {
      if (!pods.delete(pod)) return;
      unused.delete(pod);
      options.onChange(revision, pod, false);
      pump();
    },
    close: (reason) => {
      closed = reason;
      failWaiters(reason);
      clearTimeout(trimTimer);
      for (const start of starts) {
        if (start.phase !== "queued") continue;
        start.ticket?.cancel();
        starts.delete(start);
      }
    },
    pods: () => pods,
    snapshot: () => ({
      function: `${identity.namespace}/${identity.name}`,
      revision: serving.revision,
      pods: [...pods].map((pod) => pod.name),
      starting: starts.size,
      waiting: waiters.size,
      demand,
      failure: failure.current?.message ?? null,
    }),
  };

  const timedOut = (waitMs: number): PlatformError => {
    const loading = [...starts].some((start) => start.phase === "specialising");
    return loading
      ? new PlatformError(
          "specialization_timeout",
          `Function "${identity.name}" is still loading after ${waitMs} ms`,
        )
      : new PlatformError(
          "pool_exhausted",
          `No generic pod became ready for function "${identity.name}" within ${waitMs} ms`,
        );
  };

  return revision;
}

function toPlatformError(error: unknown): PlatformError {
  if (error instanceof PlatformError) return error;
  return new PlatformError("internal", error instanceof Error ? error.message : String(error), {
    cause: error,
  });
}

function isCodeAtFault(error: PlatformError): boolean {
  return error.code === "specialization_failed" || error.code === "specialization_timeout";
}

function loadError(
  identity: FunctionIdentity,
  error: { code: string; message: string; stack?: string | undefined },
) {
  return new PlatformError(
    "specialization_failed",
    `Function "${identity.name}" does not load (${error.code}): ${error.message}`,
  );
}
