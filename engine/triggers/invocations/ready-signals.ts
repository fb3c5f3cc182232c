import type { Log } from "../../../net/log.ts";
import { redisClient } from "../../../net/redis-client.ts";
import type { InvocationJournal } from "./journal.ts";

/*
 * Who hears that something can be claimed. Invariants:
 * R1. Redis says so when it is at once (`ev:ready`); a sweep over all partitions finds what nobody heard of, and what is due later. A signal that is
 *     lost costs the time to the next sweep, nothing else.
 * R2. A signal is a hint: only a claim decides.
 */

export interface ReadySignals {
  /** Something of a queue can be claimed in so many milliseconds. */
  expect(queue: string, inMs: number): void;
  close(): Promise<void>;
}

export interface ReadySignalsOptions {
  readonly redisUrl: string;
  readonly journal: Pick<InvocationJournal, "ready">;
  readonly log: Log;
  readonly sweepMs: number;
  readonly onReady: (queue: string) => void;
  /** Somebody cancelled a running invocation. */
  readonly onCancel: (id: string) => void;
}

const READY = "ev:ready";
const CANCEL = "ev:cancel";

export function readySignals(options: ReadySignalsOptions): ReadySignals {
  const { journal, log, sweepMs, onReady } = options;
  const timers = new Map<string, { at: number; timer: NodeJS.Timeout }>();
  let closed = false;
  let failing = false;

  const expect = (queue: string, inMs: number): void => {
    if (closed) return;
    if (inMs <= 0) return onReady(queue);
    // Later than that, a sweep finds it in time.
    if (inMs > 2 * sweepMs) return;
    const at = performance.now() + inMs;
    const armed = timers.get(queue);
    if (armed && armed.at <= at) return;
    clearTimeout(armed?.timer);
    const timer = setTimeout(() => {
      timers.delete(queue);
      onReady(queue);
    }, Math.ceil(inMs));
    timers.set(queue, { at, timer });
  };

  const sweep = async (): Promise<void> => {
    for (const { queue, inMs } of await journal.ready(2 * sweepMs)) expect(queue, inMs);
  };
  const swept = async (): Promise<void> => {
    try {
      await sweep();
      if (failing) log.info("Invocations that are due are found again");
      failing = false;
    } catch (error) {
      if (!failing)
        log.warn("Cannot look for invocations that are due; tried again with every sweep", { error });
      failing = true;
    }
  };
  let sweeping: Promise<void> | undefined;
  const watched = (): void => {
    sweeping ??= swept().finally(() => (sweeping = undefined));
  };

  const subscriber = redisClient(options.redisUrl, {
    name: "triggers-signals",
    patient: true,
    maxRetriesPerRequest: null,
    retryDelayMs: (attempt) => Math.min(attempt * 100, 2_000),
  });
  subscriber.on("error", () => undefined);
  subscriber.on("message", (channel: string, message: string) => {
    if (channel === READY) onReady(message);
    else options.onCancel(message);
  });
  // Each time that it is connected anew, what was said meanwhile was not heard.
  subscriber.on("ready", watched);
  subscriber.subscribe(READY, CANCEL).catch(() => undefined);
  const interval = setInterval(watched, sweepMs);
  return {
    expect,
    close: async () => {
      closed = true;
      clearInterval(interval);
      for (const { timer } of timers.values()) clearTimeout(timer);
      subscriber.disconnect();
      await sweeping;
    },
  };
}
