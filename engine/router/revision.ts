import { type ErrorCode, PlatformError } from "../../api/errors.ts";
import type { FunctionSlot } from "./function-table.ts";
import { closeEndpoint, type Endpoint } from "./endpoint.ts";
import { RevisionTally } from "./revision-tally.ts";
import { scaleUp, ServiceTime, slotsWorth } from "./scale-up.ts";
import type { ServingPlan } from "./serving-plan.ts";
import { type Queued, WaitQueue } from "./wait-queue.ts";

/*
 * One revision of a function in this router: its pods and the requests that wait for one. Invariants:
 * 1. No pod holds more of this router's requests than its capacity.
 * 2. A request is in the queue or in one pod, never in both; every slot taken is given back by exactly one `release`.
 * 3. At most one acquire per revision is under way, whatever the number of waiting requests.
 * 4. While requests wait, something wakes them: a release, a new pod, the end of the acquire, the timer, or their deadline.
 * 5. The queue is bounded; who does not fit, or would wait longer than allowed, is refused at once.
 * 6. Nobody overtakes: with requests waiting, a new one queues behind them.
 * 7. No request waits here once its function serves another revision: nothing would wake it.
 */

/** A request that wants a slot. */
export interface Waiter extends Queued<Waiter> {
  readonly requestId: string;
  /** What its caller wants of the functions and versions that have this revision. */
  readonly slot: FunctionSlot | undefined;
  /** Clock of the revision, ms; set at the first queueing, 0 before. */
  queuedAtMs: number;
  /** Gets the slot; it must end in one `release`, `rest` or `fault` of that endpoint. */
  dispatch(endpoint: Endpoint): void;
  /** It will get no slot. Not called for who was removed. */
  refuse(error: PlatformError): void;
  /** It waits for another revision from now on. */
  moved(to: Revision): void;
  /** Where it is to wait now, or why nowhere: while it was in a pod, another revision may have begun to serve. */
  home(): Revision | PlatformError;
  /** It begins to wait for so long at most; the waiter itself keeps the time. */
  waiting(waitMs: number): void;
}

export interface RevisionLimits {
  readonly queueLength: number;
  readonly queueWaitMs: number;
  readonly coldStartWaitMs: number;
  readonly scaleUpDelayMs: number;
  readonly scaleUpAboveMs: number;
}

export interface RevisionDeps {
  readonly limits: RevisionLimits;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** Asks the executor for room; has added what it got by the time it resolves. @returns whether anything was added or freed */
  readonly acquire: (revision: Revision, waiting: number, waitMs: number) => Promise<boolean>;
}

/** After these the same acquire may succeed, so requests keep waiting. Every other error ends their wait. */
const WORTH_WAITING: ReadonlySet<ErrorCode> = new Set([
  "capacity_exceeded",
  "pool_exhausted",
  "queue_full",
  "executor_unavailable",
  "function_not_ready",
  "draining",
  "internal",
]);
const FIRST_ACQUIRE_PAUSE_MS = 50;
const LONGEST_ACQUIRE_PAUSE_MS = 2_000;
const FIRST_BUSY_REST_MS = 4;
const LONGEST_BUSY_REST_MS = 64;
const FIRST_FAULT_REST_MS = 500;
const LONGEST_FAULT_REST_MS = 15_000;

export class Revision {
  readonly uid: string;
  readonly revision: string;
  readonly endpoints: Endpoint[] = [];
  readonly queue = new WaitQueue<Waiter>();
  /** UIDs of pods that get nothing more although the cluster may still name them. */
  readonly shunned = new Set<string>();
  /** What its requests have in common; undefined until a function serves it. */
  plan: ServingPlan | undefined;
  /** A pod serves one request and is spent. */
  onceOnly = false;
  inFlight = 0;
  /** Requests that ended since the last `measure`. */
  ended = 0;
  readonly service = new ServiceTime();
  readonly tally = new RevisionTally();
  readonly #deps: RevisionDeps;
  #slots = 0;
  #acquiring = false;
  #acquireAfterMs = 0;
  #acquirePauseMs = FIRST_ACQUIRE_PAUSE_MS;
  #lastError: PlatformError | undefined;
  #timer: NodeJS.Timeout | undefined;
  #timerAtMs = 0;
  #pumping = false;
  #endedPerSecond = 0;

