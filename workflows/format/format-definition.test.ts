import { describe, expect, it } from "vitest";
import type { Json } from "../core/json.ts";
import {
  type Action,
  doneEvent,
  errorEvent,
  type MachineEvent,
  type Transition,
} from "../definition/definition.ts";
import { formatDefinition } from "./format-definition.ts";
import type { FormatSpec } from "./spec.ts";

/** Drives a definition as the engine would: each transition from the stored text, steps answered by name. */
async function drive(
  spec: unknown,
  input: Json,
  functions: Record<string, (input: Json, call: number) => Json> = {},
  limit = 1000,
) {
  const definition = formatDefinition("order", spec);
  const calls: string[] = [];
  const delays: number[] = [];
  const running: string[] = [];
  const peak = { value: 0 };
  const open = new Map<string, Action>();
  let now: Transition = await definition.start(input);
  const visited: string[][] = [];
  const take = (transition: Transition): void => {
    now = transition;
    visited.push([...transition.states]);
    for (const action of transition.actions) {
      if (action.kind === "invoke" || action.kind === "timer")
        open.set(`${action.kind}:${action.id}`, action);
      if (action.kind === "stop") open.delete(`invoke:${action.id}`);
      if (action.kind === "cancel-timer") open.delete(`timer:${action.id}`);
    }
    peak.value = Math.max(peak.value, open.size);
  };
  const resultOf = (action: Extract<Action, { kind: "invoke" }>): MachineEvent => {
    const actor = definition.facts.actors[action.actor];
    if (!actor) throw new Error(`no actor ${action.actor}`);
    const each = actor.kind === "map" ? actor.each : actor;
    const call = (value: Json): Json => {
      calls.push(each.name);
      return functions[each.name]?.(value, calls.filter((name) => name === each.name).length) ?? null;
    };
    let index = 0;
    try {
      if (actor.kind !== "map") return doneEvent(action.id, call(action.input));
      const results = (action.input as Json[]).map((item, at) => {
        index = at;
        return call(item);
      });
      return doneEvent(action.id, results);
    } catch (error) {
      const { type, cause } = error as { type: string; cause: Json };
      if (actor.kind !== "map") return errorEvent(action.id, { type, message: "failed", cause });
      return errorEvent(action.id, {
        type,
        message: "failed",
        cause: { index, type, message: "failed", cause },
      });
    }
  };
  take(now);
  for (let step = 0; now.status === "active" && open.size > 0 && step < limit; step++) {
    const [key, action] = [...open][0] ?? [];
    if (!key || !action) break;
    open.delete(key);
    if (action.kind === "timer") delays.push(action.delayMs);
    if (action.kind === "invoke") running.push(action.id);
    const event =
      action.kind === "invoke" ? resultOf(action) : action.kind === "timer" ? action.event : undefined;
    if (event) take(await definition.transition(now.snapshot, event));
  }
  return { end: now, calls, delays, visited, open, peak: peak.value, running, definition };
}

const failing =
  (type: string, cause: Json = null) =>
  (): Json => {
    throw Object.assign(new Error(type), { type, cause });
  };
const task = (name: string, more: object = {}): object => ({ type: "Task", function: { name }, ...more });
const spec = (states: Record<string, object>, startAt = Object.keys(states)[0]): FormatSpec =>
  ({ startAt, states }) as FormatSpec;

