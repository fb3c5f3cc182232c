import type { Redis } from "ioredis";
import { newRecord } from "../../workflows/journal-suite.ts";
import { printTable } from "../report.ts";
import { benchWorld, type Fsync } from "./bench-world.ts";
import { commits, middle } from "./commits.ts";

const RUNS = 3_000;
const STEPS = 6_000;

const usedBytes = async (redis: Redis): Promise<number> =>
  Number(/used_memory:(\d+)/.exec(await redis.info("memory"))?.[1] ?? Number.NaN);

export async function benchBytes(fsync: Fsync): Promise<void> {
  const { redis, journal, stop } = await benchWorld(fsync);
  const park = async (): Promise<void> => {
    const { record } = await journal.create(newRecord(), [{ type: "started", transition: 0 }]);
    const claim = await journal.claim(record.facts.key, "bench", 60_000);
    if (claim.kind !== "claimed") throw new Error(claim.kind);
    const timers = { "1.0": { token: "1.0", id: "t", event: { type: "t" }, dueAt: Date.now() + 1e9 } };
    await journal.commit(claim.lease, {
      expectedVersion: 1,
      record: { ...middle(record, 1), effects: {}, timers },
      history: [],
      taken: [],
      release: true,
      closedMaps: [],
    });
  };
  await park();
  const empty = await usedBytes(redis);
  for (let n = 0; n < RUNS; n += 100) await Promise.all(Array.from({ length: 100 }, park));
  const perRun = ((await usedBytes(redis)) - empty) / RUNS;
  const from = await usedBytes(redis);
  await commits(journal, 10, STEPS / 10);
  const perStep = ((await usedBytes(redis)) - from) / STEPS;
  printTable([
    ["in Redis", "bytes"],
    ["a parked run with 1 KB of state and a timer", String(Math.round(perRun))],
    ["a step (3 lines of history)", String(Math.round(perStep))],
  ]);
  await stop();
}
