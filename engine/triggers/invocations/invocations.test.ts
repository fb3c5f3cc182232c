import { describe, expect, test } from "vitest";
import type { Outcome } from "../delivery/event.ts";
import { decideNext } from "./decide-next.ts";
import { fairTurns } from "./fair-turns.ts";
import { newInvocationId, partitionOf, partitionOfId, queueOf } from "./invocation-id.ts";
import { backoffMs, policyOf } from "./policy.ts";

const failure = { status: 500, reason: "function_error", message: "no" };
const failed = (afterMs?: number): Outcome => ({
  kind: "failed",
  failure,
  ...(afterMs === undefined ? {} : { afterMs }),
});
const policy = { maxAttempts: 3, backoffBaseMs: 100, backoffCapMs: 1_000, jitter: false, maxAgeMs: 10_000 };
const invocation = { policy, failures: 0, ageFrom: 1_000 };

describe("what becomes of an invocation", () => {
  test("pauses double up to the cap; half of them is random", () => {
    expect([1, 2, 3, 4, 5, 60].map((failures) => backoffMs(policy, failures, () => 0))).toEqual([
      100, 200, 400, 800, 1_000, 1_000,
    ]);
    expect(backoffMs({ ...policy, jitter: true }, 2, () => 0)).toBe(100);
    expect(backoffMs({ ...policy, jitter: true }, 2, () => 1)).toBe(200);
  });

  test("it is tried again while it has attempts, no sooner than asked", () => {
    expect(decideNext(invocation, failed(), 1_000, () => 0)).toMatchObject({
      kind: "again",
      delayMs: 100,
      counts: true,
    });
    expect(decideNext(invocation, failed(5_000), 1_000, () => 0)).toMatchObject({ delayMs: 5_000 });
    expect(decideNext({ ...invocation, failures: 2 }, failed(), 1_000, () => 0).kind).toBe("dead");
  });

  test("it is a dead letter when the next attempt would come too late", () => {
    expect(decideNext(invocation, failed(), 10_950, () => 0).kind).toBe("dead");
    expect(decideNext(invocation, failed(9_999_999), 1_000, () => 0).kind).toBe("dead");
  });

  test("an overload uses up no attempt, whatever happened before", () => {
    const outcome: Outcome = { kind: "overloaded", failure, afterMs: 1_000 };
    expect(decideNext({ ...invocation, failures: 2 }, outcome, 1_000, () => 0)).toMatchObject({
      kind: "again",
      counts: false,
      delayMs: 1_000,
    });
  });

  test("a function's own policy counts; what it leaves out, and what cannot be read, is as everywhere", () => {
    expect(policyOf(undefined)).toMatchObject({ maxAttempts: 3, maxAgeMs: 21_600_000, jitter: true });
    expect(
      policyOf({ retry: { maxAttempts: 0, backoffBase: "2s", backoffCap: "soon" }, maxAge: "30d" }),
    ).toEqual({
      maxAttempts: 3,
      backoffBaseMs: 2_000,
      backoffCapMs: 300_000,
      jitter: true,
      maxAgeMs: 7 * 24 * 3_600_000,
    });
  });
});

describe("ids", () => {
  test("say where an invocation lies, and sort by time", () => {
    const queue = queueOf("default", { type: "name", name: "hello" });
    const ids = [1, 1_000, Date.now()].map((at) => newInvocationId(queue, at));
    expect(ids.toSorted()).toEqual(ids);
    for (const id of ids) expect(partitionOfId(id)).toBe(partitionOf(queue));
    expect(partitionOfId("../../etc/passwd")).toBeUndefined();
    expect(queueOf("default", { type: "workflow", name: "hello" })).not.toBe(queue);
  });
});

describe("turns", () => {
  test("namespaces take turns, and their functions", () => {
    const turns = fairTurns(1_000);
    for (const queue of ["a/1", "a/2", "a/3", "b/1"]) turns.add(queue);
    const order: string[] = [];
    for (let turn = turns.next(); turn; turn = turns.next()) {
      order.push(turn.queue);
      turns.release(turn.queue, turn.count);
      if (order.length < 8) turns.add(turn.queue);
    }
    expect(order.slice(0, 6)).toEqual(["a/1", "b/1", "a/2", "b/1", "a/3", "b/1"]);
  });

  test("whoever never lets go still leaves room for the next, down to the last slot", () => {
    const turns = fairTurns(64);
    const takeAll = (queue: string): number => {
      let taken = 0;
      for (;;) {
        turns.add(queue);
        const turn = turns.next();
        if (!turn) break;
        expect(turn.queue).toBe(queue);
        taken += turn.count;
      }
      return taken;
    };
    const held: number[] = [];
    // Each of a namespace of its own, none ever releases, and what one cannot have is not asked for again.
    for (const name of ["a", "b", "c", "d", "e"]) {
      const fresh = takeAll(`${name}/f`);
      held.push(fresh);
      if (turns.held() >= 64) break;
    }
    expect(held[0]).toBe(32);
    expect(held.every((count) => count > 0)).toBe(true);
    expect(turns.held()).toBeLessThanOrEqual(64);
  });

  test("all slots come back", () => {
    const turns = fairTurns(8);
    turns.add("a/1");
    const turn = turns.next();
    expect(turns.held()).toBe(turn?.count);
    turns.release("a/1", turn?.count ?? 0);
    expect(turns.held()).toBe(0);
    expect(turns.next()).toBeUndefined();
  });
});
