import { describe, expect, it } from "vitest";
import {
  type AnyStateMachine,
  and,
  assign,
  createMachine,
  fromPromise,
  not,
  raise,
  sendTo,
  setup,
  spawnChild,
} from "xstate";
import { compensate, fn } from "../../sdk/workflows.ts";
import { checkMachine } from "./check-machine.ts";

const end = { type: "final" } as const;
const problems = (config: object, parts: object = {}) => {
  const machine: unknown = setup(parts as never).createMachine({ id: "m", initial: "a", ...config } as never);
  return checkMachine(machine as AnyStateMachine).map(({ code, place }) => `${code} at ${place}`);
};
const actors = { charge: fn("charge-card") };

describe("a machine that cannot be run is refused with the place", () => {
  it.each<[string, object, object, string[]]>([
    ["nothing", { states: { a: { always: "b" }, b: end } }, {}, []],
    [
      "unreachable states",
      {
        states: { a: { always: "b" }, b: end, c: { on: { X: "b" } }, d: { initial: "e", states: { e: {} } } },
      },
      {},
      ["unreachable_state at c", "unreachable_state at d"],
    ],
    [
      "an unreachable inner state",
      { states: { a: { initial: "x", states: { x: {}, y: {} }, on: { GO: "b" } }, b: end } },
      {},
      ["unreachable_state at a.y"],
    ],
    ["no end", { states: { a: { on: { X: "b" } }, b: {} } }, {}, ["no_final_state at m"]],
    [
      "parallel states of which one never ends",
      {
        initial: undefined,
        type: "parallel",
        states: {
          p: { initial: "x", states: { x: { on: { X: "y" } }, y: end } },
          q: { initial: "x", states: { x: {} } },
        },
      },
      {},
      ["no_final_state at m"],
    ],
    [
      "an unknown actor",
      { states: { a: { invoke: { src: "nobody", onDone: "b" } }, b: end } },
      {},
      ["unknown_actor at a.invoke[0]"],
    ],
    [
      "an actor that is code",
      { states: { a: { invoke: { src: "code", onDone: "b" } }, b: end } },
      { actors: { code: fromPromise(async () => 1) } },
      ["code_actor at actors.code"],
    ],
    [
      "a machine as an actor",
      { states: { a: { invoke: { src: "inner", onDone: "b" } }, b: end } },
      { actors: { inner: createMachine({}) } },
      ["code_actor at actors.inner"],
    ],
    [
      "an unknown delay",
      { states: { a: { after: { reminder: "b" } }, b: end } },
      {},
      ["unknown_delay at a.after.reminder"],
    ],
    [
      "known delays",
      { states: { a: { after: { reminder: "b", 1000: "b" } }, b: end } },
      { delays: { reminder: 5 } },
      [],
    ],
    [
      "an unknown guard",
      { states: { a: { on: { X: { guard: "isPaid", target: "b" } } }, b: end } },
      {},
      ["unknown_guard at a.on.X"],
    ],
    [
      "an unknown guard in another",
      { states: { a: { always: { guard: and([not("isPaid"), "isOk"]), target: "b" } }, b: end } },
      { guards: { isOk: () => true } },
      ["unknown_guard at a.always"],
    ],
    [
      "an unknown action",
      { states: { a: { entry: ["tell"], always: "b" }, b: end } },
      {},
      ["unknown_action at a.entry"],
    ],
    [
      "a delayed raise without id",
      { states: { a: { entry: raise({ type: "X" }, { delay: 10 }), on: { X: "b" } }, b: end } },
      {},
      ["missing_id at a.entry"],
    ],
    [
      "a named one",
      { states: { a: { entry: "later", on: { X: "b" } }, b: end } },
      { actions: { later: raise({ type: "X" }, { delay: "soon" as never }) } },
      ["unknown_delay at a.entry", "missing_id at a.entry"],
    ],
    [
      "spawnChild without id",
      { states: { a: { entry: spawnChild("charge"), always: "b" }, b: end } },
      { actors },
      ["missing_id at a.entry"],
    ],
    [
      "spawn in an assign",
      {
        states: {
          a: {
            exit: assign({ x: ({ spawn }: { spawn: (src: string) => unknown }) => spawn("charge") }),
            always: "b",
          },
          b: end,
        },
      },
      { actors },
      ["spawn_in_assign at a.exit"],
    ],
    [
      "an event to a step",
      { states: { a: { entry: sendTo("charge", { type: "X" }), always: "b" }, b: end } },
      { actors },
      ["not_supported at a.entry"],
    ],
    [
      "a context that JSON cannot hold",
      { context: { at: new Date(0) }, states: { a: { always: "b" }, b: end } },
      {},
      ["context_not_json at context"],
    ],
    [
      "a compensation that is nowhere",
      { states: { a: { invoke: { src: "book", onDone: "b" } }, b: end } },
      { actors: { book: fn("book", { compensate: "unbook" }) } },
      ["unknown_actor at actors.book.compensate"],
    ],
    [
      "one that is written in place",
      { states: { a: { invoke: { src: "book", onDone: "b" } }, b: end } },
      { actors: { book: compensate(fn("book"), fn("unbook")) } },
      [],
    ],
    [
      "an id twice at a time",
      {
        initial: undefined,
        type: "parallel",
        states: {
          p: { initial: "x", states: { x: { invoke: { src: "charge", id: "c", onDone: "y" } }, y: end } },
          q: { initial: "x", states: { x: { invoke: { src: "charge", id: "c", onDone: "y" } }, y: end } },
        },
      },
      { actors },
      ["shared_id at q.x.invoke[0]"],
    ],
    [
      "an id one after the other",
      {
        states: {
          a: { invoke: { src: "charge", id: "c", onDone: "b" } },
          b: { invoke: { src: "charge", id: "c", onDone: "e" } },
          e: end,
        },
      },
      { actors },
      [],
    ],
    [
      "a step written in place",
      { states: { a: { invoke: { src: fn("charge-card"), onDone: "b" } }, b: end } },
      {},
      [],
    ],
    [
      "a history state",
      {
        states: {
          a: {
            initial: "x",
            states: { x: { on: { X: "y" } }, y: {}, h: { type: "history" } },
            on: { OUT: "o" },
          },
          o: { on: { BACK: "a.h", END: "b" } },
          b: end,
        },
      },
      {},
      [],
    ],
  ])("%s", (_name, config, parts, expected) => {
    expect(problems(config, parts)).toEqual(expected);
  });
});