  constructor(uid: string, revision: string, deps: RevisionDeps) {
    this.uid = uid;
    this.revision = revision;
    this.#deps = deps;
  }

  /** Sum of the pods' capacities. */
  get slots(): number {
    return this.#slots;
  }

  /** Dispatches at once when a pod has room, else queues, else refuses. */
  admit(waiter: Waiter): void {
    if (this.queue.length === 0) {
      const endpoint = this.#take();
      if (endpoint) return waiter.dispatch(endpoint);
    }
    const refusal = this.#overload();
    if (refusal) return waiter.refuse(refusal);
    this.#queueUp(waiter, false);
  }

  /** Queues a request that had a slot and lost it (refused, or its pod went away) before all others; its wait goes on. */
  readmit(waiter: Waiter): void {
    const home = waiter.home();
    if (home instanceof PlatformError) return waiter.refuse(home);
    if (home !== this) waiter.moved(home);
    home.#queueUp(waiter, true);
    home.pump();
  }

  /** Takes over a request that waited for another revision, with the wait it has behind it. */
  readmitLast(waiter: Waiter): void {
    waiter.moved(this);
    this.#queueUp(waiter, false);
    this.pump();
  }

  /** Takes a waiting request away: its client left, or its time is over. */
  withdraw(waiter: Waiter): void {
    this.queue.remove(waiter);
  }

