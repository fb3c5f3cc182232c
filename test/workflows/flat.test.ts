import type { Redis } from "ioredis";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Json } from "../../workflows/core/json.ts";
import { newRun } from "../../workflows/core/new-run.ts";
import type { RunKey } from "../../workflows/core/run-record.ts";
import { formatDefinition } from "../../workflows/format/format-definition.ts";
import type { Journal } from "../../workflows/journal/journal.ts";
import { stateText } from "../../workflows/journal/record-text.ts";
import { redisJournal } from "../../workflows/journal/redis-journal.ts";
import { redisPayloads } from "../../workflows/payloads/redis-payloads.ts";
import { callAfter } from "../../workflows/worker/engine.ts";
import { effectPerformer } from "../../workflows/worker/perform-effect.ts";
import { type RunWorker, runWorker, WORKER_DEFAULTS } from "../../workflows/worker/run-worker.ts";
import { type RedisServer, redisServer } from "./redis-server.ts";
import { runFacts } from "./run-facts.ts";

/** Calls its function until it has been done `steps` times. */
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
const MAX_CONCURRENCY = 50;
const each = formatDefinition("each", {
  startAt: "All",
  states: {
    All: {
      type: "Map",
      itemsPath: "$",
      maxConcurrency: MAX_CONCURRENCY,
      iterator: {
        startAt: "One",
        states: { One: { type: "Task", function: { type: "name", name: "add" }, end: true } },
      },
      end: true,
    },
  },
});

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await redisServer();
  redis = server.connect();
});
afterAll(() => server.stop());

interface Written {
  /** Bytes of the state, and of the lines of history beside it. */
  readonly state: number;
  readonly lines: number;
}

/** The real worker on a real Redis, with what it writes at each commit, and which of the journal's operations it uses. */
function watched(call: (input: Json) => Promise<Json>) {
  const plain = redisJournal(() => redis);
  const commits: Written[] = [];
  const used = new Map<string, number>();
  const counted = new Proxy(plain, {
    get: (journal, name: keyof Journal) => {
      used.set(name, (used.get(name) ?? 0) + 1);
      return journal[name];
    },
  });
  const journal: Journal = {
    ...plain,
    history: (...args) => counted.history(...args),
    load: (...args) => counted.load(...args),
    inbox: (...args) => counted.inbox(...args),
    list: (...args) => counted.list(...args),
    commit: (lease, commit) => {
      commits.push({ state: stateText(commit.record).length, lines: JSON.stringify(commit.history).length });
      return counted.commit(lease, commit);
    },
  };
  const clock = { now: Date.now, passed: Date.now, after: callAfter };
  const payloads = redisPayloads(() => redis);
  const worker: RunWorker = runWorker(
    { ...WORKER_DEFAULTS, name: "w" },
    {
      journal,
      payloads,
      clock,
      random: Math.random,
      definitions: { get: async ({ workflow }) => (workflow === "each" ? each : steps) },
      deliver: plain.deliver,
      onParked: () => undefined,
      onFault: (_key, what, error) => {
        throw new Error(what, { cause: error });
      },
      performer: effectPerformer({
        journal,
        payloads,
        clock,
        random: Math.random,
        call: async ({ input }) => ({ kind: "done", output: await call(input) }),
        tokens: { make: () => "" },
        startChild: () => Promise.reject(new Error("no children")),
        cancel: () => Promise.resolve(),
      }),
    },
  );
  const run = async (workflow: string, input: Json): Promise<RunKey> => {
    const pins = Object.fromEntries(
      Object.keys((workflow === "each" ? each : steps).facts.actors).map((actor) => [
        actor,
        { kind: "function", name: "add", version: "1" } as const,
      ]),
    );
    const { record, history } = newRun(runFacts(workflow, input, { workflow, pins }));
    await plain.create(record, history);
    await worker.take(record.facts.key);
    while ((await plain.load(record.facts.key))?.status === "running")
      await new Promise((again) => setTimeout(again, 20));
    return record.facts.key;
  };
  return { plain, run, commits, used, worker };
}

it("a step writes and reads as much as the steps before it did, however many these were", async () => {
  const total = 400;
  const { run, commits, used, worker } = watched(async (input) => {
    const n = Number(Object(input).n) + 1;
    return { n, more: n < 10_000 + total };
  });
  await run("steps", { n: 10_000, more: true });
  await worker.stop(0);
  expect(commits).toHaveLength(total + 1);
  // Tokens grow by a digit now and then.
  const [early, late] = [commits[120], commits[total - 20]];
  expect(late).toEqual(early);
  expect(Object.fromEntries(used)).toEqual({ commit: total + 1 });
});

it("a map of 10,000 items writes its record at its beginning and its end only, and has no more calls open than it may", async () => {
  const items = Array.from({ length: 10_000 }, (_, n) => ({ n, text: "x".repeat(100) }));
  let open = 0;
  let most = 0;
  const { run, plain, commits, worker } = watched(async (input) => {
    most = Math.max(most, ++open);
    await new Promise((go) => setImmediate(go));
    open--;
    return { n: Number(Object(input).n) + 1 };
  });
  const key = await run("each", items);
  await worker.stop(0);
  const record = await plain.load(key);
  expect(record).toMatchObject({ status: "succeeded", effects: {} });
  expect(most).toBe(MAX_CONCURRENCY);
  // Its beginning and its end: what an item comes to is one entry of a hash.
  expect(commits).toHaveLength(2);
  expect(await redis.keys("*:map:*")).toEqual([]);
});
