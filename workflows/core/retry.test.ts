import { assert, double, nat, property } from "fast-check";
import { describe, expect, it } from "vitest";
import type { ActorFacts, RetryRule } from "../definition/definition.ts";
import { attemptEndsAt, nextAttempt, pauseMs, waitsUntil } from "./retry.ts";
import type { Effect } from "./run-record.ts";

const NOW = 1_000_000;
const effect: Effect = {
  token: "1.0",
  child: "charge",
  actor: "charge",
  state: "charging",
  input: { value: null },
  attempt: 1,
  startedAt: NOW,
  attemptAt: NOW,
};
const rule: RetryRule = { maxAttempts: 3, backoffBaseMs: 100, backoffCapMs: 1_000, factor: 2, jitter: 0 };
const actor = (more: object): ActorFacts => ({ kind: "function", name: "charge-card", ...more });
const error = (type: string) => ({ type, message: "no" });

/** Attempts until it has failed for good, when all fail in this order (the last class again and again). */
function attempts(facts: ActorFacts, ...classes: string[]): number {
  let open: Effect = effect;
  for (let failed = 0; failed < 100; failed++) {
    const type = classes[Math.min(failed, classes.length - 1)] ?? "";
    const next = nextAttempt(open, facts, error(type), open.notBefore ?? NOW, () => 0);
    if (!next) return open.attempt;
    open = next;
  }
  throw new Error("never ends");
}

describe("retry", () => {
  it("is not without a rule, and up to maxAttempts in all with one", () => {
    expect(attempts(actor({}), "Fission.FunctionError")).toBe(1);
    expect(attempts(actor({ retry: rule }), "Fission.FunctionError")).toBe(3);
  });

  it("leaves permanent errors alone unless a rule names them", () => {
    expect(attempts(actor({ retry: rule }), "Fission.PermanentError")).toBe(1);
    expect(
      attempts(actor({ retry: { ...rule, on: ["Fission.PermanentError"] } }), "Fission.PermanentError"),
    ).toBe(3);
    expect(attempts(actor({ retry: { ...rule, on: ["Fission.All"] } }), "Fission.PermanentError")).toBe(3);
    expect(attempts(actor({ retry: { ...rule, on: ["Busy"] } }), "Fission.FunctionError")).toBe(1);
  });

  it("counts a class with a rule of its own by itself", () => {
    const perClass = { Busy: { ...rule, maxAttempts: 5 } };
    const facts = actor({ retry: { ...rule, perClass } });
    expect(attempts(facts, "Busy")).toBe(5);
    expect(attempts(facts, "Busy", "Busy", "Busy", "Fission.FunctionError")).toBe(6);
  });

  it("ends with the time of all attempts", () => {
    expect(attempts(actor({ retry: { ...rule, maxAttempts: 50 }, totalTimeoutMs: 1_000 }), "Busy")).toBe(4);
  });

  it("undoes more than once, also when nobody says so", () => {
    const undo = { ...effect, compensates: { token: "0.0", output: { value: null } } };
    expect(nextAttempt(undo, actor({}), error("Busy"), NOW, () => 0)).toMatchObject({ attempt: 2 });
  });

  it("pauses from the base up to the cap, less a random share", () => {
    expect([1, 2, 3, 4, 5, 60].map((failures) => pauseMs(rule, failures, () => 0))).toEqual([
      100, 200, 400, 800, 1_000, 1_000,
    ]);
    assert(
      property(
        nat(1_000),
        double({ min: 0, max: 1, noNaN: true }),
        double({ min: 0, max: 1, noNaN: true }),
        (failures, jitter, random) => {
          const pause = pauseMs({ ...rule, jitter }, failures + 1, () => random);
          expect(pause).toBeGreaterThanOrEqual(0);
          expect(pause).toBeLessThanOrEqual(1_000);
        },
      ),
    );
  });
});

describe("limits of an attempt", () => {
  it("are five minutes for a call, none for a callback, and those of all attempts", () => {
    expect(attemptEndsAt(effect, actor({}))).toBe(NOW + 300_000);
    expect(attemptEndsAt(effect, actor({ waitForCallback: true }))).toBeUndefined();
    expect(attemptEndsAt(effect, actor({ attemptTimeoutMs: 50, totalTimeoutMs: 20 }))).toBe(NOW + 20);
    expect(attemptEndsAt(effect, { kind: "workflow", name: "w", parentClose: "cancel" })).toBeUndefined();
  });

  it("of a step that gives heartbeats are the next one's time", () => {
    expect(waitsUntil(effect, actor({ waitForCallback: true, heartbeatMs: 10 }), NOW + 5)).toBe(NOW + 15);
    expect(
      waitsUntil(effect, actor({ waitForCallback: true, heartbeatMs: 10, totalTimeoutMs: 12 }), NOW + 5),
    ).toBe(NOW + 12);
    expect(waitsUntil(effect, actor({ waitForCallback: true }), NOW)).toBeUndefined();
  });
});