describe("a startAt/states workflow as a definition", () => {
  it("passes the document from task to task, merged and filtered by paths", async () => {
    const { end, calls } = await drive(
      spec({
        charge: task("charge-card", { inputPath: "$.order", resultPath: "$.charge", next: "ship" }),
        ship: task("ship", { inputPath: "$.charge", outputPath: "$.tracking", end: true }),
      }),
      { order: { id: "4711" } },
      {
        "charge-card": (input) => ({ txn: "t-1", for: (input as { id: string }).id }),
        ship: (input) => ({ tracking: input }),
      },
    );
    expect(end).toMatchObject({ status: "done", output: { txn: "t-1", for: "4711" }, states: [] });
    expect(calls).toEqual(["charge-card", "ship"]);
  });

  it("waits for as long as it is told, and passes its input through", async () => {
    const { end, delays } = await drive(
      spec({ pause: { type: "Wait", duration: "1000h", next: "done" }, done: { type: "Succeed" } }),
      { n: 1 },
    );
    expect(delays).toEqual([3_600_000_000]);
    expect(end).toMatchObject({ status: "done", output: { n: 1 } });
  });

  it("takes the first choice that holds, else the default", async () => {
    const choice = spec({
      route: {
        type: "Choice",
        choices: [
          { variable: "$.amount", numericGreaterThan: 100, next: "big" },
          { and: [{ variable: "$.tier", stringEquals: "gold" }], next: "vip" },
        ],
        default: "standard",
      },
      big: task("big", { end: true }),
      vip: task("vip", { end: true }),
      standard: task("standard", { end: true }),
    });
    expect((await drive(choice, { amount: 101 })).calls).toEqual(["big"]);
    expect((await drive(choice, { amount: 1, tier: "gold" })).calls).toEqual(["vip"]);
    expect((await drive(choice, {})).calls).toEqual(["standard"]);
  });

  it("fails when no choice holds and there is no default", async () => {
    const { end } = await drive(
      spec({
        route: { type: "Choice", choices: [{ variable: "$.a", isPresent: true, next: "done" }] },
        done: { type: "Succeed" },
      }),
      {},
    );
    expect(end).toMatchObject({ status: "error", error: { type: "Fission.NoChoiceMatched" } });
  });

  it("sends an error to the first catch route of its class", async () => {
    const caught = spec({
      charge: task("charge", {
        end: true,
        catch: [
          { errorType: "CardDeclined", next: "declined", resultPath: "$.error" },
          { errorType: "Fission.All", next: "other" },
        ],
      }),
      declined: task("declined", { end: true }),
      other: task("other", { end: true }),
    });
    const declined = await drive(
      caught,
      { order: 1 },
      { charge: failing("CardDeclined", { reason: "past due" }), declined: (input) => input },
    );
    expect(declined.end.output).toEqual({
      order: 1,
      error: { errorType: "CardDeclined", cause: { reason: "past due" } },
    });
    const other = await drive(
      caught,
      { order: 1 },
      { charge: failing("Fission.Timeout", "too slow"), other: (input) => input },
    );
    expect(other.end.output).toEqual({ errorType: "Fission.Timeout", cause: "too slow" });
  });

  it("fails with the class and cause of an error that nothing catches", async () => {
    const { end } = await drive(
      spec({ charge: task("charge", { end: true }) }),
      {},
      { charge: failing("CardDeclined", { reason: "past due" }) },
    );
    expect(end).toMatchObject({
      status: "error",
      error: { type: "CardDeclined", message: '{"reason":"past due"}' },
      states: [],
    });
  });

  it("takes the class and the cause that a function's answer names", async () => {
    const definition = formatDefinition("order", spec({ charge: task("charge", { end: true }) }));
    const { snapshot, actions } = await definition.start({});
    const id = actions[0]?.kind === "invoke" ? actions[0].id : "";
    const error = (type: string, cause?: Json): MachineEvent =>
      errorEvent(id, { type, message: "it failed", ...(cause === undefined ? {} : { cause }) });
    const named = { errorType: "CardDeclined", cause: { reason: "past due" } };
    const told = async (event: MachineEvent) => (await definition.transition(snapshot, event)).error;
    expect(await told(error("CardDeclined", named))).toEqual({
      type: "CardDeclined",
      message: '{"reason":"past due"}',
    });
    expect(await told(error("Fission.FunctionError", { a: 1 }))).toEqual({
      type: "Fission.FunctionError",
      message: '{"a":1}',
    });
    expect(await told(error("Fission.Timeout"))).toEqual({ type: "Fission.Timeout", message: "it failed" });
  });

  it("fails in a Fail state with its own error and cause", async () => {
    const { end } = await drive(spec({ no: { type: "Fail", error: "Refused", cause: "not today" } }), {});
    expect(end).toMatchObject({ status: "error", error: { type: "Refused", message: "not today" } });
    expect((await drive(spec({ no: { type: "Fail" } }), {})).end.error?.type).toBe("Fission.Failed");
  });

  it("reports a result that cannot be written as Fission.InvalidPath, which can be caught", async () => {
    const states = {
      a: task("a", { resultPath: "$.order.id.deep", end: true }),
    };
    const functions = { a: () => 1 };
    expect((await drive(spec(states), { order: { id: "x" } }, functions)).end.error?.type).toBe(
      "Fission.InvalidPath",
    );
    const caught = await drive(
      spec({
        a: { ...states.a, catch: [{ errorType: "Fission.InvalidPath", next: "done" }] },
        done: { type: "Succeed" },
      }),
      { order: { id: "x" } },
      functions,
    );
    expect(caught.end).toMatchObject({ status: "done", output: { errorType: "Fission.InvalidPath" } });
  });

  it("joins parallel branches in their order", async () => {
    const { end, definition } = await drive(
      spec({
        fan: {
          type: "Parallel",
          branches: [
            spec({ x: task("fx", { end: true }) }),
            spec({ y: task("fy", { next: "z" }), z: { type: "Succeed" } }),
          ],
          resultPath: "$.both",
          next: "done",
        },
        done: { type: "Succeed" },
      }),
      { n: 1 },
      { fx: () => "x-out", fy: () => "y-out" },
    );
    expect(end).toMatchObject({ status: "done", output: { n: 1, both: ["x-out", "y-out"] } });
    expect(Object.keys(definition.facts.actors)).toEqual(["fan.0.x", "fan.1.y"]);
  });

  it("runs no more parallel branches at a time than maxConcurrency", async () => {
    const branch = (at: number): object => spec({ [`s${at}`]: task("f", { end: true }) });
    const { end, peak } = await drive(
      spec({
        fan: { type: "Parallel", branches: [0, 1, 2, 3, 4].map(branch), maxConcurrency: 2, end: true },
      }),
      null,
      { f: (_input, call) => call },
    );
    expect(end.output).toEqual([1, 2, 3, 4, 5]);
    expect(peak).toBe(2);
  });

  it("stops the other branches when one fails, and fails with Fission.BranchFailed", async () => {
    const states = {
      fan: {
        type: "Parallel",
        branches: [
          spec({ x: task("fx", { end: true }) }),
          spec({ w: { type: "Wait", duration: "1h", next: "e" }, e: { type: "Succeed" } }),
        ],
        end: true,
      },
    };
    const { end, open } = await drive(spec(states), {}, { fx: failing("Fission.PermanentError", "no") });
    expect(end.error).toEqual({
      type: "Fission.BranchFailed",
      message: '{"branch":"0","errorType":"Fission.PermanentError","cause":"no"}',
    });
    expect(open.size).toBe(0);
    const caught = await drive(
      spec({
        fan: { ...states.fan, catch: [{ errorType: "Fission.BranchFailed", next: "done" }] },
        done: { type: "Succeed" },
      }),
      {},
      { fx: failing("Fission.PermanentError", "no") },
    );
    expect(caught.end).toMatchObject({
      status: "done",
      output: {
        errorType: "Fission.BranchFailed",
        cause: { branch: "0", errorType: "Fission.PermanentError", cause: "no" },
      },
    });
  });

  it("fails a region at once whose branch fails before any step", async () => {
    const { end, calls } = await drive(
      spec({
        fan: {
          type: "Parallel",
          branches: [spec({ x: task("fx", { end: true }) }), spec({ nope: { type: "Fail" } })],
          end: true,
        },
      }),
      {},
    );
    expect(end.error?.type).toBe("Fission.BranchFailed");
    expect(calls).toEqual([]);
  });

  it("hands a map of one task to the engine's own fan-out", async () => {
    const { end, definition } = await drive(
      spec({
        each: {
          type: "Map",
          itemsPath: "$.items",
          branches: [spec({ x: task("f", { inputPath: "$.n", resultPath: "$.twice", end: true }) })],
          maxConcurrency: 3,
          resultPath: "$.results",
          end: true,
        },
      }),
      { items: [{ n: 1 }, { n: 2 }] },
      { f: (input) => Number(input) * 2 },
    );
    expect(definition.facts.actors["each"]).toMatchObject({ kind: "map", maxConcurrency: 3 });
    expect(end.output).toEqual({
      items: [{ n: 1 }, { n: 2 }],
      results: [
        { n: 1, twice: 2 },
        { n: 2, twice: 4 },
      ],
    });
  });

  it("says which item of a map failed and why", async () => {
    const { end } = await drive(
      spec({
        each: {
          type: "Map",
          itemsPath: "$",
          branches: [spec({ x: task("f", { end: true }) })],
          end: true,
        },
      }),
      [1, 2, 3],
      { f: (input) => (input === 2 ? failing("Odd", "even")() : input) },
    );
    expect(end.error).toEqual({
      type: "Fission.BranchFailed",
      message: '{"branch":"1","errorType":"Odd","cause":"even"}',
    });
  });

  it.each([[{ items: "nope" }], [{}], [{ items: Array.from({ length: 10_001 }, () => 1) }]])(
    "refuses items that are no array or too many: %#",
    async (input) => {
      const { end } = await drive(
        spec({
          each: {
            type: "Map",
            itemsPath: "$.items",
            branches: [spec({ x: task("f", { end: true }) })],
            end: true,
          },
        }),
        input,
      );
      expect(end.error?.type).toBe("Fission.PermanentError");
    },
  );

  it("gives an empty list for no items, without a step", async () => {
    const { end, calls } = await drive(
      spec({
        each: { type: "Map", itemsPath: "$", branches: [spec({ x: task("f", { end: true }) })], end: true },
      }),
      [],
    );
    expect(end.output).toEqual([]);
    expect(calls).toEqual([]);
  });
});

