import { afterEach, describe, expect, it } from "vitest";
import { assign, fromPromise, setup } from "xstate";
import { PlatformError } from "../../api/errors.ts";
import { childRunKey } from "../../workflows/core/child-run-key.ts";
import { resumed } from "../../workflows/core/resume.ts";
import type { Outcome, RunKey } from "../../workflows/core/run-record.ts";
import type { ActorFacts, Definition, WorkflowActor } from "../../workflows/definition/definition.ts";
import { DefinitionError } from "../../workflows/definition/definition.ts";
import type { CallResult, FunctionCall } from "../../workflows/worker/call-function.ts";
import { childStarter } from "../../workflows/worker/child-runs.ts";
import { effectPerformer } from "../../workflows/worker/perform-effect.ts";
import type { EffectCall, Performed } from "../../workflows/worker/ports.ts";
import { machineDefinition } from "./machine-definition.ts";
import { type Bench, bench, SHORT_LEASE } from "./worker-bench.ts";

/* One test per hazard of durable workflows, by its name. Crashes at every point at random, with everything at once: simulation/. */

const stub = fromPromise<unknown, unknown>(async () => null);
const fn = (name: string, more: object = {}): ActorFacts => ({ kind: "function", name, ...more });
const done = (output: number | string | null = null): Performed => ({
  kind: "done",
  output: { value: output },
});
const failure = (message: string, type = "Fission.FunctionError"): Performed => ({
  kind: "failed",
  error: { type, message },
});
const sleep = (ms: number): Promise<void> => new Promise((over) => setTimeout(over, ms));
const never = new Promise<never>(() => {});
const ABORTED: Performed = failure("aborted");
const untilAborted = (signal: AbortSignal): Promise<Performed> =>
  new Promise((over) => {
    signal.addEventListener("abort", () => over(ABORTED));
  });

/** Two steps in a row. */
const two = machineDefinition(
  setup({ actors: { one: stub, two: stub } }).createMachine({
    id: "two",
    initial: "a",
    states: {
      a: { invoke: { src: "one", id: "one", onDone: "b" } },
      b: { invoke: { src: "two", id: "two", onDone: "end" } },
      end: { type: "final" },
    },
  }),
  { one: fn("one"), two: fn("two") },
);

/** A step against an hour, again and again until `again` is not sent any more. */
const visits = machineDefinition(
  setup({
    types: { context: {} as { visits: number; results: string[] } },
    actors: { work: stub },
  }).createMachine({
    id: "visits",
    context: { visits: 0, results: [] },
    initial: "working",
    output: ({ context }) => context,
    states: {
      working: {
        entry: assign({ visits: ({ context }) => context.visits + 1 }),
        invoke: {
          src: "work",
          id: "work",
          onDone: {
            target: "end",
            actions: assign({ results: ({ context, event }) => [...context.results, String(event.output)] }),
          },
        },
        on: { again: { target: "working", reenter: true } },
        after: { 3_600_000: "late" },
      },
      late: { type: "final" },
      end: { type: "final" },
    },
  }),
  { work: fn("work", { attemptTimeoutMs: 86_400_000 }) },
);

/** Waits for `go`, or an hour. */
const waiting = machineDefinition(
  setup({ types: { context: {} as { got: string[] } }, actors: {} }).createMachine({
    id: "waiting",
    context: { got: [] },
    initial: "waiting",
    output: ({ context }) => context,
    states: {
      waiting: {
        on: {
          go: {
            target: "second",
            actions: assign({ got: ({ context, event }) => [...context.got, String(event["n"])] }),
          },
        },
        after: { 3_600_000: "late" },
      },
      second: {
        on: {
          go: {
            target: "end",
            actions: assign({ got: ({ context, event }) => [...context.got, String(event["n"])] }),
          },
        },
      },
      late: { type: "final" },
      end: { type: "final" },
    },
  }),
  {},
);

const definitions: Record<string, Definition> = { two, visits, waiting };
let open: Bench[] = [];
afterEach(async () => {
  await Promise.all(open.map((it) => it.stop()));
  open = [];
});
function benchOf(
  perform: (call: EffectCall, signal: AbortSignal) => Promise<Performed>,
  more: Record<string, Definition> = {},
): Bench {
  const made = bench({ ...definitions, ...more }, perform);
  open.push(made);
  return made;
}
const go = (id: string, n: number, buffered = false) =>
  ({ kind: "event", id, event: { type: "go", n }, buffered }) as const;

describe("hazard 1: a crash between effect and commit", () => {
  const points = ["claim", "commit"].flatMap((operation) =>
    (["before", "after"] as const).flatMap((phase) => [1, 2, 3].map((nth) => ({ operation, phase, nth }))),
  );
  it.each(points)(
    "at the $nth. $operation, $phase it: nothing lost, each effect under one key",
    async (point) => {
      const b = benchOf(async () => done());
      let seen = 0;
      let dead = false;
      b.worker("mortal", {
        ...SHORT_LEASE,
        onCall: async ({ operation, phase }) => {
          if (operation === point.operation && phase === point.phase && (seen += 1) === point.nth)
            dead = true;
          if (dead) await never;
        },
        perform: async () => (dead ? never : done()),
      });
      const key = await b.start("r", null, { definition: "two" });
      await sleep(30);
      b.worker("heir");
      expect(await b.ended(key)).toMatchObject({ status: "succeeded" });
      expect(new Set(b.calls.map(({ effect }) => effect.token))).toEqual(new Set(["1.0", "2.0"]));
      const completed = (await b.history(key)).filter(({ type }) => type === "effect-completed");
      expect(completed.map(({ token }) => token)).toEqual(["1.0", "2.0"]);
      // A dead worker never gives back what it holds.
      open = open.filter((it) => it !== b);
    },
  );

  it("in the middle of a call: it is made again as the same attempt under the same key", async () => {
    const b = benchOf(async () => done());
    let dead = false;
    b.worker("mortal", {
      ...SHORT_LEASE,
      onCall: () => (dead ? never : undefined),
      perform: async () => ((dead = true), never),
    });
    const key = await b.start("r", null, { definition: "two" });
    await b.until(key, () => dead);
    b.worker("heir");
    await b.ended(key);
    expect(b.calls.map(({ effect }) => [effect.token, effect.attempt])).toEqual([
      ["1.0", 1],
      ["1.0", 1],
      ["2.0", 1],
    ]);
    open = open.filter((it) => it !== b);
  });
});

