/**
 * Durable workflows: what a commit costs, how long a step takes and how many there are a second, what lies in Redis, how late timers are.
 * Redis with an fsync on every commit. The engine part runs the real worker with a definition and a no-op step in this process, so that what is measured is the
 * engine and the journal: no definition host, no function. Usage: node test/bench/workflows.ts [--fsync always|everysec] [--long] [--timers]
 */
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import type { Redis } from "ioredis";
import { newRun } from "../../workflows/core/new-run.ts";
import type { RunKey, RunRecord } from "../../workflows/core/run-record.ts";
import type { Journal } from "../../workflows/journal/journal.ts";
import { redisJournal } from "../../workflows/journal/redis-journal.ts";
import { effect, newRecord } from "../workflows/journal-suite.ts";
import { type RedisServer, redisServer } from "../workflows/redis-server.ts";
import { runFacts } from "../workflows/run-facts.ts";
import { percentile, printConditions, printLoadAfter, printTable } from "./report.ts";
import { startBenchWorker } from "./workflow-bench-worker.ts";

const { values } = parseArgs({
  options: {
    fsync: { type: "string", default: "always" },
    long: { type: "boolean", default: false },
    timers: { type: "boolean", default: false },
  },
});
const fsync = values.fsync === "everysec" ? "everysec" : "always";
const ms = (value: number): string => value.toFixed(2);

interface World {
  readonly server: RedisServer;
  readonly redis: Redis;
  readonly journal: Journal;
}
async function world(): Promise<World> {
  // The disk is still busy with the data of the part before.
  await sleep(2_000);
  const server = await redisServer({ appendfsync: fsync });
  const redis = server.connect();
  return { server, redis, journal: redisJournal(() => redis) };
}

/** A record as a run in the middle of an order has it: 1 KB of snapshot, one open step. */
const middle = (record: RunRecord, transition: number): RunRecord => ({
  ...record,
  snapshot: JSON.stringify({ value: "charging", context: { order: "x".repeat(900), transition } }),
  states: ["charging"],
  effects: { [`${transition}.0`]: effect(`${transition}.0`) },
  transition,
});

/** Commits one after the other by `lanes` runs at once; gives the ms of each, and all of them. */
async function commits(
  journal: Journal,
  lanes: number,
  each: number,
): Promise<{ times: number[]; wholeMs: number }> {
  const times: number[] = [];
  const lane = async (): Promise<void> => {
    const { record } = await journal.create(newRecord(), []);
    const claim = await journal.claim(record.facts.key, "bench", 60_000);
    if (claim.kind !== "claimed") throw new Error(claim.kind);
    for (let n = 1; n <= each; n++) {
      const next = middle(record, n);
      const history = [
        {
          type: "effect-completed" as const,
          transition: n,
          token: `${n}.0`,
          payload: { value: { ok: true } },
        },
        { type: "transition" as const, transition: n, state: "charging" },
        { type: "effect-scheduled" as const, transition: n, token: `${n + 1}.0`, actor: "charge" },
      ];
      const from = performance.now();
      const answer = await journal.commit(claim.lease, {
        expectedVersion: n,
        record: next,
        history,
        taken: [],
        release: false,
        closedMaps: [],
      });
      if (answer.kind !== "committed") throw new Error(answer.kind);
      times.push(performance.now() - from);
    }
  };
  const from = performance.now();
  await Promise.all(Array.from({ length: lanes }, lane));
  return { times, wholeMs: performance.now() - from };
}

async function benchCommits(): Promise<void> {
  const { server, journal } = await world();
  await commits(journal, 4, 200);
  const rows = [["one commit (1 KB of state, 3 lines of history)", "p50 ms", "p99 ms", "a second"]];
  for (const lanes of [1, 16, 64]) {
    const { times, wholeMs } = await commits(journal, lanes, Math.max(100, 4_000 / lanes));
    rows.push([
      `c = ${lanes}`,
      ms(percentile(times, 0.5)),
      ms(percentile(times, 0.99)),
      String(Math.round((times.length * 1_000) / wholeMs)),
    ]);
  }
  printTable(rows);
  await server.stop();
}

const usedBytes = async (redis: Redis): Promise<number> =>
  Number(/used_memory:(\d+)/.exec(await redis.info("memory"))?.[1] ?? Number.NaN);

