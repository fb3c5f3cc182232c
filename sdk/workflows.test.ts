import { describe, expect, expectTypeOf, it } from "vitest";
import { assign, setup } from "xstate";
import { z } from "zod";
import type { WorkflowConfig as Accepted } from "../api/workflow-config.ts";
import {
  compensate,
  defineWorkflow,
  duration,
  type EventsOf,
  type FailedItem,
  fn,
  map,
  type Step,
  workflow,
  type WorkflowConfig,
  type WorkflowDefinition,
} from "./workflows.ts";

// The compiler proves what is said here; `npm run check` fails when it is no longer so.
const accepted: (config: WorkflowConfig) => Accepted = (config) => config;
const offered: (config: Accepted) => WorkflowConfig = (config) => config;

const Order = z.object({ id: z.string(), total: z.number().default(0) });
const Receipt = z.object({ receipt: z.string() });
const events = { APPROVE: z.object({ by: z.string() }), CANCEL: z.object({}) };

const machine = setup({
  types: {
    input: {} as z.output<typeof Order>,
    context: {} as { id: string; receipt?: string },
    events: {} as EventsOf<typeof events>,
    output: {} as { receipt: string },
  },
  actors: { charge: fn("charge", { input: z.object({ id: z.string() }), output: Receipt }) },
}).createMachine({
  id: "order",
  context: ({ input }) => ({ id: input.id }),
  initial: "a",
  states: {
    a: {
      invoke: {
        src: "charge",
        input: ({ context }) => ({ id: context.id }),
        onDone: {
          target: "b",
          actions: assign({
            receipt: ({ event }) => {
              expectTypeOf(event.output).toEqualTypeOf<{ receipt: string }>();
              return event.output.receipt;
            },
          }),
        },
      },
    },
    b: { type: "final" },
  },
  output: ({ context }) => ({ receipt: context.receipt ?? "" }),
});

describe("types", () => {
  it("flow from schemas to steps, events and the workflow itself", () => {
    expectTypeOf<EventsOf<typeof events>>().toExtend<{ type: "APPROVE"; by: string } | { type: "CANCEL" }>();
    const order = defineWorkflow({ machine, input: Order, output: Receipt, events });
    expectTypeOf(order).toExtend<WorkflowDefinition<z.input<typeof Order>, { receipt: string }>>();
    expectTypeOf(workflow(order)).toEqualTypeOf<Step<{ receipt: string }, z.input<typeof Order>>>();
    expectTypeOf(map(fn<string, number>("each"))).toEqualTypeOf<Step<number[], readonly string[]>>();
    expectTypeOf(map(fn<string, number>("each"), { tolerated: "5%" })).toEqualTypeOf<
      Step<(number | FailedItem)[], readonly string[]>
    >();
    expect([typeof accepted, typeof offered]).toEqual(["function", "function"]);
  });

  it("refuse a schema that does not fit the machine", () => {
    // @ts-expect-error -- the machine needs an id
    defineWorkflow({ machine, input: z.object({ name: z.string() }) });
    // @ts-expect-error -- the receipt is text
    defineWorkflow({ machine, output: z.object({ receipt: z.number() }) });
    // @ts-expect-error -- the machine knows no such event
    defineWorkflow({ machine, events: { REJECT: z.object({}) } });
    expect(() => {
      setup({ actors: { charge: fn<{ id: string }, string>("charge") } }).createMachine({
        // @ts-expect-error -- the step takes an object
        invoke: { src: "charge", input: 7 },
      });
    }).not.toThrow();
  });

  it("refuse events that the machine does not know, and fields that they do not have", () => {
    const types = { events: {} as EventsOf<typeof events>, context: {} as { by: string } };
    const known = setup({
      types,
      guards: {
        isKim: ({ event }) => {
          expectTypeOf(event.type).toEqualTypeOf<"APPROVE" | "CANCEL">();
          return event.type === "APPROVE" && event.by === "kim";
        },
      },
    });
    known.createMachine({
      context: { by: "" },
      on: { APPROVE: { actions: assign({ by: ({ event }) => event.by }) } },
    });
    known.createMachine({
      context: { by: "" },
      // @ts-expect-error -- an approval says nothing of when
      on: { APPROVE: { actions: assign({ by: ({ event }) => event.at }) } },
    });
    known.createMachine({
      context: { by: "" },
      // @ts-expect-error -- there is no such event
      on: { REJECT: {} },
    });
    expect(true).toBe(true);
  });

  it("refuse a step that cannot undo another", () => {
    const charge = fn<{ id: string }, { receipt: string }>("charge");
    compensate(charge, fn<{ input: { id: string }; output: { receipt: string } }>("refund"));
    compensate(charge, fn<{ output: { receipt: string } }>("refund"));
    // @ts-expect-error -- the receipt is text
    compensate(charge, fn<{ output: { receipt: number } }>("refund"));
    expect(true).toBe(true);
  });
});

describe("what cannot be", () => {
  it.each<[string, () => unknown, RegExp]>([
    ["attempts", () => fn("f", { retry: 0 }), /retry.attempts of fn\("f"\) must be 1..1000, got 0/],
    ["jitter", () => fn("f", { retry: { jitter: 2 } }), /retry.jitter of fn\("f"\) must be 0..1, got 2/],
    ["a timeout", () => fn("f", { timeout: "soon" }), /Cannot read the duration "soon"/],
    [
      "no time at all",
      () => fn("f", { timeout: 0 }),
      /timeout of fn\("f"\) must be a positive number.*got 0/,
    ],
    [
      "concurrency",
      () => map(fn("f"), { maxConcurrency: 0 }),
      /maxConcurrency of map must be a whole number from 1 on, got 0/,
    ],
    ["tolerance", () => map(fn("f"), { tolerated: "200%" }), /tolerated of map.*got "200%"/],
    ["a map of maps", () => map(map(fn("f"))), /map takes fn/],
    [
      "a schema that is none",
      () => defineWorkflow({ machine, input: {} as never }),
      /"input" of defineWorkflow must be a schema/,
    ],
  ])("%s is refused with the value", (_name, make, message) => {
    expect(make).toThrow(message);
  });

  it("durations are milliseconds", () => {
    expect([duration("3d"), duration("250ms"), duration(2)]).toEqual([259_200_000, 250, 2_000]);
  });
});