  /** Why a request whose wait is over got nothing. */
  waitedInVain(): PlatformError {
    if (this.endpoints.length === 0 && this.#lastError) return this.#lastError;
    return new PlatformError("queue_timeout", `${this.queue.length} requests wait for ${this.#slots} slots`, {
      retryAfterMs: this.#expectedWaitMs() ?? 1_000,
    });
  }

  /** How many of so many requests at once are worth a slot of a pod. */
  slotsWorth(concurrency: number): number {
    return slotsWorth(concurrency, this.service.meanMs, { aboveMs: this.#deps.limits.scaleUpAboveMs });
  }

  /** Gives a slot back. `fine` = the pod answered. */
  release(endpoint: Endpoint, fine: boolean): void {
    endpoint.inFlight -= 1;
    this.inFlight -= 1;
    this.ended += 1;
    if (fine && endpoint.strikes > 0) {
      endpoint.strikes = 0;
      endpoint.faulty = false;
      endpoint.restsUntilMs = 0;
    }
    if (endpoint.dropped && endpoint.inFlight === 0) closeEndpoint(endpoint);
    if (this.queue.length > 0) this.pump();
  }

  /** Gives back the slot of a pod that was busy (with requests of other routers), and leaves it alone for a moment; `again` queues anew. */
  rest(endpoint: Endpoint, again?: Waiter): void {
    const restMs = Math.min(FIRST_BUSY_REST_MS * 2 ** Math.min(endpoint.strikes, 10), LONGEST_BUSY_REST_MS);
    this.#pause(endpoint, restMs, again);
  }

  /** Gives back the slot of a pod that could not be reached; the others are used, it is tried again later. `again` queues anew. */
  fault(endpoint: Endpoint, again?: Waiter): void {
    endpoint.faulty = true;
    const restMs = Math.min(FIRST_FAULT_REST_MS * 2 ** Math.min(endpoint.strikes, 10), LONGEST_FAULT_REST_MS);
    this.#pause(endpoint, restMs, again);
  }

  add(endpoint: Endpoint): void {
    // Routers order their pods differently, so that they do not all fill the same one first.
    const place = Math.floor(Math.random() * (this.endpoints.length + 1));
    this.endpoints.splice(place, 0, endpoint);
    this.#slots += endpoint.capacity;
    this.#lastError = undefined;
    this.pump();
  }

  /** Sends nothing more to a pod. Running requests finish. */
  drop(endpoint: Endpoint): void {
    if (endpoint.dropped) return;
    endpoint.dropped = true;
    this.shunned.add(endpoint.podUid);
    const index = this.endpoints.indexOf(endpoint);
    if (index >= 0) {
      this.endpoints.splice(index, 1);
      this.#slots -= endpoint.capacity;
    }
    closeEndpoint(endpoint);
    if (this.queue.length > 0) this.pump();
  }

  /** Takes all who wait, or those who wait for one slot, in order. */
  takeWaiting(slot?: FunctionSlot): Waiter[] {
    const all: Waiter[] = [];
    for (let waiter = this.queue.first; waiter; ) {
      const { next } = waiter;
      if (slot === undefined || waiter.slot === slot) {
        this.queue.remove(waiter);
        all.push(waiter);
      }
      waiter = next;
    }
    if (this.queue.length === 0) this.#disarm();
    return all;
  }

  /** Hands free slots to who waits, and asks for more room when some still wait. */
  pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      while (this.queue.first) {
        const endpoint = this.#take();
        if (!endpoint) break;
        this.queue.shift()?.dispatch(endpoint);
      }
    } finally {
      this.#pumping = false;
    }
    if (this.queue.length > 0) this.#arm();
  }

  /** Updates the rate of ended requests; to be called about once a second. */
  measure(elapsedMs: number): void {
    const perSecond = (this.ended * 1_000) / elapsedMs;
    this.ended = 0;
    // The rate says what the pods can do only while they had no pause.
    if (this.queue.length === 0) this.#endedPerSecond = 0;
    else
      this.#endedPerSecond = this.#endedPerSecond === 0 ? perSecond : (this.#endedPerSecond + perSecond) / 2;
  }

  /** The first idle pod, else the one with the fewest requests of ours: load is spread under load, and packed when there is little. */
  #take(): Endpoint | undefined {
    const { endpoints } = this;
    let best: Endpoint | undefined;
    let now = 0;
    for (let i = 0; i < endpoints.length; i += 1) {
      const endpoint = endpoints[i];
      if (endpoint === undefined || endpoint.inFlight >= endpoint.capacity) continue;
      if (best !== undefined && endpoint.inFlight >= best.inFlight) continue;
      if (endpoint.restsUntilMs !== 0) {
        if (now === 0) now = this.#deps.now();
        if (endpoint.restsUntilMs > now) continue;
        endpoint.restsUntilMs = 0;
      }
      best = endpoint;
      if (endpoint.inFlight === 0) break;
    }
    if (best === undefined) return undefined;
    best.inFlight += 1;
    this.inFlight += 1;
    if (this.onceOnly) this.#spend(best);
    return best;
  }