describe("hazard 2: double delivery, duplicate completion", () => {
  it("of a completion: the second one is a duplicate, the state that of one", async () => {
    const definition = machineDefinition(
      setup({ actors: { ask: stub } }).createMachine({
        id: "ask",
        initial: "asking",
        states: { asking: { invoke: { src: "ask", id: "ask", onDone: "end" } }, end: { type: "final" } },
      }),
      { ask: fn("ask", { waitForCallback: true }) },
    );
    const b = benchOf(async () => ({ kind: "waiting" }), { ask: definition });
    b.worker("w");
    const key = await b.start("r", null, { definition: "ask" });
    await b.until(key, ({ effects }) => effects["1.0"]?.waiting !== undefined);
    const outcome = { kind: "done", output: { value: 1 } } as const;
    const both = await Promise.all(
      [1, 2].map(() => b.send(key, { kind: "completed", token: "1.0", outcome })),
    );
    expect(both.map(({ kind }) => kind).sort()).toEqual(["accepted", "duplicate"]);
    await b.ended(key);
    expect((await b.history(key)).filter(({ type }) => type === "effect-completed")).toHaveLength(1);
  });

  it("of callbacks: one that failed is asked again, and only the token of the present attempt counts", async () => {
    const retry = { maxAttempts: 3, backoffBaseMs: 1, backoffCapMs: 1, factor: 1, jitter: 0 };
    const definition = machineDefinition(
      setup({ actors: { ask: stub } }).createMachine({
        id: "ask",
        initial: "asking",
        output: ({ event }) => (event as { output?: unknown }).output,
        states: { asking: { invoke: { src: "ask", id: "ask", onDone: "end" } }, end: { type: "final" } },
      }),
      { ask: fn("ask", { waitForCallback: true, retry }) },
    );
    const b = benchOf(async () => ({ kind: "waiting" }), { ask: definition });
    b.worker("w");
    const key = await b.start("r", null, { definition: "ask" });
    const waiting = (attempt: number) =>
      b.until(key, ({ effects }) => {
        const effect = effects["1.0"];
        return effect?.waiting !== undefined && effect.attempt === attempt;
      });
    const say = (attempt: number, outcome: Outcome) =>
      b.send(key, { kind: "completed", token: "1.0", attempt, outcome });
    const no: Outcome = { kind: "failed", error: { type: "Busy", message: "not now" } };
    const yes: Outcome = { kind: "done", output: { value: "yes" } };
    await waiting(1);
    expect(await say(1, no)).toMatchObject({ kind: "accepted" });
    await waiting(2);
    expect(await say(1, no)).toEqual({ kind: "duplicate" });
    expect(await say(1, yes)).toEqual({ kind: "duplicate" });
    expect(await say(2, yes)).toMatchObject({ kind: "accepted" });
    expect(await b.ended(key)).toMatchObject({ status: "succeeded" });
    expect(await say(2, yes)).toEqual({ kind: "finished" });
    expect(b.calls.map(({ effect }) => effect.attempt)).toEqual([1, 2]);
  });

  it("of wake-ups, at two workers at once: one has the run, each step is called once", async () => {
    const b = benchOf(async () => (await sleep(5), done()));
    b.worker("one");
    b.worker("two");
    const key = await b.start("r", null, { definition: "two" });
    for (let times = 0; times < 20; times++) {
      b.wake(key);
      await sleep(1);
    }
    await b.ended(key);
    expect(b.calls).toHaveLength(2);
  });
});

describe("hazard 3: a zombie", () => {
  it("that wakes after its lease commits nothing: the answer of its call is not taken", async () => {
    const b = benchOf(async () => done("heir"));
    let stopped = false;
    let resume = (): void => {};
    const asleep = new Promise<void>((over) => (resume = over));
    b.worker("zombie", {
      ...SHORT_LEASE,
      onCall: () => (stopped ? asleep : undefined),
      perform: async () => {
        stopped = true;
        await asleep;
        return done("zombie");
      },
    });
    const key = await b.start("r", null, { definition: "visits" });
    await b.until(key, () => stopped);
    await sleep(SHORT_LEASE.leaseMs);
    b.worker("heir");
    const record = await b.ended(key);
    resume();
    await sleep(20);
    expect(record.output).toEqual({ value: { visits: 1, results: ["heir"] } });
    expect(await b.journal.load(key)).toEqual(record);
  });

  it("is none while its heart beats: a step longer than the lease is called once", async () => {
    const lease = { leaseMs: 30_000, renewEveryMs: 20 };
    let beats = 0;
    const b = benchOf(async () => {
      // The store's time goes on by more than two leases, and never by a whole one between two beats, however busy the machine is.
      for (let n = 0; n < 4; n++) {
        const seen = beats;
        b.pass(20_000);
        await expect.poll(() => beats).toBeGreaterThan(seen);
      }
      return done();
    });
    const onCall = ({ operation, phase }: { operation: string; phase: string }): void => {
      if (operation === "renew" && phase === "after") beats += 1;
    };
    b.worker("one", { ...lease, onCall });
    b.worker("two", { ...lease, onCall });
    const key = await b.start("r", null, { definition: "visits" });
    await b.ended(key);
    expect(b.calls).toHaveLength(1);
  });
});

describe("hazard 4: events of an earlier visit of a state", () => {
  it("a completion that comes after the state was left and entered again is dropped", async () => {
    const answers: ((answer: Performed) => void)[] = [];
    const b = benchOf(async () => new Promise((answer) => answers.push(answer)));
    b.worker("w");
    const key = await b.start("r", null, { definition: "visits" });
    await b.until(key, () => answers.length === 1);
    await b.send(key, { kind: "event", id: "e", event: { type: "again" }, buffered: false });
    await b.until(key, () => answers.length === 2);
    expect(
      await b.send(key, {
        kind: "completed",
        token: "1.0",
        outcome: { kind: "done", output: { value: "old" } },
      }),
    ).toEqual({
      kind: "stale",
    });
    answers[0]?.(done("old"));
    await sleep(10);
    answers[1]?.(done("new"));
    expect((await b.ended(key)).output).toEqual({ value: { visits: 2, results: ["new"] } });
  });

  it("the timer of an earlier visit does not strike in a later one", async () => {
    const answers: ((answer: Performed) => void)[] = [];
    const b = benchOf(async () => new Promise((answer) => answers.push(answer)));
    b.worker("w");
    const key = await b.start("r", null, { definition: "visits" });
    await b.until(key, () => answers.length === 1);
    b.pass(3_000_000);
    await b.send(key, { kind: "event", id: "e", event: { type: "again" }, buffered: false });
    await b.until(key, () => answers.length === 2);
    b.pass(1_000_000);
    await sleep(60);
    expect(await b.journal.load(key)).toMatchObject({ status: "running" });
    answers[1]?.(done("new"));
    expect((await b.ended(key)).output).toEqual({ value: { visits: 2, results: ["new"] } });
  });
});

