import type { FunctionSlot } from "./function-table.ts";
import type { InvocationFacts } from "./invocation.ts";
import { type Queued, WaitQueue } from "./wait-queue.ts";

/*
 * Calls of functions that exist but serve no revision yet. Whoever deployed a function may call it before each router's watch has heard
 * that it serves. Invariants:
 * 1. A held call ends its wait in exactly one way: its function begins to serve or goes away (`settled`), or it is taken off (`withdraw`)
 *    because its time is over or its client left.
 * 2. The number of held calls per function is bounded, and so is their wait; who does not fit is refused at once.
 */

/** A call that waits for the first revision of its function. What it keeps of the request is what a queued call keeps. */
export class HeldCall implements Queued<HeldCall> {
  previous: HeldCall | undefined = undefined;
  next: HeldCall | undefined = undefined;
  queued = false;
  readonly slot: FunctionSlot;
  readonly facts: InvocationFacts;

  constructor(slot: FunctionSlot, facts: InvocationFacts) {
    this.slot = slot;
    this.facts = facts;
  }
}

export interface UnreadyLimits {
  /** Longest wait; 0 = nobody waits. */
  readonly unreadyWaitMs: number;
  /** Calls that may wait per function. */
  readonly queueLength: number;
}

export class UnreadyCalls {
  readonly #queues = new Map<FunctionSlot, WaitQueue<HeldCall>>();
  readonly #limits: UnreadyLimits;

  constructor(limits: UnreadyLimits) {
    this.#limits = limits;
  }

  /** Holds a call if its function exists and there is room; its exchange's deadline ends the wait. @returns whether it is held */
  hold(slot: FunctionSlot, facts: InvocationFacts): boolean {
    const { unreadyWaitMs, queueLength } = this.#limits;
    if (slot.uid === undefined || unreadyWaitMs === 0) return false;
    let queue = this.#queues.get(slot);
    if (queue && queue.length >= queueLength) return false;
    if (!queue) {
      queue = new WaitQueue();
      this.#queues.set(slot, queue);
    }
    const held = new HeldCall(slot, facts);
    queue.push(held);
    facts.exchange.context = held;
    facts.exchange.setDeadline(unreadyWaitMs);
    return true;
  }

  withdraw(held: HeldCall): void {
    const queue = this.#queues.get(held.slot);
    queue?.remove(held);
    if (queue?.length === 0) this.#queues.delete(held.slot);
  }

  /** Hands over the calls of a function that begins to serve or went away, in the order in which they came. */
  settled(slot: FunctionSlot, proceed: (slot: FunctionSlot, facts: InvocationFacts) => void): void {
    const queue = this.#queues.get(slot);
    if (!queue) return;
    this.#queues.delete(slot);
    for (let held = queue.shift(); held; held = queue.shift()) proceed(slot, held.facts);
  }
}
