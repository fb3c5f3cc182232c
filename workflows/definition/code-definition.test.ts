import { describe, expect, it } from "vitest";
import { assign, emit, log, raise, setup } from "xstate";
import { z } from "zod";
import { compensate, defineWorkflow, duration, failure, fn, map, workflow } from "../../sdk/workflows.ts";
import { doneEvent, errorEvent } from "./definition.ts";

const order = () =>
  setup({
    types: {
      input: {} as { order: string },
      context: {} as { order: string; receipt?: string; why?: string },
      events: {} as { type: "APPROVE"; by: string } | { type: "REJECT" },
    },
    actors: {
      charge: compensate(
        fn<{ order: string }, { receipt: string }>("charge-card", { retry: 5, timeout: "10s" }),
        fn("refund-card"),
      ),
      ship: fn<{ order: string }, string>("ship", { alias: "live" }),
      each: map(fn<string, number>("each"), { maxConcurrency: 3, tolerated: "10%" }),
      child: workflow<{ x: number }, string>("child"),
    },
    delays: { reminder: duration("3d") },
  }).createMachine({
    id: "order",
    context: ({ input }) => ({ order: input.order }),
    initial: "charging",
    states: {
      charging: {
        invoke: {
          src: "charge",
          id: "charge",
          input: ({ context }) => ({ order: context.order }),
          onDone: { target: "waiting", actions: assign({ receipt: ({ event }) => event.output.receipt }) },
          onError: { target: "failed", actions: assign({ why: ({ event }) => failure(event).type }) },
        },
      },
      waiting: {
        after: { reminder: { target: "failed" } },
        on: {
          APPROVE: { target: "done", actions: [log("approved"), emit({ type: "APPROVED" })] },
          REJECT: "failed",
        },
      },
      done: { type: "final" },
      failed: { type: "final" },
    },
    output: ({ context }) => ({ receipt: context.receipt ?? null }),
  });