describe("hazard 5: answers of the store that are lost", () => {
  it.each(["before", "after"] as const)(
    "a connection that is lost %s every second commit: the run goes on, each step once",
    async (phase) => {
      const b = benchOf(async () => done());
      let commits = 0;
      b.worker("w", {
        onCall: (call) => {
          if (call.operation === "commit" && call.phase === phase && (commits += 1) % 2 === 1)
            throw new Error("connection lost");
        },
      });
      const key = await b.start("r", null, { definition: "two" });
      expect(await b.ended(key)).toMatchObject({ status: "succeeded" });
      expect(b.calls).toHaveLength(2);
    },
  );
});

describe("hazard 6: clocks", () => {
  it("a timer of years is one that Node's timers cannot hold, and fires at its time", async () => {
    const years = machineDefinition(
      setup({}).createMachine({
        id: "years",
        initial: "waiting",
        states: { waiting: { after: { 157_680_000_000: "end" } }, end: { type: "final" } },
      }),
      {},
    );
    const b = benchOf(async () => done(), { years });
    b.worker("w");
    const key = await b.start("r", null, { definition: "years" });
    const parked = await b.until(key, ({ timers }) => Object.keys(timers).length === 1);
    const due = Object.values(parked.timers)[0]?.dueAt ?? 0;
    b.pass(157_680_000_000 - 100_000);
    await sleep(50);
    expect(await b.journal.load(key)).toMatchObject({ status: "running" });
    b.pass(100_000);
    const { finishedAt } = await b.ended(key);
    expect(finishedAt).toBeGreaterThanOrEqual(due);
  });

  it("a message that calls a timer due before its time does not fire it", async () => {
    const b = benchOf(async () => done());
    b.worker("w");
    const key = await b.start("r", null, { definition: "waiting" });
    await b.until(key, ({ timers }) => "1.0" in timers);
    await b.send(key, { kind: "timer", token: "1.0" });
    await sleep(20);
    expect(await b.journal.load(key)).toMatchObject({ status: "running", timers: { "1.0": {} } });
  });
});

describe("hazard 7: signals", () => {
  it("before the first transition is kept for it", async () => {
    const b = benchOf(async () => done());
    const key = await b.start("r", null, { definition: "waiting" });
    expect(await b.send(key, go("a", 1))).toMatchObject({ kind: "accepted" });
    b.worker("w");
    const record = await b.until(key, ({ states }) => states.includes("second"));
    expect(JSON.parse(record.snapshot)).toMatchObject({ context: { got: ["1"] } });
  });

  it("two in the same instant, one of them twice: each once, in order", async () => {
    const b = benchOf(async () => done());
    const key = await b.start("r", null, { definition: "waiting" });
    const kinds = [
      await b.send(key, go("a", 1)),
      await b.send(key, go("a", 1)),
      await b.send(key, go("b", 2)),
    ];
    expect(kinds.map(({ kind }) => kind)).toEqual(["accepted", "duplicate", "accepted"]);
    b.worker("w");
    expect((await b.ended(key)).output).toEqual({ value: { got: ["1", "2"] } });
  });

  it("accepted before the timeout, taken after it: the signal counts", async () => {
    const b = benchOf(async () => done());
    const first = b.worker("w");
    const key = await b.start("r", null, { definition: "waiting" });
    await b.until(key, ({ timers }) => "1.0" in timers);
    await first.stop(0);
    await b.send(key, go("a", 1));
    b.pass(3_600_001);
    b.worker("x");
    expect((await b.until(key, ({ states }) => !states.includes("waiting"))).states).toEqual(["second"]);
  });

  it("not accepted now is refused, or kept until it is when that is asked for", async () => {
    const later = machineDefinition(
      setup({ actors: { work: stub } }).createMachine({
        id: "later",
        initial: "working",
        states: {
          working: { invoke: { src: "work", id: "work", onDone: "asking" } },
          asking: { on: { go: "end" } },
          end: { type: "final" },
        },
      }),
      { work: fn("work", { attemptTimeoutMs: 86_400_000 }) },
    );
    let answer = (_answer: Performed): void => {};
    const b = benchOf(async () => new Promise((it) => (answer = it)), { later });
    b.worker("w");
    const key = await b.start("r", null, { definition: "later" });
    await b.until(key, () => b.calls.length === 1);
    expect(await b.send(key, go("a", 1))).toEqual({ kind: "refused" });
    expect(await b.send(key, go("b", 2, true))).toMatchObject({ kind: "accepted" });
    await b.until(key, ({ buffered }) => buffered.length === 1);
    answer(done());
    expect(await b.ended(key)).toMatchObject({ status: "succeeded" });
    expect(await b.send(key, go("c", 3))).toEqual({ kind: "finished" });
  });

  describe("taken by name, but to which a guard says no", () => {
    const open = ({ context }: { context: { open: boolean } }) => context.open;
    const guarded = machineDefinition(
      setup({ types: { context: {} as { open: boolean } } }).createMachine({
        id: "guarded",
        context: { open: false },
        initial: "waiting",
        states: {
          waiting: {
            on: {
              go: { guard: open, target: "end" },
              open: { actions: assign({ open: true }) },
              stop: "end",
            },
          },
          end: { type: "final" },
        },
      }),
      {},
    );
    const waitingOne = async (): Promise<{ b: Bench; key: RunKey }> => {
      const b = benchOf(async () => done(), { guarded });
      b.worker("w");
      const key = await b.start("r", null, { definition: "guarded" });
      await b.until(key, ({ states }) => states.includes("waiting"));
      return { b, key };
    };
    const say = (type: string) => ({ kind: "event", id: type, event: { type }, buffered: false }) as const;

    it("is kept when that is asked for, and taken once the guard says yes", async () => {
      const { b, key } = await waitingOne();
      await b.send(key, go("a", 1, true));
      await b.until(key, ({ buffered }) => buffered.length === 1);
      await b.send(key, say("open"));
      expect(await b.ended(key)).toMatchObject({ status: "succeeded", buffered: [] });
      const lines = (await b.history(key)).filter(({ type }) => type === "event");
      expect(lines.map(({ event, note }) => `${event} ${note}`)).toEqual([
        "go a: kept, the machine did not take it yet",
        "open open",
      ]);
    });

    it("is dropped with a line of history otherwise, and so is what is kept when the run ends", async () => {
      const { b, key } = await waitingOne();
      await b.send(key, go("a", 1));
      await b.send(key, go("b", 2, true));
      await b.until(key, ({ buffered }) => buffered.length === 1);
      await b.send(key, say("stop"));
      await b.ended(key);
      const lines = (await b.history(key)).filter(({ type }) => type === "event-dropped");
      expect(lines.map(({ event, note }) => `${event} ${note}`)).toEqual([
        "go a: the machine did not take it",
        "go b: kept until the run succeeded, never taken",
      ]);
    });
  });

  it("arriving at the very commit that parks the run is not slept over", async () => {
    const b = benchOf(async () => done());
    const keys: RunKey[] = [];
    b.worker("w", {
      onCall: async ({ operation, phase, key }) => {
        // Between the worker's last look into the inbox and its commit, by a sender who wakes nobody.
        if (operation === "commit" && phase === "before" && key) await b.journal.deliver(key, go("a", 1));
      },
    });
    keys.push(await b.start("r", null, { definition: "waiting" }));
    const [key] = keys;
    if (key)
      expect((await b.until(key, ({ states }) => states.includes("second"))).states).toEqual(["second"]);
  });
});