  #spend(endpoint: Endpoint): void {
    endpoint.dropped = true;
    this.shunned.add(endpoint.podUid);
    this.endpoints.splice(this.endpoints.indexOf(endpoint), 1);
    this.#slots -= endpoint.capacity;
  }

  #queueUp(waiter: Waiter, first: boolean): void {
    const now = this.#deps.now();
    const { queueWaitMs, coldStartWaitMs } = this.#deps.limits;
    const limitMs = this.endpoints.length === 0 ? coldStartWaitMs : queueWaitMs;
    if (waiter.queuedAtMs === 0) waiter.queuedAtMs = now;
    waiter.waiting(Math.max(1, waiter.queuedAtMs + limitMs - now));
    if (first) this.queue.pushFront(waiter);
    else this.queue.push(waiter);
    if (this.#timer === undefined && !this.#pumping) this.#arm();
  }

  #overload(): PlatformError | undefined {
    const { queueLength, queueWaitMs } = this.#deps.limits;
    const most = Math.max(queueLength, 2 * this.#slots);
    const waitMs = this.#expectedWaitMs();
    if (this.queue.length < most && (waitMs === undefined || waitMs <= queueWaitMs)) return undefined;
    return new PlatformError("queue_full", `${this.queue.length} requests wait already, ${most} may`, {
      retryAfterMs: Math.min(Math.max(waitMs ?? 1_000, 1_000), 30_000),
    });
  }

  #expectedWaitMs(): number | undefined {
    return this.#endedPerSecond > 0 ? (this.queue.length * 1_000) / this.#endedPerSecond : undefined;
  }

  #pause(endpoint: Endpoint, restMs: number, again: Waiter | undefined): void {
    endpoint.inFlight -= 1;
    this.inFlight -= 1;
    endpoint.strikes += 1;
    endpoint.restsUntilMs = this.#deps.now() + restMs;
    if (endpoint.dropped && endpoint.inFlight === 0) closeEndpoint(endpoint);
    if (again) this.readmit(again);
    else if (this.queue.length > 0) this.pump();
  }

  #disarm(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** Starts an acquire when it is time for one, and sets the timer for whatever comes next. */
  #arm(): void {
    const now = this.#deps.now();
    let wakeAtMs = Number.POSITIVE_INFINITY;
    let slots = 0;
    for (const endpoint of this.endpoints) {
      if (!endpoint.faulty) slots += endpoint.capacity;
      if (endpoint.restsUntilMs > now && endpoint.inFlight < endpoint.capacity)
        wakeAtMs = Math.min(wakeAtMs, endpoint.restsUntilMs);
    }
    if (!this.#acquiring) {
      const { limits } = this.#deps;
      const waitedMs = now - (this.queue.first?.queuedAtMs ?? now);
      const { inMs, requests } = scaleUp(
        { waiting: this.queue.length, waitedMs, slots, serviceMs: this.service.meanMs },
        { delayMs: limits.scaleUpDelayMs, aboveMs: limits.scaleUpAboveMs },
      );
      const dueMs = Math.max(this.#acquireAfterMs, now + inMs);
      if (dueMs <= now) void this.#acquire(requests);
      // The queue may have grown by then.
      else wakeAtMs = Math.min(wakeAtMs, dueMs, Math.max(this.#acquireAfterMs, now + limits.scaleUpDelayMs));
    }
    if (wakeAtMs !== Number.POSITIVE_INFINITY) this.#wakeAt(wakeAtMs, now);
  }

  /** One timer, which may go off early: under load something changes with every request, and setting it anew costs more than a look. */
  #wakeAt(atMs: number, now: number): void {
    if (this.#timer !== undefined) {
      if (this.#timerAtMs <= atMs) return;
      clearTimeout(this.#timer);
    }
    this.#timerAtMs = atMs;
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        this.pump();
      },
      Math.max(1, Math.ceil(atMs - now)),
    );
  }

  async #acquire(requests: number): Promise<void> {
    this.#acquiring = true;
    const { queueWaitMs, coldStartWaitMs } = this.#deps.limits;
    const waitMs = Math.ceil(this.endpoints.length === 0 ? coldStartWaitMs : queueWaitMs);
    let failure: PlatformError | undefined;
    let fruitful = false;
    try {
      fruitful = await this.#deps.acquire(this, requests, waitMs);
    } catch (error) {
      failure =
        error instanceof PlatformError
          ? error
          : new PlatformError("internal", String(error), { cause: error });
    }
    this.#acquiring = false;
    if (fruitful) this.#acquirePauseMs = FIRST_ACQUIRE_PAUSE_MS;
    else {
      this.#acquireAfterMs = this.#deps.now() + this.#acquirePauseMs;
      this.#acquirePauseMs = Math.min(this.#acquirePauseMs * 2, LONGEST_ACQUIRE_PAUSE_MS);
    }
    if (failure) {
      this.#lastError = failure;
      if (!WORTH_WAITING.has(failure.code)) {
        this.#acquireAfterMs = 0;
        this.#acquirePauseMs = FIRST_ACQUIRE_PAUSE_MS;
        for (const waiter of this.takeWaiting()) waiter.refuse(failure);
      }
    }
    this.pump();
  }
}