describe("a machine as a reducer", () => {
  const definition = defineWorkflow({ machine: order(), input: z.object({ order: z.string() }) });

  it("goes from step to timer to event to output, by JSON alone", () => {
    const started = definition.start({ order: "o1" });
    expect(started).toMatchObject({ status: "active", states: ["charging"], accepts: [] });
    expect(started.actions).toEqual([
      { kind: "invoke", id: "charge", actor: "charge", input: { order: "o1" } },
    ]);
    const paid = definition.transition(started.snapshot, doneEvent("charge", { receipt: "r1" }));
    expect(paid.states).toEqual(["waiting"]);
    expect(paid.accepts).toEqual(["APPROVE", "REJECT"]);
    expect(paid.actions).toEqual([
      { kind: "stop", id: "charge" },
      {
        kind: "timer",
        id: "xstate.after.reminder.order.waiting",
        event: { type: "xstate.after.reminder.order.waiting" },
        delayMs: 259_200_000,
      },
    ]);
    const same = definition.transition(paid.snapshot, { type: "SOMETHING" });
    expect(same.snapshot).toBe(paid.snapshot);
    expect(same.actions).toEqual([]);
    const done = definition.transition(paid.snapshot, { type: "APPROVE", by: "me" });
    expect(done).toMatchObject({ status: "done", output: { receipt: "r1" }, states: ["done"], accepts: [] });
    expect(done.actions).toEqual([
      { kind: "cancel-timer", id: "xstate.after.reminder.order.waiting" },
      { kind: "log", label: "", value: "approved" },
      { kind: "emit", event: { type: "APPROVED" } },
    ]);
  });

  it("gives a step's failure to onError", () => {
    const started = definition.start({ order: "o1" });
    const failed = definition.transition(
      started.snapshot,
      errorEvent("charge", { type: "Fission.Timeout", message: "m" }),
    );
    expect(failed).toMatchObject({ status: "done", states: ["failed"] });
    expect(JSON.parse(failed.snapshot)).toMatchObject({ context: { why: "Fission.Timeout" } });
  });

  it("tells its actors, schemas and graph", () => {
    const facts = definition.facts();
    expect(facts.actors).toEqual({
      charge: {
        kind: "function",
        name: "charge-card",
        retry: { maxAttempts: 5, backoffBaseMs: 1000, backoffCapMs: 60_000, factor: 2, jitter: 0.5 },
        attemptTimeoutMs: 10_000,
        compensation: "charge.compensation",
      },
      "charge.compensation": { kind: "function", name: "refund-card" },
      ship: { kind: "function", name: "ship", alias: "live" },
      each: {
        kind: "map",
        each: { kind: "function", name: "each" },
        maxConcurrency: 3,
        tolerated: { share: 0.1 },
      },
      child: { kind: "workflow", name: "child", parentClose: "cancel" },
    });
    expect(facts.input).toMatchObject({ type: "object", required: ["order"] });
    expect(facts.graph).toMatchObject({ id: "order", type: "compound", initial: "charging" });
    expect(facts.graph.states.map(({ key }) => key)).toEqual(["charging", "waiting", "done", "failed"]);
    expect(JSON.parse(JSON.stringify(facts))).toEqual(facts);
  });

  it("refuses an input that does not fit its schema", () => {
    expect(definition.checkInput({})).toMatch(/"order": Invalid input/);
    expect(() => definition.start({})).toThrow(/The input is not as the workflow declares/);
  });

  it("refuses events that are the engine's own, or unknown", () => {
    const strict = defineWorkflow({ machine: order(), events: { APPROVE: z.object({ by: z.string() }) } });
    expect(strict.checkEvent({ type: "xstate.done.actor.charge" })).toMatch(/engine's own/);
    expect(strict.checkEvent({ type: "OTHER" })).toBe('there is no event "OTHER": allowed are "APPROVE"');
    expect(strict.checkEvent({ type: "APPROVE" })).toMatch(/"by"/);
    expect(strict.checkEvent({ type: "APPROVE", by: "me" })).toBeUndefined();
  });
});

describe("what a workflow cannot do", () => {
  const run = (context: () => Record<string, unknown>) =>
    defineWorkflow({
      machine: setup({}).createMachine({ id: "m", context, initial: "a", states: { a: { type: "final" } } }),
    }).start(null);

  it.each([
    ["a Date", () => ({ at: new Date(0) }), /"context.at" is a Date, which JSON cannot hold.*toISOString/],
    ["a Map", () => ({ at: [new Map()] }), /"context.at\[0\]" is a Map/],
    ["a bigint", () => ({ n: 1n }), /"context.n" is a bigint/],
    ["NaN", () => ({ n: Number.NaN }), /"context.n" is NaN/],
    ["a function", () => ({ f: () => 1 }), /"context.f" is a function/],
  ])("keeps %s in its context", (_name, context, message) => {
    expect(() => run(context)).toThrow(message);
  });

  it("spawns in an assign", () => {
    const machine = setup({ actors: { charge: fn("charge") } }).createMachine({
      id: "m",
      context: {},
      entry: assign(({ spawn }) => ({ ref: spawn("charge", { id: "c" }).id })),
    });
    expect(() => defineWorkflow({ machine }).start(null)).toThrow('Cannot spawn actor "c" in an assign');
  });

  it("raises later without an id", () => {
    const machine = setup({}).createMachine({ id: "m", entry: raise({ type: "X" }, { delay: 10 }) });
    expect(() => defineWorkflow({ machine }).start(null)).toThrow(/delayed raise needs an id/);
  });

  it("loops for ever", () => {
    const machine = setup({}).createMachine({
      id: "m",
      initial: "a",
      states: { a: { always: "b" }, b: { always: "a" } },
    });
    expect(defineWorkflow({ machine }).start(null)).toMatchObject({
      status: "error",
      error: { message: expect.stringContaining("Infinite loop") },
    });
  });
});
