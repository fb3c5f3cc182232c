import { Queue, Worker } from "bullmq";
import type { Log } from "../../net/log.ts";
import type { RedisClient } from "../../net/redis-client.ts";
import type { RunKey } from "../core/run-record.ts";
import { keyOfMember, memberOf } from "../journal/redis-keys.ts";

/**
 * Wake-ups on BullMQ: jobs that say "look at this run", one per run at most, taken by whichever worker has room. A job carries nothing that the journal does
 * not know; one that is lost, doubled or late costs time only, since the sweeper finds the run.
 */
export interface WakeQueue {
  /** Rejects when Redis is not there. */
  add(key: RunKey): Promise<void>;
  /**
   * Begins to take jobs, up to `concurrency` at once; `take` waits until the worker has room, which is what holds the rest back for others.
   * @param client one of its own, with `maxRetriesPerRequest: null`; a blocking one is made of it
   */
  consume(client: RedisClient, take: (key: RunKey) => Promise<unknown>, concurrency: number): void;
  close(): Promise<void>;
}

const NAME = "wake-ups";
/** One slot on a cluster, beside the journal's partitions. */
const PREFIX = "{wf:wake-ups}";
/** A worker that died is noticed by its jobs after this long; the sweeper is faster. */
const LOCK_MS = 10_000;

/** @param client for adding */
export function wakeQueue(client: RedisClient, log: Log): WakeQueue {
  const open = (): Queue => {
    const made = new Queue(NAME, {
      connection: client,
      prefix: PREFIX,
      streams: { events: { maxLen: 100 } },
      defaultJobOptions: { removeOnComplete: true, removeOnFail: true },
    });
    made.on("error", (error) => log.debug("The queue of wake-ups cannot reach Redis", { error }));
    return made;
  };
  let queue: Queue | undefined;
  let worker: Worker | undefined;
  return {
    // A job's id holds no ":" and is never all digits: a namespace and an id have a slash between them.
    add: async (key) => {
      const used = (queue ??= open());
      try {
        await used.add("run", null, { jobId: memberOf(key) });
      } catch (error) {
        // One that was opened while Redis was away stays unusable.
        if (queue === used) queue = undefined;
        throw error;
      }
    },
    consume: (client, take, concurrency) => {
      worker = new Worker(NAME, async (job) => void (await take(keyOfMember(job.id ?? ""))), {
        connection: client,
        prefix: PREFIX,
        concurrency,
        lockDuration: LOCK_MS,
        stalledInterval: LOCK_MS,
        maxStalledCount: 1_000,
        runRetryDelay: 500,
        removeOnComplete: { count: 0 },
        removeOnFail: { count: 0 },
      });
      worker.on("error", (error) => log.debug("Wake-ups cannot be read from Redis", { error }));
    },
    close: async () => {
      await worker?.close();
      await queue?.close();
    },
  };
}
