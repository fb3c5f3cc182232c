import { setTimeout as sleep } from "node:timers/promises";
import type { Log } from "../../../net/log.ts";
import { fairTurns } from "./fair-turns.ts";
import type { Invocation, InvocationJournal, Lease, Settlement } from "./journal.ts";
import { readySignals } from "./ready-signals.ts";

/*
 * Takes invocations that are due and has them delivered. Invariants:
 * D1. What is delivered is leased, and the lease is renewed until it is settled; who loses it ends the delivery and settles nothing.
 * D2. A settlement that Redis does not take is tried again as long as the lease may be this worker's: an answer is not thrown away.
 * D3. What is given back at the end uses up no attempt.
 */

export interface DispatcherOptions {
  readonly journal: Pick<InvocationJournal, "claim" | "renew" | "settle" | "ready">;
  readonly redisUrl: string;
  readonly log: Log;
  /** Of this replica. */
  readonly worker: string;
  readonly slots: number;
  readonly leaseMs: number;
  readonly sweepMs: number;
  /** How many of a queue may run at once, everywhere. */
  readonly limitOf: (queue: string) => number;
  /** Delivers; the settlement is what came of it. Rejects with the signal's reason when it is aborted. */
  readonly perform: (invocation: Invocation, signal: AbortSignal) => Promise<Settlement>;
  /** Whether somebody is to be told of such an end, besides who asks. */
  readonly tells: (invocation: Invocation, settlement: Settlement) => boolean;
  readonly onSettled: (invocation: Invocation, settlement: Settlement) => void;
}

export interface Dispatcher {
  /** Something of a queue can be claimed in so many milliseconds. */
  expect(queue: string, inMs: number): void;
  running(): number;
  stop(graceMs: number): Promise<void>;
}

interface Running {
  readonly invocation: Invocation;
  readonly lease: Lease;
  readonly abort: AbortController;
}

class Cancelled extends Error {}
class LeaseLost extends Error {}
class Stopping extends Error {}

const CLAIMS_AT_ONCE = 8;
const LONGEST_SETTLE_PAUSE_MS = 1_000;

export function startDispatcher(options: DispatcherOptions): Dispatcher {
  const { journal, log, worker } = options;
  const turns = fairTurns(options.slots);
  const running = new Map<string, Running>();
  const deliveries = new Set<Promise<void>>();
  let claiming = 0;
  let stopping = false;

  const pump = (): void => {
    while (claiming < CLAIMS_AT_ONCE) {
      const turn = stopping ? undefined : turns.next();
      if (!turn) return;
      claiming += 1;
      void claim(turn.queue, turn.count).finally(() => {
        claiming -= 1;
        pump();
      });
    }
  };

  const claim = async (queue: string, count: number): Promise<void> => {
    try {
      const { taken, nextAt, now } = await journal.claim(queue, options.limitOf(queue), count, worker);
      turns.release(queue, count - taken.length);
      for (const invocation of taken) begin(invocation);
      if (nextAt !== undefined) signals.expect(queue, nextAt - now);
    } catch (error) {
      turns.release(queue, count);
      // It is found again by the next sweep.
      log.debug("Cannot claim invocations", { queue, error });
    }
  };

  const begin = (invocation: Invocation): void => {
    const { queue, id, tries } = invocation;
    const entry = { invocation, lease: { queue, id, try: tries }, abort: new AbortController() };
    running.set(id, entry);
    const delivery = deliver(entry).finally(() => {
      if (running.get(id) === entry) running.delete(id);
      deliveries.delete(delivery);
      turns.release(queue, 1);
      pump();
    });
    deliveries.add(delivery);
  };

  const deliver = async (entry: Running): Promise<void> => {
    const settlement = await performed(options, entry);
    if (!settlement) return;
    const settled = await settle(options, entry, settlement, () => stopping);
    if (!settled) return;
    if (settled.nextAt !== undefined) signals.expect(entry.lease.queue, settled.nextAt - settled.now);
    options.onSettled(entry.invocation, settlement);
  };

  const renew = async (): Promise<void> => {
    const entries = [...running.values()];
    if (entries.length === 0) return;
    const said = await journal.renew(
      worker,
      entries.map(({ lease }) => lease),
    );
    entries.forEach(({ abort }, at) => {
      if (said[at] === "cancel") abort.abort(new Cancelled());
      if (said[at] === "lost") abort.abort(new LeaseLost());
    });
  };

  const signals = readySignals({
    redisUrl: options.redisUrl,
    journal,
    log,
    sweepMs: options.sweepMs,
    onReady: (queue) => {
      turns.add(queue);
      pump();
    },
    onCancel: (id) => running.get(id)?.abort.abort(new Cancelled()),
  });
  const renewing = setInterval(() => {
    renew().catch((error: unknown) => log.debug("Cannot renew leases", { error }));
  }, options.leaseMs / 4);

  return {
    expect: (queue, inMs) => signals.expect(queue, inMs),
    running: () => running.size,
    stop: async (graceMs) => {
      stopping = true;
      await signals.close();
      const all = Promise.allSettled(deliveries);
      await Promise.race([all, sleep(graceMs, undefined, { ref: false })]);
      for (const { abort } of running.values()) abort.abort(new Stopping());
      await Promise.allSettled(deliveries);
      clearInterval(renewing);
    },
  };
}

/** Undefined: somebody else has it, or it could not be kept before this worker's end. */
async function settle(
  { journal, worker, tells, log }: DispatcherOptions,
  { invocation, lease, abort: { signal } }: Running,
  settlement: Settlement,
  stopping: () => boolean,
): ReturnType<InvocationJournal["settle"]> {
  const tell = tells(invocation, settlement);
  for (let pauseMs = 10; ; pauseMs = Math.min(pauseMs * 2, LONGEST_SETTLE_PAUSE_MS)) {
    try {
      return await journal.settle(worker, lease, settlement, tell);
    } catch (error) {
      if (signal.aborted && signal.reason instanceof LeaseLost) return undefined;
      if (stopping()) {
        log.warn("Cannot keep what came of an invocation; it is delivered again", { id: lease.id, error });
        return undefined;
      }
      await sleep(pauseMs);
    }
  }
}

/** Undefined: there is nothing to settle, somebody else has it. */
async function performed(
  { perform, log }: DispatcherOptions,
  { invocation, abort: { signal } }: Running,
): Promise<Settlement | undefined> {
  try {
    return await perform(invocation, signal);
  } catch (error) {
    if (signal.aborted) {
      if (signal.reason instanceof LeaseLost) return undefined;
      if (signal.reason instanceof Cancelled) return { kind: "cancelled" };
      const failure = { status: 0, reason: "draining", message: "Given back: the worker was stopped" };
      return { kind: "again", delayMs: 0, counts: false, failure };
    }
    log.error("A delivery failed unexpectedly", { id: invocation.id, error });
    const message = error instanceof Error ? error.message : String(error);
    return {
      kind: "again",
      delayMs: 5_000,
      counts: true,
      failure: { status: 0, reason: "internal", message: message.slice(0, 1_024) },
    };
  }
}