describe("hazard 8: versions", () => {
  it("a run of a newer format is left alone", async () => {
    const b = benchOf(async () => done());
    const worker = b.worker("old");
    const key = await b.start("r", null, { definition: "two", format: 99 });
    await sleep(30);
    expect(await worker.take(key)).toBe(false);
    expect(await b.journal.load(key)).toMatchObject({ version: 1, status: "running" });
  });

  it("a definition that cannot be had fails its run with the cause, one that is away for a moment does not", async () => {
    let away = 3;
    const b = benchOf(async () => done());
    b.worker("w", {
      ports: {
        definitions: {
          get: async ({ definition }) => {
            if (definition === "gone") throw new DefinitionError("definition_invalid", "no such code");
            if ((away -= 1) > 0) throw new DefinitionError("definition_unavailable", "the host restarts");
            return two;
          },
        },
      },
    });
    const gone = await b.start("gone", null, { definition: "gone" });
    const back = await b.start("back", null, { definition: "two" });
    expect(await b.ended(gone)).toMatchObject({
      status: "failed",
      error: { type: "definition_invalid", message: "no such code" },
    });
    expect(await b.ended(back)).toMatchObject({ status: "succeeded" });
  });
});

describe("a run whose definition cannot be had", () => {
  const undoable = machineDefinition(
    setup({ actors: { charge: stub, refund: stub, last: stub } }).createMachine({
      id: "undoable",
      initial: "charge",
      states: {
        charge: { invoke: { src: "charge", id: "charge", onDone: "last" } },
        last: { invoke: { src: "last", id: "last", onDone: "end" } },
        end: { type: "final" },
      },
    }),
    {
      charge: fn("charge", { compensation: "refund" }),
      last: fn("last", { waitForCallback: true }),
      refund: fn("refund", { path: "/undo" }),
    },
  );
  const pins = {
    charge: { kind: "function", name: "charge", version: "charge-v1" },
    last: { kind: "function", name: "last", version: "last-v1" },
    refund: { kind: "function", name: "refund", version: "refund-v1", path: "/undo" },
  } as const;
  const away = new DefinitionError("definition_unavailable", "the host is down");
  const perform = async ({ effect }: EffectCall): Promise<Performed> =>
    effect.actor === "last" ? { kind: "waiting" } : done(effect.actor);
  /** Parked in its second step, the first one done; then its definition is lost as `error` says. */
  async function lost(fault: DefinitionError): Promise<{ b: Bench; key: RunKey }> {
    const b = benchOf(perform, { undoable });
    const before = b.worker("before");
    const key = await b.start("r", null, { definition: "undoable", pins });
    await b.until(key, ({ effects }) => effects["2.0"]?.waiting !== undefined);
    await before.stop(0);
    b.worker("after", { ports: { definitions: { get: () => Promise.reject(fault) } } });
    return { b, key };
  }
  const undone = (b: Bench) =>
    b.calls.flatMap(({ effect, actor }) => (effect.compensates ? [{ token: effect.token, actor }] : []));

  it("is cancelled and undone by what it pins", async () => {
    const { b, key } = await lost(away);
    await b.send(key, { kind: "cancel", reason: "no more" });
    expect(await b.ended(key)).toMatchObject({
      status: "cancelled",
      error: { message: "The run was cancelled: no more" },
    });
    expect(undone(b).map(({ actor }) => actor)).toEqual([
      { kind: "function", name: "refund", version: "refund-v1", path: "/undo" },
    ]);
    expect((await b.history(key)).filter(({ type }) => type === "compensated")).toHaveLength(1);
  });

  it("is cancelled while it waits for it, with the answer that came before undone as well", async () => {
    const { b, key } = await lost(away);
    const outcome = { kind: "done", output: { value: null } } as const;
    await b.send(key, { kind: "completed", token: "2.0", attempt: 1, outcome });
    await b.send(key, { kind: "event", id: "e", event: { type: "any" }, buffered: true });
    await b.until(key, () => b.faults.length > 0);
    await b.send(key, { kind: "cancel", reason: "" });
    expect(await b.ended(key)).toMatchObject({ status: "cancelled" });
    const lines = (await b.history(key)).map(({ type, token }) => `${type} ${token ?? ""}`.trim());
    expect(lines).toContain("effect-completed 2.0");
    expect(lines).toContain("event-dropped");
    expect(undone(b)).toHaveLength(1);
  });

  it("is terminated, and nothing is called", async () => {
    const { b, key } = await lost(away);
    await b.send(key, { kind: "terminate", reason: "" });
    expect(await b.ended(key)).toMatchObject({ status: "terminated" });
    expect(undone(b)).toEqual([]);
  });

  it("is cancelled before its first transition", async () => {
    const b = benchOf(perform);
    b.worker("w", { ports: { definitions: { get: async () => Promise.reject(away) } } });
    const key = await b.start("r", null, { definition: "undoable", pins });
    await b.until(key, () => b.faults.length > 0);
    await b.send(key, { kind: "cancel", reason: "" });
    expect(await b.ended(key)).toMatchObject({ status: "cancelled" });
    expect(b.calls).toEqual([]);
  });

  it("times out at its deadline", async () => {
    const b = benchOf(perform);
    b.worker("w", { ports: { definitions: { get: async () => Promise.reject(away) } } });
    const at = (await b.journal.now()) + 50;
    const key = await b.start("r", null, { definition: "undoable", pins }, at);
    expect(await b.ended(key)).toMatchObject({ status: "timed-out" });
  });

  it("is cancelled though only its transitions fail", async () => {
    const b = benchOf(perform);
    const dead = { ...undoable, transition: async () => Promise.reject(away) };
    b.worker("w", { ports: { definitions: { get: async () => dead } } });
    const key = await b.start("r", null, { definition: "undoable", pins });
    await b.until(key, () => b.faults.length > 0);
    await b.send(key, { kind: "cancel", reason: "" });
    expect(await b.ended(key)).toMatchObject({ status: "cancelled" });
    // The charge was answered though the machine never heard of it.
    expect(undone(b)).toHaveLength(1);
  });

  it("fails when it is gone for good, and is undone all the same", async () => {
    const { b, key } = await lost(new DefinitionError("definition_invalid", "no longer stored"));
    await b.send(key, { kind: "heartbeat", token: "2.0" });
    expect(await b.ended(key)).toMatchObject({
      status: "failed",
      error: { type: "definition_invalid", message: "no longer stored" },
    });
    expect(undone(b)).toHaveLength(1);
  });
});

