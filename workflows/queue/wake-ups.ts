import type { Log } from "../../net/log.ts";
import { type RedisClient, redisClient } from "../../net/redis-client.ts";
import type { RunKey } from "../core/run-record.ts";
import type { Journal } from "../journal/journal.ts";
import { nudges } from "./nudges.ts";
import type { RunTaker } from "./run-taker.ts";
import type { StoreClock } from "./store-clock.ts";
import { sweeper } from "./sweeper.ts";
import { wakeQueue } from "./wake-queue.ts";

/**
 * How a run that has something to do gets a worker's attention: at once by a nudge to its owner or by a job, and within about a second by the sweeper whatever
 * became of these.
 */
export interface WakeUps {
  /** After `create`, `deliver` or `reopen`. Never rejects and may be forgotten: the run is due in the journal by then. `owner`: who holds it, as `deliver` said. */
  wake(key: RunKey, owner?: string): Promise<void>;
  /** A run that this worker let go will have something to do then (store's clock). */
  expect(key: RunKey, dueAt: number): void;
  /** Begins to bring runs to this worker. */
  start(taker: RunTaker): void;
  close(): Promise<void>;
}

export interface WakeUpsOptions {
  readonly url: string;
  readonly journal: Journal;
  readonly clock: StoreClock;
  /** Name of this process among the workers: the one that it claims runs by. */
  readonly worker: string;
  /** Jobs that wait for this worker's room at once. Default 64. */
  readonly concurrency?: number;
  readonly sweepMs?: number;
  readonly log: Log;
}

const RECONNECT_CAP_MS = 2_000;

export function redisWakeUps(options: WakeUpsOptions): WakeUps {
  const { log, worker } = options;
  /** `patient`: commands wait for a connection; else they fail at once without one. */
  const connect = (name: string, patient: boolean): RedisClient => {
    const client = redisClient(options.url, {
      name: `workflows-${name}`,
      maxRetriesPerRequest: patient ? null : 0,
      patient,
      retryDelayMs: (attempt) => Math.min(attempt * 100, RECONNECT_CAP_MS),
    });
    // The journal's connection tells the story of a lost Redis once.
    client.on("error", () => undefined);
    clients.push(client);
    return client;
  };
  const clients: RedisClient[] = [];
  const sender = connect("wake-ups", false);
  const queue = wakeQueue(sender, log);
  const nudging = nudges(() => sender);
  let sweeping: ReturnType<typeof sweeper> | undefined;
  return {
    wake: async (key, owner) => {
      try {
        if (sender.status !== "ready") return;
        await (owner === undefined ? queue.add(key) : nudging.nudge(owner, key));
      } catch (error) {
        log.debug("Cannot wake a run; the sweeper will find it", {
          run: `${key.namespace}/${key.id}`,
          error,
        });
      }
    },
    expect: (key, dueAt) => sweeping?.expect(key, dueAt),
    start: (taker) => {
      nudging.listen(connect("nudged", true), worker, (key) => taker.nudge(key));
      queue.consume(connect("jobs", true), (key) => taker.take(key), options.concurrency ?? 64);
      sweeping = sweeper({
        journal: options.journal,
        clock: options.clock,
        taker,
        log,
        ...(options.sweepMs !== undefined && { intervalMs: options.sweepMs }),
      });
    },
    close: async () => {
      await sweeping?.close();
      await queue.close();
      for (const client of clients) client.disconnect();
    },
  };
}