describe("a map whose items run through several states", () => {
  const item = {
    startAt: "pick",
    states: {
      pick: {
        type: "Choice",
        choices: [{ variable: "$", numericGreaterThan: 2, next: "pause" }],
        default: "work",
      },
      pause: { type: "Wait", duration: "5s", next: "work" },
      work: task("work", { next: "check", catch: [{ errorType: "Soft", next: "soft" }] }),
      check: task("check", { end: true }),
      soft: { type: "Succeed" },
    },
  };
  const map = (more: object = {}): FormatSpec =>
    spec({ each: { type: "Map", itemsPath: "$", branches: [item], maxConcurrency: 2, ...more } });

  it("runs each item through its states, some at a time, results in order", async () => {
    const { end, peak, delays, visited } = await drive(map({ end: true }), [1, 2, 3, 4], {
      work: (input) => Number(input) * 10,
      check: (input) => ({ checked: input }),
    });
    expect(end).toMatchObject({
      status: "done",
      output: [{ checked: 10 }, { checked: 20 }, { checked: 30 }, { checked: 40 }],
    });
    expect(peak).toBe(2);
    expect(delays).toEqual([5000, 5000]);
    expect(visited[0]).toEqual(["each[0].work", "each[1].work"]);
  });

  it("catches inside an item, and fails the map with the first item that nothing catches", async () => {
    const soft = await drive(map({ end: true }), [1, 2], {
      work: (input) => (input === 1 ? failing("Soft", "s")() : "w"),
      check: () => "c",
    });
    expect(soft.end.output).toEqual([{ errorType: "Soft", cause: "s" }, "c"]);
    const hard = await drive(map({ end: true }), [1, 2, 3, 4], {
      work: (input) => (input === 2 ? failing("Hard", "h")() : "w"),
      check: () => "c",
    });
    expect(hard.end.error).toEqual({
      type: "Fission.BranchFailed",
      message: '{"branch":"1","errorType":"Hard","cause":"h"}',
    });
    expect(hard.open.size).toBe(0);
  });

  it("changes nothing for what an item reports that has ended", async () => {
    const definition = formatDefinition("order", map({ end: true }));
    const first = await definition.start([1, 2]);
    const invoked = first.actions.find((action) => action.kind === "invoke");
    const id = invoked?.kind === "invoke" ? invoked.id : "";
    const second = await definition.transition(first.snapshot, doneEvent(id, "w"));
    const again = await definition.transition(second.snapshot, doneEvent(id, "w"));
    expect(again.snapshot).toBe(second.snapshot);
    expect(again.actions).toEqual([]);
    expect((await definition.transition(first.snapshot, doneEvent("0.run.each[7].work", 1))).snapshot).toBe(
      first.snapshot,
    );
  });

  it("nests parallel states and maps in one another", async () => {
    const nested = spec({
      outer: {
        type: "Map",
        itemsPath: "$.groups",
        iterator: spec({
          both: {
            type: "Parallel",
            branches: [
              spec({
                inner: {
                  type: "Map",
                  itemsPath: "$",
                  iterator: spec({ a: task("a", { next: "b" }), b: task("b", { end: true }) }),
                  end: true,
                },
              }),
              spec({ count: task("count", { end: true }) }),
            ],
            end: true,
          },
        }),
        end: true,
      },
    });
    const { end, definition } = await drive(
      nested,
      { groups: [[1, 2], [3]] },
      {
        a: (input) => Number(input) + 1,
        b: (input) => `b${Number(input)}`,
        count: (input) => (input as Json[]).length,
      },
    );
    expect(end).toMatchObject({
      status: "done",
      output: [
        [["b2", "b3"], 2],
        [["b4"], 1],
      ],
    });
    expect(Object.keys(definition.facts.actors).sort()).toEqual([
      "outer.both.0.inner.a",
      "outer.both.0.inner.b",
      "outer.both.1.count",
    ]);
  });
});