describe("hazard 9: fan-in, cancel, compensation, parents", () => {
  const N = 50;
  const names = Array.from({ length: N }, (_, n) => `b${n}`);
  const fan = machineDefinition(
    setup({ actors: Object.fromEntries(names.map((name) => [name, stub])) }).createMachine({
      id: "fan",
      type: "parallel",
      states: Object.fromEntries(
        names.map((name) => [
          name,
          {
            initial: "on",
            states: { on: { invoke: { src: name, id: name, onDone: "off" } }, off: { type: "final" } },
          },
        ]),
      ),
    }),
    Object.fromEntries(names.map((name) => [name, fn(name)])),
  );

  it("branches that complete in one instant: none lost, the join fires once", async () => {
    let release = (): void => {};
    const gate = new Promise<void>((open) => (release = open));
    const b = benchOf(async () => (await gate, done()), { fan });
    b.worker("w");
    const key = await b.start("r", null, { definition: "fan" });
    await b.until(key, () => b.calls.length === N);
    release();
    expect(await b.ended(key)).toMatchObject({ status: "succeeded" });
    const history = await b.history(key);
    expect(history.filter(({ type }) => type === "effect-completed")).toHaveLength(N);
    expect(history.filter(({ type }) => type === "finished")).toHaveLength(1);
  });

  const saga = machineDefinition(
    setup({ actors: { charge: stub, ship: stub, refund: stub, recall: stub, last: stub } }).createMachine({
      id: "saga",
      initial: "charge",
      states: {
        charge: { invoke: { src: "charge", id: "charge", onDone: "ship" } },
        ship: { invoke: { src: "ship", id: "ship", onDone: "last" } },
        last: { invoke: { src: "last", id: "last", onDone: "end" } },
        end: { type: "final" },
      },
    }),
    {
      charge: fn("charge", { compensation: "refund" }),
      ship: fn("ship", { compensation: "recall" }),
      last: fn("last"),
      refund: fn("refund", {
        retry: { maxAttempts: 3, backoffBaseMs: 1, backoffCapMs: 1, factor: 1, jitter: 0 },
      }),
      recall: fn("recall"),
    },
  );

  it("a failure undoes what was done, the last first, each with the input and output of what it undoes; a compensation that fails is tried again", async () => {
    const tries: string[] = [];
    const b = benchOf(
      async ({ effect }) => {
        tries.push(effect.actor);
        if (effect.actor === "last") return failure("no");
        if (effect.actor === "refund" && tries.filter((name) => name === "refund").length < 3)
          return failure("busy");
        return done(`${effect.actor} done`);
      },
      { saga },
    );
    b.worker("w");
    const key = await b.start("r", null, { definition: "saga" });
    expect(await b.ended(key)).toMatchObject({
      status: "failed",
      error: { message: "no" },
      compensations: [],
    });
    expect(tries).toEqual(["charge", "ship", "last", "recall", "refund", "refund", "refund"]);
    expect(b.calls.at(-1)?.effect).toMatchObject({
      compensates: { token: "1.0", output: { value: "charge done" } },
    });
  });

  it("a compensation that fails for good does not keep the others from being made, and the run says so", async () => {
    const b = benchOf(
      async ({ effect }) =>
        ["last", "recall"].includes(effect.actor)
          ? failure(`${effect.actor}: no`, "Fission.PermanentError")
          : done(),
      { saga },
    );
    b.worker("w");
    const key = await b.start("r", null, { definition: "saga" });
    expect((await b.ended(key)).error?.message).toBe('last: no; compensation "recall" failed: recall: no');
    expect(b.calls.at(-1)?.effect.actor).toBe("refund");
  });

  it("cancel aborts the call under way and undoes what was done; terminate undoes nothing", async () => {
    let aborted = 0;
    const b = benchOf(
      async ({ effect }, signal) => {
        if (effect.actor !== "last") return done();
        const answer = await untilAborted(signal);
        aborted += 1;
        return answer;
      },
      { saga },
    );
    b.worker("w");
    const ends = await Promise.all(
      (["cancel", "terminate"] as const).map(async (kind) => {
        const key = await b.start(kind, null, { definition: "saga" });
        await b.until(
          key,
          ({ states }) =>
            states.includes("last") &&
            b.calls.some(({ facts, effect }) => facts.key.id === kind && effect.actor === "last"),
        );
        await b.send(key, { kind, reason: "enough" });
        const record = await b.ended(key);
        const undone = (await b.history(key)).filter(({ type }) => type === "compensated");
        return [record.status, record.error?.message, undone.map(({ actor }) => actor)];
      }),
    );
    expect(ends).toEqual([
      ["cancelled", "The run was cancelled: enough", ["recall", "refund"]],
      ["terminated", "The run was terminated: enough", []],
    ]);
    await expect.poll(() => aborted).toBe(2);
  });

  it("cancel in the instant of the last completion: one end, and it stays", async () => {
    for (let times = 0; times < 20; times++) {
      const answers: ((answer: Performed) => void)[] = [];
      const b = benchOf(async () => new Promise((answer) => answers.push(answer)));
      b.worker("w");
      const key = await b.start("r", null, { definition: "visits" });
      await b.until(key, () => answers.length === 1);
      answers[0]?.(done("x"));
      await b.send(key, { kind: "cancel", reason: "" });
      const record = await b.ended(key);
      expect(["succeeded", "cancelled"]).toContain(record.status);
      await sleep(2);
      expect(await b.journal.load(key)).toEqual(record);
      expect((await b.history(key)).filter(({ type }) => type === "finished")).toHaveLength(1);
      await b.stop();
    }
  });

  it("a child's end reaches its parent though the child's worker dies between the two", async () => {
    const parent = machineDefinition(
      setup({ actors: { child: stub } }).createMachine({
        id: "parent",
        initial: "nesting",
        states: { nesting: { invoke: { src: "child", id: "child", onDone: "end" } }, end: { type: "final" } },
      }),
      { child: { kind: "workflow", name: "two", parentClose: "cancel" } },
    );
    const b = benchOf(async () => done(), { parent });
    const nested = async (call: EffectCall): Promise<Performed> => {
      if (call.actor.kind !== "workflow") return done();
      const { key } = call.facts;
      const tell = { key, token: call.effect.token, close: "cancel" } as const;
      await b.start(childRunKey(key, call.effect.token).id, null, { definition: "two", parent: tell });
      return { kind: "waiting" };
    };
    let dead = false;
    b.worker("mortal", {
      ...SHORT_LEASE,
      perform: async (call) => (dead ? never : nested(call)),
      onCall: () => (dead ? never : undefined),
      ports: { deliver: async () => ((dead = true), never) },
    });
    const key = await b.start("p", null, { definition: "parent" });
    await b.until(key, () => dead);
    b.worker("heir", { perform: nested });
    expect(await b.ended(key)).toMatchObject({ status: "succeeded" });
    open = open.filter((it) => it !== b);
  });

  it("a cancelled parent cancels its child, unless it is abandoned to itself", async () => {
    for (const close of ["cancel", "abandon"] as const) {
      const parent = machineDefinition(
        setup({ actors: { child: stub } }).createMachine({
          id: "parent",
          initial: "nesting",
          states: {
            nesting: { invoke: { src: "child", id: "child", onDone: "end" } },
            end: { type: "final" },
          },
        }),
        { child: { kind: "workflow", name: "waiting", parentClose: close } },
      );
      const b = benchOf(
        async (call) => {
          const { key } = call.facts;
          const tell = { key, token: call.effect.token, close } as const;
          await b.start(childRunKey(key, call.effect.token).id, null, {
            definition: "waiting",
            parent: tell,
          });
          return { kind: "waiting" };
        },
        { parent },
      );
      b.worker("w");
      const key = await b.start("p", null, { definition: "parent" });
      const child = childRunKey(key, "1.0");
      await b.until(child, ({ states }) => states.includes("waiting"));
      await b.send(key, { kind: "cancel", reason: "" });
      expect(await b.ended(key)).toMatchObject({ status: "cancelled" });
      if (close === "cancel") expect(await b.ended(child)).toMatchObject({ status: "cancelled" });
      else expect(await b.journal.load(child)).toMatchObject({ status: "running" });
    }
  });
});

