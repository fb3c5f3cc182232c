import { afterEach, describe, expect, it } from "vitest";
import { assign, fromPromise, setup } from "xstate";
import { machineDefinition } from "../../test/workflows/machine-definition.ts";
import { runFacts } from "../../test/workflows/run-facts.ts";
import { newRun } from "../core/new-run.ts";
import type { RunRecord } from "../core/run-record.ts";
import type { Definition } from "../definition/definition.ts";
import type { Journal } from "../journal/journal.ts";
import { memoryJournal } from "../journal/memory-journal.ts";
import type { EffectCall, Performed, WorkerPorts } from "./ports.ts";
import { runWorker, type RunWorker, WORKER_DEFAULTS } from "./run-worker.ts";

const stub = fromPromise(async () => null);

interface World {
  readonly journal: Journal;
  readonly worker: RunWorker;
  readonly calls: EffectCall[];
  readonly ended: (id: string) => Promise<RunRecord>;
  readonly start: (id: string, input?: null) => Promise<void>;
}

const workers: RunWorker[] = [];
afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.stop(0)));
});

function world(
  definition: Definition,
  perform: (call: EffectCall, signal: AbortSignal) => Promise<Performed>,
): World {
  const journal = memoryJournal({ now: () => Date.now() });
  const calls: EffectCall[] = [];
  let worker: RunWorker | undefined;
  const ports: WorkerPorts = {
    journal,
    definitions: { get: async () => definition },
    performer: {
      perform: (call, signal) => {
        calls.push(call);
        return perform(call, signal);
      },
    },
    payloads: {
      inlineBytes: 262_144,
      store: async () => {
        throw new Error("nothing large here");
      },
      load: async () => null,
    },
    clock: {
      now: () => Date.now(),
      passed: () => Date.now(),
      after: (delayMs, call) => {
        const timer = setTimeout(call, delayMs);
        return () => clearTimeout(timer);
      },
    },
    deliver: async (key, message) => {
      const delivered = await journal.deliver(key, message);
      void worker?.take(key);
      return delivered;
    },
    onParked: () => {},
    random: Math.random,
    onFault: (_key, what, error) => {
      throw new Error(what, { cause: error });
    },
  };
  worker = runWorker({ name: "w1", ...WORKER_DEFAULTS }, ports);
  workers.push(worker);
  const under = worker;
  return {
    journal,
    worker,
    calls,
    start: async (id) => {
      const { record, history } = newRun(runFacts(id));
      await journal.create(record, history);
      await under.take(record.facts.key);
    },
    ended: async (id) => {
      const key = { namespace: "shop", id };
      for (;;) {
        const record = await journal.load(key);
        if (record && record.status !== "running") return record;
        await new Promise((wake) => setTimeout(wake, 2));
      }
    },
  };
}

const done = (output: null | number | string): Performed => ({ kind: "done", output: { value: output } });

const twoSteps = setup({
  types: { context: { first: 0 } },
  actors: { one: stub, two: stub },
}).createMachine({
  id: "two",
  context: { first: 0 },
  initial: "a",
  output: ({ context }) => context,
  states: {
    a: {
      invoke: {
        src: "one",
        id: "one",
        onDone: { target: "pause", actions: assign({ first: ({ event }) => Number(event.output) }) },
      },
    },
    pause: { after: { 20: "b" } },
    b: { invoke: { src: "two", id: "two", onDone: "end" } },
    end: { type: "final" },
  },
});
const fn = (name: string) => ({ kind: "function", name }) as const;

describe("a worker", () => {
  it("drives a run of two steps and a timer to its end", async () => {
    const { start, ended, calls, journal } = world(
      machineDefinition(twoSteps, { one: fn("one"), two: fn("two") }),
      async ({ effect }) => done(effect.actor === "one" ? 41 : null),
    );
    await start("r1");
    const record = await ended("r1");
    expect(record).toMatchObject({
      status: "succeeded",
      output: { value: { first: 41 } },
      effects: {},
      timers: {},
    });
    expect(calls.map(({ effect }) => [effect.actor, effect.token, effect.attempt])).toEqual([
      ["one", "1.0", 1],
      ["two", "3.0", 1],
    ]);
    const history = await journal.history(record.facts.key, 1, 100);
    expect(history.map(({ type }) => type)).toEqual([
      "started",
      "transition",
      "effect-scheduled",
      "effect-completed",
      "transition",
      "timer-set",
      "timer-fired",
      "transition",
      "effect-scheduled",
      "effect-completed",
      "transition",
      "finished",
    ]);
  });

  it("tries a failed step again under the same token, and gives the failure to the machine when tries are used up", async () => {
    const retry = { maxAttempts: 3, backoffBaseMs: 1, backoffCapMs: 2, factor: 2, jitter: 0 };
    const { start, ended, calls } = world(
      machineDefinition(twoSteps, { one: { ...fn("one"), retry }, two: fn("two") }),
      async () => ({ kind: "failed", error: { type: "Fission.FunctionError", message: "no" } }),
    );
    await start("r1");
    expect(await ended("r1")).toMatchObject({ status: "failed", error: { message: "no" } });
    expect(calls.map(({ effect }) => [effect.token, effect.attempt])).toEqual([
      ["1.0", 1],
      ["1.0", 2],
      ["1.0", 3],
    ]);
  });
});
