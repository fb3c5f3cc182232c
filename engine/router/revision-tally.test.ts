import { describe, expect, test } from "vitest";
import type { ErrorCode } from "../../api/errors.ts";
import { LATENCY_BUCKET_BOUNDS_MS } from "../../api/wire/counters.ts";
import type { Outcome } from "./http/types.ts";
import { latencyBucket, RevisionTally } from "./revision-tally.ts";

const BOUNDS = LATENCY_BUCKET_BOUNDS_MS;

test("buckets are bounded from above, a quarter wider each, and end beyond a minute", () => {
  for (const [i, bound] of BOUNDS.entries()) {
    expect([latencyBucket(bound), latencyBucket(bound + 0.0001)]).toEqual([i, i + 1]);
    expect(bound).toBeGreaterThan((BOUNDS[i - 1] ?? 0) * 1.2);
  }
  expect([latencyBucket(0), latencyBucket(1e9)]).toEqual([0, BOUNDS.length]);
  expect(BOUNDS.at(-1)).toBeGreaterThan(60_000);
});

describe("counts", () => {
  const count = (outcome: Outcome, status: number, code: ErrorCode | "" = "") => {
    const tally = new RevisionTally();
    tally.count({ outcome, status, startedAt: 10, endedAt: 12 }, code);
    const { requests, serverErrors, clientErrors, platformErrors, buckets } = tally;
    expect(buckets.reduce((sum, n) => sum + n)).toBe(requests);
    return [requests, serverErrors, clientErrors, platformErrors];
  };

  test.each<[string, Outcome, number, ErrorCode | "", number[]]>([
    ["an answer", "relayed", 200, "", [1, 0, 0, 0]],
    ["the function's 4xx", "relayed", 404, "", [1, 0, 1, 0]],
    ["the function's 5xx", "relayed", 500, "", [1, 1, 0, 0]],
    ["a WebSocket", "tunnel", 101, "", [1, 0, 0, 0]],
    ["a client that left", "client-gone", 0, "", [1, 0, 0, 0]],
    ["a client that left in the middle of a 500", "client-gone", 500, "", [1, 0, 0, 0]],
    ["an answer that broke off", "upstream-broken", 200, "", [1, 0, 0, 1]],
    ["a pod that died", "replied", 502, "upstream_reset", [1, 0, 0, 1]],
    ["a pod that cannot be specialised", "replied", 502, "specialization_failed", [1, 0, 0, 1]],
    ["a timeout", "replied", 504, "function_timeout", [1, 0, 0, 1]],
    ["an answer cut off by its time", "timeout", 200, "function_timeout", [1, 0, 0, 1]],
    ["a stream at its longest", "timeout", 200, "stream_max_duration", [1, 0, 0, 0]],
    ["a full queue", "replied", 429, "queue_full", [0, 0, 0, 0]],
    ["no executor", "replied", 503, "executor_unavailable", [0, 0, 0, 0]],
    ["a body that is too large", "replied", 413, "body_too_large", [0, 0, 0, 0]],
  ])("%s", (_, outcome, status, code, expected) => expect(count(outcome, status, code)).toEqual(expected));
});