describe("steps that stand for many, or for other runs", () => {
  const quick = { maxAttempts: 3, backoffBaseMs: 1, backoffCapMs: 1, factor: 1, jitter: 0 };
  const mapping = (each: object, name = "mapping") =>
    machineDefinition(
      setup({ actors: { each: stub } }).createMachine({
        id: name,
        context: {},
        initial: "on",
        output: ({ context }) => context.out,
        states: {
          on: {
            invoke: {
              src: "each",
              id: "each",
              input: ["a", "b", "c"],
              onDone: { target: "off", actions: assign({ out: ({ event }) => event.output }) },
            },
          },
          off: { type: "final" },
        },
      }),
      { each: { kind: "map", each, maxConcurrency: 2, tolerated: 0 } as ActorFacts },
    );
  const pins = { each: { kind: "function", name: "ask", version: "v1" } } as const;

  /** The platform's own performer over functions of the test. */
  function performing(b: Bench, call: (call: FunctionCall) => Promise<CallResult>) {
    const performer = effectPerformer({
      journal: b.journal,
      payloads: { inlineBytes: 262_144, store: () => never, load: () => never },
      clock: {
        now: () => Date.now(),
        after: (ms, then) => {
          const timer = setTimeout(then, ms);
          return () => clearTimeout(timer);
        },
      },
      random: () => 0.5,
      call,
      tokens: { make: ({ token, attempt }) => `${token}#${attempt}` },
      startChild: childStarter(async ({ id, workflow, parent, input }) => {
        await b.start(id, input, { definition: workflow, workflow, ...(parent && { parent }) });
        const record = await b.journal.load({ namespace: "shop", id });
        if (!record) throw new Error("not started");
        return { record };
      }),
      cancel: (key, reason) => b.send(key, { kind: "cancel", reason }),
    });
    return (effect: EffectCall, signal: AbortSignal) => performer.perform(effect, signal);
  }

  it("items that wait for callbacks: the run is given back meanwhile, each attempt has a token of its own, results in order", async () => {
    const tokens: string[] = [];
    const asking = { kind: "function", name: "ask", waitForCallback: true, retry: quick };
    const b = benchOf(async () => done(), { mapping: mapping(asking) });
    const perform = performing(b, async ({ callbackToken = "" }) => {
      tokens.push(callbackToken);
      return { kind: "accepted" };
    });
    const worker = b.worker("w", { perform });
    const key = await b.start("r", null, { definition: "mapping", pins });
    const say = (token: string, attempt: number, outcome: Outcome) =>
      b.send(key, { kind: "completed", token, attempt, outcome });
    const parked = async (n: number): Promise<void> => {
      await b.until(key, () => tokens.length === n);
      await b.until(key, ({ effects }) => effects["1.0"]?.waiting !== undefined && worker.held() === 0);
    };
    await parked(2);
    expect(tokens.toSorted()).toEqual(["1.0.0#1", "1.0.1#1"]);
    expect(await say("1.0.1", 1, { kind: "done", output: { value: "B" } })).toMatchObject({
      kind: "accepted",
    });
    expect(await say("1.0.1", 1, { kind: "done", output: { value: "B2" } })).toEqual({ kind: "duplicate" });
    await parked(3);
    await say("1.0.0", 1, { kind: "failed", error: { type: "Busy", message: "later" } });
    await parked(4);
    expect(tokens.slice(2)).toEqual(["1.0.2#1", "1.0.0#2"]);
    await say("1.0.2", 1, { kind: "done", output: { value: "C" } });
    await say("1.0.0", 2, { kind: "done", output: { value: "A" } });
    expect((await b.ended(key)).output).toEqual({ value: ["A", "B", "C"] });
  });

  it("an item that nobody answers in time has failed", async () => {
    const asking = { kind: "function", name: "ask", waitForCallback: true, attemptTimeoutMs: 60 };
    const b = benchOf(async () => done(), { mapping: mapping(asking) });
    b.worker("w", { perform: performing(b, async () => ({ kind: "accepted" })) });
    const key = await b.start("r", null, { definition: "mapping", pins });
    expect(await b.ended(key)).toMatchObject({ status: "failed", error: { type: "Fission.Timeout" } });
  });

  it("attempts of items outlive their worker: a crash gives no further ones", async () => {
    const attempts: number[] = [];
    const flaky = {
      kind: "function",
      name: "ask",
      retry: { ...quick, backoffBaseMs: 300, backoffCapMs: 300 },
    };
    const b = benchOf(async () => done(), { mapping: mapping(flaky) });
    let dead = false;
    const call = async ({ token, attempt }: FunctionCall): Promise<CallResult> => {
      if (token !== "1.0.0") return { kind: "done", output: token };
      attempts.push(attempt);
      return { kind: "failed", error: { type: "Fission.FunctionError", message: "no" } };
    };
    b.worker("mortal", {
      ...SHORT_LEASE,
      onCall: () => (dead ? never : undefined),
      perform: performing(b, async (given) => (dead ? never : call(given))),
    });
    const key = await b.start("r", null, { definition: "mapping", pins });
    const second = async () =>
      (await b.journal.getItemNotes(key, "1.0", 0, 1))[0]?.state?.includes('"attempt":2') === true;
    while (!(await second())) await sleep(2);
    dead = true;
    b.worker("heir", { perform: performing(b, call) });
    expect(await b.ended(key)).toMatchObject({ status: "failed" });
    expect(attempts).toEqual([1, 2, 3]);
    open = open.filter((it) => it !== b);
  });

  it("items that are runs of their own tell their parent, which waits for them without being held", async () => {
    const child = { kind: "workflow", name: "two", parentClose: "cancel" };
    const b = benchOf(async () => done(), { mapping: mapping(child) });
    const inner = performing(b, async () => ({ kind: "done", output: null }));
    b.worker("w", {
      perform: async (call, signal) => (call.effect.map ? inner(call, signal) : done("step")),
    });
    const key = await b.start("r", null, {
      definition: "mapping",
      pins: { each: { kind: "workflow", name: "two" } },
    });
    expect((await b.ended(key)).output).toEqual({ value: [null, null, null] });
    expect(await b.journal.load(childRunKey(key, "1.0.2"))).toMatchObject({ status: "succeeded" });
  });

  const nesting = (more: Partial<WorkflowActor>) =>
    machineDefinition(
      setup({ actors: { child: stub } }).createMachine({
        id: "nesting",
        initial: "on",
        states: { on: { invoke: { src: "child", id: "child", onDone: "off" } }, off: { type: "final" } },
      }),
      { child: { kind: "workflow", name: "two", parentClose: "cancel", ...more } },
    );
  const nested = { pins: { child: { kind: "workflow", name: "two" } } } as const;

  it("a child run that fails is started anew as its step says, one that was cancelled is not", async () => {
    const b = benchOf(async () => done(), { nesting: nesting({ retry: quick }) });
    const inner = performing(b, () => never);
    let tries = 0;
    b.worker("w", {
      perform: async (call, signal) => {
        if (call.actor.kind === "workflow") return inner(call, signal);
        if (call.facts.key.id.startsWith("stopped")) return untilAborted(signal);
        return call.effect.actor === "one" && (tries += 1) < 3 ? failure("no") : done();
      },
    });
    const key = await b.start("r", null, { definition: "nesting", ...nested });
    expect(await b.ended(key)).toMatchObject({ status: "succeeded" });
    const statuses = [1, 2, 3].map(
      async (attempt) => (await b.journal.load(childRunKey(key, "1.0", attempt)))?.status,
    );
    expect(await Promise.all(statuses)).toEqual(["failed", "failed", "succeeded"]);
    const stopped = await b.start("stopped", null, { definition: "nesting", ...nested });
    const child = childRunKey(stopped, "1.0");
    await b.until(child, ({ states }) => states.includes("a"));
    await b.send(child, { kind: "cancel", reason: "by hand" });
    expect(await b.ended(stopped)).toMatchObject({ status: "failed", error: { type: "run_cancelled" } });
  });

  it("a child run that takes longer than its step allows is cancelled", async () => {
    const b = benchOf(async () => done(), { nesting: nesting({ attemptTimeoutMs: 80 }) });
    const inner = performing(b, () => never);
    b.worker("w", {
      perform: async (call, signal) =>
        call.actor.kind === "workflow" ? inner(call, signal) : untilAborted(signal),
    });
    const key = await b.start("r", null, { definition: "nesting", ...nested });
    expect(await b.ended(key)).toMatchObject({ status: "failed", error: { type: "Fission.Timeout" } });
    expect(await b.ended(childRunKey(key, "1.0"))).toMatchObject({ status: "cancelled" });
  });
});

