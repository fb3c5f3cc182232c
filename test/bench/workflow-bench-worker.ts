import { processLog } from "../../net/log.ts";
import { redisConnection } from "../../net/redis.ts";
import { formatDefinition } from "../../workflows/format/format-definition.ts";
import { redisJournal } from "../../workflows/journal/redis-journal.ts";
import { redisPayloads } from "../../workflows/payloads/redis-payloads.ts";
import { storeClock } from "../../workflows/queue/store-clock.ts";
import { redisWakeUps, type WakeUps } from "../../workflows/queue/wake-ups.ts";
import { runWorker, WORKER_DEFAULTS } from "../../workflows/worker/run-worker.ts";

/** Calls its step until it has been done `steps` times. */
const steps = formatDefinition("steps", {
  startAt: "Step",
  states: {
    Step: { type: "Task", function: { type: "name", name: "add" }, next: "More" },
    More: {
      type: "Choice",
      choices: [{ variable: "$.more", booleanEquals: true, next: "Step" }],
      default: "Done",
    },
    Done: { type: "Succeed" },
  },
});
const timer = formatDefinition("timer", {
  startAt: "Pause",
  states: { Pause: { type: "Wait", duration: "6s", next: "Done" }, Done: { type: "Succeed" } },
});

export interface BenchWorker {
  readonly wakeUps: WakeUps;
  /** By run: ms from the end of one step's call to the beginning of the next one's, which is all that the engine adds. */
  readonly steps: Map<string, number[]>;
  stop(): Promise<void>;
}

/** The real worker with definitions in this process and a step that does nothing. */
export async function startBenchWorker(redisUrl: string): Promise<BenchWorker> {
  const log = processLog("bench", { level: "error" });
  const redis = redisConnection({ url: redisUrl, log, name: "bench" });
  await redis.ready(10_000);
  const journal = redisJournal(() => redis.client());
  const clock = await storeClock(journal);
  const wakeUps = redisWakeUps({ url: redisUrl, journal, clock, worker: "bench", log });
  const times = new Map<string, number[]>();
  const last = new Map<string, number>();
  const worker = runWorker(
    { ...WORKER_DEFAULTS, name: "bench" },
    {
      journal,
      definitions: { get: async ({ workflow }) => (workflow === "timer" ? timer : steps) },
      performer: {
        perform: async ({ facts, effect }) => {
          const { id } = facts.key;
          const before = last.get(id);
          if (before !== undefined) {
            const list = times.get(id) ?? [];
            list.push(performance.now() - before);
            times.set(id, list);
          }
          const input = "value" in effect.input ? Object(effect.input.value) : {};
          const n = Number(input.n) + 1;
          last.set(id, performance.now());
          return { kind: "done", output: { value: { n, steps: input.steps, more: n < input.steps } } };
        },
      },
      payloads: redisPayloads(() => redis.client()),
      clock: {
        now: () => clock.now(),
        passed: () => clock.passed(),
        after: (delayMs, act) => {
          const handle = setTimeout(act, delayMs);
          return () => clearTimeout(handle);
        },
      },
      deliver: journal.deliver,
      onParked: (key, dueAt) => dueAt !== undefined && wakeUps.expect(key, dueAt),
      random: Math.random,
      onFault: (key, what, error) => log.error("Fault", { run: key.id, what, error }),
    },
  );
  wakeUps.start(worker);
  return {
    wakeUps,
    steps: times,
    stop: async () => {
      await Promise.all([wakeUps.close(), worker.stop(0)]);
      await redis.close();
    },
  };
}
