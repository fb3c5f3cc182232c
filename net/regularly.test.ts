import { expect, test } from "vitest";
import { regularly } from "./regularly.ts";

test("goes on after a failed round, and ends with the round that is under way", async () => {
  const stopping = new AbortController();
  const failures: unknown[] = [];
  let rounds = 0;
  let underWay = 0;
  await regularly(
    { everyMs: 1, firstAfterMs: 0, spread: true, signal: stopping.signal },
    async () => {
      underWay += 1;
      expect(underWay).toBe(1);
      await new Promise((resolve) => setImmediate(resolve));
      underWay -= 1;
      rounds += 1;
      if (rounds === 1) throw new Error("away");
      if (rounds === 3) stopping.abort();
    },
    (error) => failures.push(error),
  );
  expect({ rounds, failures }).toEqual({ rounds: 3, failures: [new Error("away")] });
});

test("does nothing once it is over", async () => {
  let rounds = 0;
  await regularly(
    { everyMs: 1, signal: AbortSignal.abort() },
    async () => (rounds += 1),
    () => undefined,
  );
  expect(rounds).toBe(0);
});
