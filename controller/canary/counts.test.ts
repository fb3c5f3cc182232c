import { expect, it } from "vitest";
import type { RevisionCounters } from "../../api/wire/counters.ts";
import { type CountedWindow, differences, grown } from "./counts.ts";

const sides = { old: { uid: "u", revision: "r1" }, new: { uid: "u", revision: "r2" } };
const T0 = "2026-01-01T00:00:00.000Z";
const T1 = "2026-01-01T00:01:00.000Z";
const reply = (router: string, startedAt: string, requests: number, revision = "r2"): RevisionCounters => ({
  router,
  startedAt,
  bounds: [1, 2],
  revisions: [
    {
      namespace: "n",
      function: "f",
      uid: "u",
      revision,
      since: startedAt,
      requests,
      serverErrors: 0,
      clientErrors: 0,
      platformErrors: 0,
      buckets: [requests, 0, 0],
    },
  ],
});
const newRequests = (before: Parameters<typeof differences>[0], ...replies: RevisionCounters[]) =>
  differences(before, replies, sides).delta.new.requests;

it("takes the first reading of all as a baseline", () => {
  const first = differences({ routers: undefined, from: undefined }, [reply("a", T0, 500)], sides);
  expect(first.delta.new.requests).toBe(0);
  expect(newRequests({ routers: first.routers, from: T1 }, reply("a", T0, 530))).toBe(30);
});

it("counts a router that started since then whole, one that was merely not seen not at all", () => {
  const { routers } = differences({ routers: undefined, from: undefined }, [reply("a", T0, 500)], sides);
  const before = { routers, from: "2026-01-01T00:00:30.000Z" };
  expect(newRequests(before, reply("b", T1, 40))).toBe(40);
  expect(newRequests(before, reply("c", T0, 4_000))).toBe(0);
});

it("never takes a difference below 0: a revision that was forgotten begins anew", () => {
  const { routers } = differences({ routers: undefined, from: undefined }, [reply("a", T0, 500)], sides);
  expect(newRequests({ routers, from: T1 }, reply("a", T0, 20))).toBe(20);
});

it("keeps the baseline of a router that does not answer", () => {
  const first = differences(
    { routers: undefined, from: undefined },
    [reply("a", T0, 500), reply("b", T0, 10)],
    sides,
  );
  const silent = differences({ routers: first.routers, from: T1 }, [reply("a", T0, 501)], sides);
  expect(silent.delta.new.requests).toBe(1);
  expect(newRequests({ routers: silent.routers, from: T1 }, reply("b", T0, 17))).toBe(7);
});

it("keeps revisions apart", () => {
  const { delta } = differences(
    { routers: [{ router: "a" }], from: T1 },
    [reply("a", T0, 5, "r1"), reply("z", T0, 5, "r3")],
    sides,
  );
  expect([delta.old.requests, delta.new.requests]).toEqual([5, 0]);
});

it("keeps latencies in a few stretches of equal length, after the requests of fresh pods", () => {
  const second = (requests: number) => ({
    requests,
    serverErrors: 0,
    clientErrors: 0,
    platformErrors: 0,
    buckets: [requests],
  });
  const WARM_UP = 30;
  let window: CountedWindow | undefined;
  let expected = 0;
  for (let at = 0; at < 500; at += 1) {
    if (at * 10 >= WARM_UP) expected += 10;
    window = grown(window, { old: second(100), new: second(10) }, WARM_UP);
    const { blocks = [] } = window;
    expect(blocks.length).toBeLessThanOrEqual(16);
    expect(blocks.reduce((sum, block) => sum + (block.new[0] ?? 0), 0)).toBe(expected);
    // All but the last, which is still filling, are of one length.
    expect(new Set(blocks.slice(0, -1).map((block) => block.new[0])).size).toBeLessThanOrEqual(1);
    if (at > 20) expect(blocks.length).toBeGreaterThanOrEqual(8);
  }
  expect(window?.new.requests).toBe(5_000);
});
