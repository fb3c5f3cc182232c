import { expect, test } from "vitest";
import type { RevisionCounters } from "../../api/wire/counters.ts";
import type { CanaryState } from "./decide.ts";
import { readCounters } from "./observe.ts";
import { planOf } from "./plan.ts";
import { recentSeconds } from "./recent-seconds.ts";

const side = (name: string) => ({ name, function: "shop", uid: "u", revision: name });
const sides = { old: side("shop-v1"), new: side("shop-v2") };
const plan = planOf({ trigger: "shop", newfunction: "shop-v2", oldfunction: "shop-v1" });
const second = (at: number): string =>
  new Date(Date.parse("2026-01-01T00:00:00Z") + at * 1_000).toISOString();

/** A router whose process began then, and what it has counted of the new side since. */
const router = (id: string, startedAt: number, requests: number): RevisionCounters => ({
  router: id,
  startedAt: second(startedAt),
  bounds: [],
  revisions: [
    {
      namespace: "default",
      function: "shop",
      uid: "u",
      revision: "shop-v2",
      since: second(startedAt),
      requests,
      serverErrors: 0,
      clientErrors: 0,
      platformErrors: 0,
      buckets: [requests],
    },
  ],
});

const read = (state: CanaryState, at: number, ...replies: RevisionCounters[]): Promise<CanaryState> =>
  readCounters(
    { counters: { read: async () => replies }, settleMs: 0 },
    { state, recent: recentSeconds() },
    sides,
    { at: new Date(second(at)), plan },
  );

test("a router that began within the step counts whole, however late it is heard of, and once", async () => {
  const begun: CanaryState = { ...sides, phase: "progressing", applied: true, stepStartedAt: second(10) };
  const first = await read(begun, 11, router("a", 0, 500));
  const alone = await read(first, 12, router("a", 0, 510));
  expect(alone.counts?.new.requests).toBe(10);
  // It has been there since second 12, and its name is known from second 20 on; another one was there before the step.
  const late = await read({ ...alone, readAt: second(19) }, 20, ...three(510, 100, 70));
  expect(late.counts?.new.requests).toBe(110);
  const again = await read(late, 21, ...three(510, 103, 75));
  expect(again.counts?.new.requests).toBe(118);
});

const three = (a: number, late: number, older: number): RevisionCounters[] => [
  router("a", 0, a),
  router("late", 12, late),
  router("older", 5, older),
];