describe("hazard 10: poison, loops, limits", () => {
  it("a guard that throws fails its run with the cause, once, and no other run", async () => {
    let asked = 0;
    const poison = machineDefinition(
      setup({
        actors: { one: stub },
        guards: {
          bad: () => {
            asked += 1;
            throw new Error("cannot read the guard's field");
          },
        },
      }).createMachine({
        id: "poison",
        initial: "a",
        states: {
          a: { invoke: { src: "one", id: "one", onDone: { guard: "bad", target: "end" } } },
          end: { type: "final" },
        },
      }),
      { one: fn("one") },
    );
    const b = benchOf(async () => done(), { poison });
    b.worker("w");
    const [bad, good] = [
      await b.start("bad", null, { definition: "poison" }),
      await b.start("good", null, { definition: "two" }),
    ];
    const { status, error } = await b.ended(bad);
    expect([status, error?.type, error?.message.includes("cannot read the guard's field")]).toEqual([
      "failed",
      "definition_threw",
      true,
    ]);
    expect(asked).toBe(1);
    expect(await b.ended(good)).toMatchObject({ status: "succeeded" });
  });

  it("a payload beyond the store's cap fails its run instead of being tried for ever", async () => {
    const b = benchOf(async () => done("x".repeat(300_000)));
    const store = async (): Promise<never> => {
      throw new PlatformError("payload_too_large", "Cannot store it");
    };
    b.worker("w", { ports: { payloads: { inlineBytes: 262_144, store, load: async () => null } } });
    const key = await b.start("r", null, { definition: "two" });
    expect(await b.ended(key)).toMatchObject({ status: "failed", error: { type: "payload_too_large" } });
  });

  it("a full worker keeps nobody waiting whom another one can take", async () => {
    const b = benchOf(async ({ facts }, signal) =>
      facts.key.id.startsWith("slow") ? untilAborted(signal) : done(),
    );
    const small = b.worker("small", { maxRuns: 2 });
    for (const id of ["slow-1", "slow-2"]) await b.start(id, null, { definition: "two" });
    await b.until({ namespace: "shop", id: "slow-2" }, () => b.calls.length === 2);
    expect(small.held()).toBe(2);
    b.worker("large");
    const key = await b.start("quick", null, { definition: "two" });
    expect(await b.ended(key)).toMatchObject({ status: "succeeded" });
  });

  it("an overload parks the effect and uses up no attempt", async () => {
    let refusals = 3;
    const b = benchOf(async () =>
      (refusals -= 1) >= 0 ? { kind: "later", afterMs: 5, reason: "queue full" } : done(),
    );
    b.worker("w");
    const key = await b.start("r", null, { definition: "two" });
    await b.ended(key);
    expect(b.calls.map(({ effect }) => effect.attempt)).toEqual([1, 1, 1, 1, 1]);
  });

  it("an overload without end is one of the step's own: its total time limit ends it", async () => {
    const limited = machineDefinition(
      setup({ actors: { one: stub } }).createMachine({
        id: "limited",
        initial: "a",
        states: { a: { invoke: { src: "one", id: "one", onDone: "end" } }, end: { type: "final" } },
      }),
      { one: fn("one", { totalTimeoutMs: 60_000 }) },
    );
    const b = benchOf(async () => ({ kind: "later", afterMs: 5, reason: "queue full" }), { limited });
    b.worker("w");
    const key = await b.start("r", null, { definition: "limited" });
    await b.until(key, () => b.calls.length >= 3);
    b.pass(60_000);
    expect(await b.ended(key)).toMatchObject({
      status: "failed",
      error: { type: "Fission.Timeout", message: 'Step "one" could not be made within 60000 ms: queue full' },
    });
  });

  it("a worker that is stopped in the middle of a call uses up no attempt and gives the run to the next at once", async () => {
    const b = benchOf(async () => done());
    const first = b.worker("first", { leaseMs: 60_000, perform: (_call, signal) => untilAborted(signal) });
    const key = await b.start("r", null, { definition: "two" });
    await b.until(key, () => b.calls.length === 1);
    await first.stop(10);
    b.worker("second");
    await b.ended(key);
    expect(b.calls.map(({ effect }) => [effect.token, effect.attempt])).toEqual([
      ["1.0", 1],
      ["1.0", 1],
      ["2.0", 1],
    ]);
  });
});

