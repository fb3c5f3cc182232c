import { assign, fromPromise, setup } from "xstate";
import type { ActorFacts, Definition, RetryRule } from "../../../workflows/definition/definition.ts";
import { machineDefinition } from "../machine-definition.ts";

const stub = fromPromise<unknown, unknown>(async () => null);
const retry: RetryRule = { maxAttempts: 4, backoffBaseMs: 100, backoffCapMs: 3_000, factor: 3, jitter: 0.5 };
const fn = (name: string, more: object = {}): ActorFacts => ({ kind: "function", name, retry, ...more });
const input = ({ context }: { context: { id: string; n: number } }) => ({ id: context.id, n: context.n });

/** Steps with compensations, a human's event with a time limit, a callback: the saga. */
const order = setup({
  types: { context: {} as { id: string; n: number; said?: unknown }, input: {} as { id: string } },
  actors: { charge: stub, ship: stub, sign: stub, confirm: stub, refund: stub, recall: stub },
}).createMachine({
  id: "order",
  context: ({ input }) => ({ id: input?.id, n: 0 }),
  initial: "charging",
  output: ({ context }) => context,
  states: {
    charging: { invoke: { src: "charge", id: "charge", input, onDone: "shipping" } },
    shipping: { invoke: { src: "ship", id: "ship", input, onDone: "asking" } },
    asking: {
      on: { approve: { target: "signing", actions: assign({ said: ({ event }) => event["by"] }) } },
      after: { 7_200_000: "end" },
    },
    signing: { invoke: { src: "sign", id: "sign", input, onDone: "confirming" } },
    confirming: { invoke: { src: "confirm", id: "confirm", input, onDone: "end" } },
    end: { type: "final" },
  },
});

/** The same state again and again, each visit with a timer of its own that must not strike in a later one. */
const loop = setup({
  types: {
    context: {} as { id: string; n: number; left: number; late: number },
    input: {} as { id: string; n: number },
  },
  actors: { work: stub },
}).createMachine({
  id: "loop",
  context: ({ input }) => ({ id: input?.id, n: 0, left: input?.n ?? 0, late: 0 }),
  initial: "working",
  output: ({ context }) => context,
  states: {
    working: {
      invoke: {
        src: "work",
        id: "work",
        input,
        onDone: [
          {
            guard: ({ context }) => context.left <= 1,
            target: "end",
            actions: assign({ n: ({ context }) => context.n + 1, left: 0 }),
          },
          {
            target: "working",
            reenter: true,
            actions: assign({ n: ({ context }) => context.n + 1, left: ({ context }) => context.left - 1 }),
          },
        ],
        onError: { target: "end" },
      },
      after: { 86_400_000: { target: "end", actions: assign({ late: ({ context }) => context.late + 1 }) } },
    },
    end: { type: "final" },
  },
});

interface FanContext {
  readonly id: string;
  readonly n: number;
  readonly items?: unknown;
  readonly signed?: unknown;
  readonly child?: unknown;
}

const branch = (name: "a" | "b" | "c" | "d") =>
  ({
    initial: "one",
    states: {
      one: {
        invoke: {
          src: name,
          id: `${name}1`,
          input: ({ context }: { context: FanContext }) => ({ id: context.id }),
          onDone: "two",
        },
      },
      two: { invoke: { src: name, id: `${name}2`, input: { again: true }, onDone: "end" } },
      end: { type: "final" },
    },
  }) as const;

/** Branches that end together, a map of calls, one of callbacks, a child run. */
const fan = setup({
  types: {
    context: {} as FanContext,
    input: {} as { id: string },
  },
  actors: { a: stub, b: stub, c: stub, d: stub, each: stub, asked: stub, child: stub },
}).createMachine({
  id: "fan",
  context: ({ input }) => ({ id: input?.id, n: 0 }),
  initial: "split",
  output: ({ context }) => context,
  states: {
    split: {
      type: "parallel",
      states: { a: branch("a"), b: branch("b"), c: branch("c"), d: branch("d") },
      onDone: "mapping",
    },
    mapping: {
      invoke: {
        src: "each",
        id: "each",
        input: ({ context }: { context: FanContext }) =>
          Array.from({ length: 7 }, (_, n) => ({ id: context.id, n })),
        onDone: { target: "asking", actions: assign({ items: ({ event }) => event.output }) },
      },
    },
    asking: {
      invoke: {
        src: "asked",
        id: "asked",
        input: ({ context }: { context: FanContext }) =>
          Array.from({ length: 5 }, (_, n) => ({ id: context.id, n })),
        onDone: { target: "nesting", actions: assign({ signed: ({ event }) => event.output }) },
      },
    },
    nesting: {
      invoke: {
        src: "child",
        id: "child",
        input: ({ context }: { context: FanContext }) => ({ id: `${context.id}-child`, n: 3 }),
        onDone: { target: "end", actions: assign({ child: ({ event }) => event.output }) },
        onError: "end",
      },
    },
    end: { type: "final" },
  },
});

/** A step against a timer of about its own length: completions of left visits come all the time. */
const race = setup({
  types: { context: {} as { id: string; n: number; won: number }, input: {} as { id: string } },
  actors: { work: stub },
}).createMachine({
  id: "race",
  context: ({ input }) => ({ id: input?.id, n: 0, won: 0 }),
  initial: "running",
  output: ({ context }) => context,
  states: {
    running: {
      entry: assign({ n: ({ context }) => context.n + 1 }),
      invoke: {
        src: "work",
        id: "work",
        input,
        onDone: { target: "next", actions: assign({ won: ({ context }) => context.won + 1 }) },
        onError: "next",
      },
      after: { 20: "next" },
    },
    next: { always: [{ guard: ({ context }) => context.n >= 12, target: "end" }, { target: "running" }] },
    end: { type: "final" },
  },
});

const BRANCHES = { a: fn("a"), b: fn("b"), c: fn("c"), d: fn("d") };
/** Calls that fail at times, but never for good, so that the map has one outcome. */
const mapOf = (each: ActorFacts): ActorFacts => {
  if (each.kind === "map") throw new TypeError("a map maps no maps");
  return { kind: "map", each, maxConcurrency: 3, tolerated: 0 };
};

export const DEFINITIONS: Readonly<Record<string, Definition>> = {
  order: machineDefinition(order, {
    charge: fn("charge", { compensation: "refund" }),
    ship: fn("ship", { compensation: "recall" }),
    sign: fn("sign", { waitForCallback: true }),
    confirm: fn("confirm"),
    refund: fn("refund"),
    recall: fn("recall"),
  }),
  loop: machineDefinition(loop, { work: fn("work") }),
  fan: machineDefinition(fan, {
    ...BRANCHES,
    each: mapOf(fn("item")),
    asked: mapOf(fn("sign", { waitForCallback: true })),
    child: { kind: "workflow", name: "loop", parentClose: "cancel" },
  }),
  race: machineDefinition(race, { work: fn("work") }),
};