async function benchBytes(): Promise<void> {
  const { server, redis, journal } = await world();
  const runs = 5_000;
  const parked = async (): Promise<void> => {
    const { record } = await journal.create(newRecord(), [{ type: "started", transition: 0 }]);
    const claim = await journal.claim(record.facts.key, "bench", 60_000);
    if (claim.kind !== "claimed") throw new Error(claim.kind);
    const timers = { "1.0": { token: "1.0", id: "t", event: { type: "t" }, dueAt: Date.now() + 1e9 } };
    const next = { ...middle(record, 1), effects: {}, timers };
    await journal.commit(claim.lease, {
      expectedVersion: 1,
      record: next,
      history: [],
      taken: [],
      release: true,
      closedMaps: [],
    });
  };
  await parked();
  const before = await usedBytes(redis);
  for (let n = 0; n < runs; n += 100) await Promise.all(Array.from({ length: 100 }, parked));
  const perRun = ((await usedBytes(redis)) - before) / runs;
  const from = await usedBytes(redis);
  const steps = 10_000;
  await commits(journal, 10, steps / 10);
  const perStep = ((await usedBytes(redis)) - from) / steps;
  printTable([
    ["in Redis", "bytes"],
    ["a parked run with 1 KB of state and a timer", String(Math.round(perRun))],
    ["a step (3 lines of history)", String(Math.round(perStep))],
  ]);
  await server.stop();
}

async function start(journal: Journal, id: string, workflow: string, steps: number): Promise<RunKey> {
  const { record, history } = newRun(runFacts(id, { n: 0, steps }, { workflow }));
  await journal.create(record, history);
  return record.facts.key;
}
async function ended(journal: Journal, key: RunKey): Promise<void> {
  while ((await journal.load(key))?.status === "running") await sleep(100);
}

async function benchSteps(): Promise<void> {
  const { server, journal } = await world();
  const worker = await startBenchWorker(server.url);
  const warm = await start(journal, "warm", "steps", 300);
  await worker.wakeUps.wake(warm);
  await ended(journal, warm);

  const rows = [["overhead of a step", "p50 ms", "p99 ms"]];
  worker.steps.clear();
  const total = values.long ? 10_100 : 1_100;
  const long = await start(journal, "long", "steps", total);
  await worker.wakeUps.wake(long);
  await ended(journal, long);
  const times = worker.steps.get("long") ?? [];
  for (const [name, at] of [
    ["1", 0],
    ["100", 50],
    ["1,000", 950],
    ["10,000", 9_950],
  ] as const) {
    const part = times.slice(at, at + 100);
    if (part.length >= 100)
      rows.push([`around step ${name}`, ms(percentile(part, 0.5)), ms(percentile(part, 0.99))]);
  }
  printTable(rows);

  const runs = 64;
  const each = 100;
  const from = performance.now();
  const keys = await Promise.all(
    Array.from({ length: runs }, (_, n) => start(journal, `many-${n}`, "steps", each)),
  );
  await Promise.all(keys.map((key) => worker.wakeUps.wake(key)));
  await Promise.all(keys.map((key) => ended(journal, key)));
  const seconds = (performance.now() - from) / 1_000;
  console.log(
    `\nc = 64: ${Math.round((runs * each) / seconds)} steps/s with a no-op step (target 2,000, which counts the definition host too)`,
  );
  await worker.stop();
  await server.stop();
}

const TIMER_PAUSE_MS = 10;
async function benchTimers(): Promise<void> {
  const { server, journal } = await world();
  const worker = await startBenchWorker(server.url);
  const count = 500;
  const lateness = async (key: RunKey): Promise<number> => {
    let dueAt: number | undefined;
    while (dueAt === undefined) {
      await sleep(200);
      dueAt = Object.values((await journal.load(key))?.timers ?? {})[0]?.dueAt;
    }
    await ended(journal, key);
    const fired = (await journal.history(key, 1, 50)).find(({ type }) => type === "timer-fired")?.at;
    return (fired ?? Number.NaN) - dueAt;
  };
  const measured: Promise<number>[] = [];
  for (let n = 0; n < count; n++) {
    const key = await start(journal, `timer-${n}`, "timer", 0);
    void worker.wakeUps.wake(key);
    measured.push(lateness(key));
    await sleep(TIMER_PAUSE_MS);
  }
  const late = await Promise.all(measured);
  console.log(
    `\n${count} timers of parked runs, one every ${TIMER_PAUSE_MS} ms or so: late p50 ${percentile(late, 0.5)} ms, p99 ${percentile(late, 0.99)} ms, earliest ${Math.min(...late)} ms (target p99 100 ms, never early)`,
  );
  await worker.stop();
  await server.stop();
}

printConditions(
  `Durable workflows: journal and engine, Redis with appendfsync ${fsync}, one worker, all in one process`,
);
if (!values.timers) {
  await benchCommits();
  console.log();
  await benchBytes();
  console.log();
  await benchSteps();
}
await benchTimers();
printLoadAfter();
process.exit(0);