describe("limits of time", () => {
  it("an attempt that takes too long is aborted and tried again, all together within the total", async () => {
    const retry = { maxAttempts: 100, backoffBaseMs: 5, backoffCapMs: 5, factor: 1, jitter: 0 };
    const slow = machineDefinition(
      setup({ actors: { one: stub } }).createMachine({
        id: "slow",
        initial: "a",
        states: { a: { invoke: { src: "one", id: "one", onDone: "end" } }, end: { type: "final" } },
      }),
      { one: fn("one", { attemptTimeoutMs: 20, totalTimeoutMs: 60_000, retry }) },
    );
    const b = benchOf((_call, signal) => untilAborted(signal), { slow });
    b.worker("w");
    const key = await b.start("r", null, { definition: "slow" });
    await b.until(key, () => b.calls.length >= 3);
    b.pass(60_000);
    expect(await b.ended(key)).toMatchObject({ status: "failed", error: { type: "Fission.Timeout" } });
    expect(b.calls.map(({ effect }) => effect.attempt)).toEqual(b.calls.map((_, at) => at + 1));
  });

  it("a run's deadline ends it as timed out; taken up again it goes on with the step it was at", async () => {
    let stuck = true;
    const b = benchOf((_call, signal) => (stuck ? untilAborted(signal) : Promise.resolve(done())));
    b.worker("w");
    const key = await b.start("r", null, { definition: "two" }, (await b.journal.now()) + 200_000);
    await b.until(key, () => b.calls.length === 1);
    // Sooner than the attempt's own limit.
    b.pass(200_001);
    const record = await b.ended(key);
    expect(record).toMatchObject({ status: "timed-out", error: { type: "Fission.Timeout" } });
    stuck = false;
    const again = resumed(record, await b.journal.now());
    if (!again) throw new Error("not resumable");
    expect(await b.journal.reopen(record.version, again.record, again.history)).toBe("reopened");
    expect(await b.ended(key)).toMatchObject({ status: "succeeded" });
    expect(b.calls.map(({ effect }) => effect.token)).toEqual(["1.0", "3.0", "4.0"]);
  });

  it("a step that stays silent for longer than its heartbeat has failed; a heartbeat keeps it alive", async () => {
    const silent = machineDefinition(
      setup({ actors: { one: stub } }).createMachine({
        id: "silent",
        initial: "a",
        states: { a: { invoke: { src: "one", id: "one", onDone: "end" } }, end: { type: "final" } },
      }),
      { one: fn("one", { waitForCallback: true, heartbeatMs: 1_000_000 }) },
    );
    const b = benchOf(async () => ({ kind: "waiting" }), { silent });
    b.worker("w");
    const key = await b.start("r", null, { definition: "silent" });
    const first = await b.until(key, ({ effects }) => effects["1.0"]?.waiting !== undefined);
    // Of another size than what a busy machine stands still for.
    b.pass(800_000);
    await b.send(key, { kind: "heartbeat", token: "1.0" });
    await b.until(key, ({ version }) => version > first.version);
    b.pass(800_000);
    await sleep(30);
    expect(await b.journal.load(key)).toMatchObject({ status: "running" });
    b.pass(300_000);
    expect(await b.ended(key)).toMatchObject({
      status: "failed",
      error: { type: "Fission.Timeout", message: 'Step "one" gave no heartbeat for 1000000 ms' },
    });
  });
});
