import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import type { CrashPoint } from "./fault-worker.ts";
import { expectWhole, type FaultWorld, faultWorld, LEASE_MS } from "./fault-world.ts";

/** Commits of a run of `chain` (its timer and the two steps at once may share some). */
const COMMITS = 6;
const tried = new Map<string, number>();
const count = (what: string, by = 1): void => void tried.set(what, (tried.get(what) ?? 0) + by);
afterAll(() => {
  for (const [what, times] of tried)
    console.log(`${what}: ${times} tried, nothing lost, nothing stuck, no second result`);
});

let world: FaultWorld;
beforeEach(async () => {
  world = await faultWorld();
});
afterEach(() => world.close());

const points = (at: CrashPoint, most: number) => Array.from({ length: most }, (_, n) => ({ at, nth: n + 1 }));

describe("a worker that dies", () => {
  it("by kill -9 before or after any commit or call loses nothing", { timeout: 180_000 }, async () => {
    const crashes = [
      ...points("claimed", 1),
      ...points("commit-before", COMMITS),
      ...points("commit-after", COMMITS),
      ...points("call-before", 1),
      ...points("call-after", 1),
    ];
    const runs = await Promise.all(
      crashes.map(async (crash) => ({ crash, key: await world.create(`${crash.at}-${crash.nth}`, "chain") })),
    );
    const waiting = [...runs];
    const killNext = async (): Promise<void> => {
      for (let next = waiting.shift(); next; next = waiting.shift()) {
        const { crash, key } = next;
        const [, signal] = await once(world.process({ name: key.id, crash, only: key }), "exit");
        expect({ key, signal }).toEqual({ key, signal: "SIGKILL" });
        count(`kill -9 of a worker at ${crash.at}`);
      }
    };
    await Promise.all([killNext(), killNext(), killNext()]);
    await world.worker("survivor");
    for (const { key } of runs) await expectWhole(world, key);
    // What was on record is not asked again: a second call of a step is only for one whose result was never committed.
    for (const { crash, key } of runs) {
      const again = [...world.calls].filter(([id, times]) => id.startsWith(`shop/${key.id}/`) && times > 1);
      expect(again.length, `${key.id}: ${JSON.stringify(again)}`).toBeLessThanOrEqual(
        crash.at === "claimed" ? 0 : 2,
      );
    }
  });

  it("at random moments with many runs in hand loses nothing", { timeout: 180_000 }, async () => {
    const keys = await Promise.all(
      Array.from({ length: 20 }, (_, n) => world.create(`random-${n}`, "round")),
    );
    for (let n = 0; n < 3; n++) {
      const child = world.process({ name: `victim-${n}` });
      if (child.stdout) await once(child.stdout, "data");
      await sleep(100 + Math.random() * 300);
      child.kill("SIGKILL");
      await once(child, "exit");
      count("kill -9 of a worker with 20 runs in hand");
    }
    await world.worker("survivor");
    for (const key of keys) await expectWhole(world, key);
  });
});

describe("a worker that stands still beyond its lease", () => {
  it("cannot commit once another has the run, and its late answer is not taken", {
    timeout: 180_000,
  }, async () => {
    let letGo = (): void => {};
    world.hold(new Promise<void>((go) => (letGo = go)));
    const keys = await Promise.all(Array.from({ length: 5 }, (_, n) => world.create(`zombie-${n}`, "chain")));
    const zombie = world.process({ name: "zombie" });
    while (world.calls.size < keys.length) await sleep(10);
    zombie.kill("SIGSTOP");
    await sleep(LEASE_MS);
    // On a busy machine it may have lost a lease before, and called twice itself.
    const before = new Map(world.calls);
    const calledAgain = () => [...world.calls].filter(([id, times]) => times > (before.get(id) ?? 0)).length;
    await world.worker("survivor");
    while (calledAgain() < keys.length) await sleep(10);
    world.hold(Promise.resolve());
    letGo();
    for (const key of keys) await expectWhole(world, key);
    const records = await Promise.all(keys.map((key) => world.journal.load(key)));
    zombie.kill("SIGCONT");
    await sleep(500);
    expect(await Promise.all(keys.map((key) => world.journal.load(key)))).toEqual(records);
    for (const key of keys) await expectWhole(world, key);
    count("SIGSTOP of a worker beyond its lease, with a call under way", keys.length);
  });

  it("in the middle of its runs, again and again, and comes back between", { timeout: 180_000 }, async () => {
    const keys = await Promise.all(Array.from({ length: 10 }, (_, n) => world.create(`pause-${n}`, "round")));
    const sleeper = world.process({ name: "sleeper" });
    if (sleeper.stdout) await once(sleeper.stdout, "data");
    await world.worker("survivor");
    for (let n = 0; n < 3; n++) {
      sleeper.kill("SIGSTOP");
      await sleep(LEASE_MS * 1.5);
      sleeper.kill("SIGCONT");
      await sleep(100);
      count("SIGSTOP and SIGCONT of one of two workers");
    }
    for (const key of keys) await expectWhole(world, key);
  });
});
