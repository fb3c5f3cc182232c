import { describe, expect, it } from "vitest";
import { assign, emit, setup } from "xstate";
import { z } from "zod";
import { StepError, testWorkflow } from "./testing.ts";
import { compensate, defineWorkflow, duration, failure, fn, map, workflow } from "./workflows.ts";

const events = { APPROVE: z.object({ by: z.string() }) };
const order = defineWorkflow({
  input: z.object({ id: z.string() }),
  events,
  machine: setup({
    types: {
      input: {} as { id: string },
      context: {} as { id: string; receipt?: string; by?: string; why?: string },
      events: {} as { type: "APPROVE"; by: string },
    },
    actors: {
      charge: compensate(
        fn<string, { receipt: string }>("charge", { retry: { attempts: 3, base: "1s", jitter: 0 } }),
        fn("refund"),
      ),
      ship: fn<string>("ship", { retry: 1 }),
    },
    delays: { patience: duration("30d") },
  }).createMachine({
    id: "order",
    context: ({ input }) => ({ id: input.id }),
    initial: "charging",
    states: {
      charging: {
        invoke: {
          src: "charge",
          input: ({ context }) => context.id,
          onDone: { target: "approval", actions: assign({ receipt: ({ event }) => event.output.receipt }) },
          onError: { target: "refused", actions: assign({ why: ({ event }) => failure(event).type }) },
        },
      },
      approval: {
        after: { patience: "refused" },
        on: {
          APPROVE: {
            target: "shipping",
            actions: [assign({ by: ({ event }) => event.by }), emit({ type: "APPROVED" })],
          },
        },
      },
      shipping: { invoke: { src: "ship", input: ({ context }) => context.id, onDone: "done" } },
      done: { type: "final" },
      refused: { type: "final" },
    },
    output: ({ context }) => context,
  }),
});
const functions = {
  charge: (id: string) => ({ receipt: `r-${id}` }),
  refund: () => null,
  ship: () => "shipped",
};

describe("testWorkflow", () => {
  it("runs to where the workflow waits, and on by an event", async () => {
    const test = testWorkflow(order, { functions });
    await test.start({ id: "o1" });
    expect([test.status, test.states]).toEqual(["running", ["approval"]]);
    await expect(test.send({ type: "APPROVE" })).rejects.toThrow(/"by"/);
    await test.send({ type: "APPROVE", by: "ann" });
    expect(test.status).toBe("succeeded");
    expect(test.output).toEqual({ id: "o1", receipt: "r-o1", by: "ann" });
    expect(test.visited).toEqual(["charging", "approval", "shipping", "done"]);
    expect(test.calls).toEqual([
      { function: "charge", input: "o1", attempt: 1 },
      { function: "ship", input: "o1", attempt: 1 },
    ]);
    expect(test.emitted).toEqual([{ type: "APPROVED" }]);
    await expect(test.send({ type: "APPROVE", by: "bob" })).rejects.toThrow("the run is succeeded");
  });

  it("lets days pass at once", async () => {
    const test = testWorkflow(order, { functions });
    await test.start({ id: "o1" });
    await test.advance("29d");
    expect(test.states).toEqual(["approval"]);
    await test.advance("1d");
    expect(test.visited).toEqual(["charging", "approval", "refused"]);
    expect(test.now).toEqual(new Date("2026-01-31T00:00:00Z"));
  });

  it("tries again after the pauses that the step declares", async () => {
    let left = 2;
    const test = testWorkflow(order, {
      functions: {
        ...functions,
        charge: () => {
          if (left-- > 0) throw new Error("busy");
          return { receipt: "late" };
        },
      },
    });
    await test.start({ id: "o1" });
    expect(test.states).toEqual(["charging"]);
    await test.advance("1s");
    expect(test.states).toEqual(["charging"]);
    await test.advance("2s");
    expect(test.states).toEqual(["approval"]);
    expect(test.calls.map(({ attempt }) => attempt)).toEqual([1, 2, 3]);
  });

  it("gives failures their class, and undoes what was done when the run fails", async () => {
    const test = testWorkflow(order, {
      functions: {
        ...functions,
        ship: async () => {
          await new Promise((resolve) => setTimeout(resolve, 5));
          throw new StepError("OutOfStock", "none left");
        },
      },
    });
    await test.start({ id: "o1" });
    await test.send({ type: "APPROVE", by: "ann" });
    expect(test.status).toBe("failed");
    expect(test.error).toMatchObject({ type: "OutOfStock" });
    expect(test.calls.at(-1)).toEqual({
      function: "refund",
      input: { input: "o1", output: { receipt: "r-o1" } },
      attempt: 1,
    });
  });

  it("says which function the test lacks, and refuses an input that does not fit", async () => {
    await expect(testWorkflow(order).start({ id: "o1" })).rejects.toThrow(
      'The workflow calls function "charge", which the test does not have',
    );
    await expect(testWorkflow(order, { functions }).start({})).rejects.toThrow(/"id"/);
  });

  it("runs items, children and callbacks", async () => {
    const child = defineWorkflow({
      machine: setup({ types: { input: {} as number } }).createMachine({
        id: "child",
        context: ({ input }) => ({ n: input }),
        initial: "a",
        states: { a: { after: { 60_000: "b" } }, b: { type: "final" } },
        output: ({ context }) => context.n + 1,
      }),
    });
    const parent = defineWorkflow({
      machine: setup({
        types: { context: {} as { sum: number[]; next: number; signed?: string } },
        actors: {
          squares: map(fn<number, number>("square"), { maxConcurrency: 2 }),
          child: workflow(child),
          sign: fn<null, string>("ask", { waitForCallback: true }),
        },
      }).createMachine({
        id: "parent",
        context: { sum: [], next: 0 },
        initial: "squaring",
        states: {
          squaring: {
            invoke: {
              src: "squares",
              input: [1, 2, 3],
              onDone: { target: "child", actions: assign({ sum: ({ event }) => event.output }) },
            },
          },
          child: {
            invoke: {
              src: "child",
              input: 41,
              onDone: { target: "signing", actions: assign({ next: ({ event }) => Number(event.output) }) },
            },
          },
          signing: {
            invoke: {
              src: "sign",
              input: null,
              onDone: { target: "done", actions: assign({ signed: ({ event }) => event.output }) },
            },
          },
          done: { type: "final" },
        },
        output: ({ context }) => context,
      }),
    });
    const test = testWorkflow(parent, {
      functions: { square: (n: number) => n * n, ask: () => null },
      workflows: { child },
    });
    await test.start();
    expect(test.states).toEqual(["child"]);
    await test.advance("1m");
    expect(test.states).toEqual(["signing"]);
    await test.complete("sign", "ann");
    expect(test.output).toEqual({ sum: [1, 4, 9], next: 42, signed: "ann" });
  });
});
