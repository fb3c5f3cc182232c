import { readdirSync, statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import type { RunKey } from "../../../workflows/core/run-record.ts";
import { expectWhole, type FaultWorld, faultWorld } from "./fault-world.ts";

const RUNS = 15;
const tried = new Map<string, number>();
const count = (what: string, by = 1): void => void tried.set(what, (tried.get(what) ?? 0) + by);
afterAll(() => {
  for (const [what, times] of tried)
    console.log(`${what}: ${times} tried, nothing lost, nothing stuck, no second result`);
});

let world: FaultWorld;
afterEach(() => world.close());

/** Runs that two workers are in the middle of. */
async function underWay(options: Parameters<typeof faultWorld>[0]): Promise<RunKey[]> {
  world = await faultWorld(options);
  const keys = await Promise.all(Array.from({ length: RUNS }, (_, n) => world.create(`run-${n}`, "round")));
  await Promise.all([world.worker("w1"), world.worker("w2")]);
  await until(() => world.acknowledged.size === RUNS);
  return keys;
}
const until = async (condition: () => boolean): Promise<void> => {
  while (!condition()) await sleep(5);
};
const allWhole = async (keys: readonly RunKey[]): Promise<void> => {
  for (const key of keys) await expectWhole(world, key);
};
const versions = async (keys: readonly RunKey[]): Promise<Map<string, number>> =>
  new Map(
    await Promise.all(
      keys.map(async (key) => [key.id, (await world.journal.load(key))?.version ?? 0] as const),
    ),
  );
const aofOf = (folder: string): string => {
  const name = readdirSync(join(folder, "appendonlydir")).find((file) => file.endsWith(".incr.aof"));
  if (name === undefined) throw new Error("No append-only file");
  return join(folder, "appendonlydir", name);
};

describe("a Redis that dies", () => {
  for (const appendfsync of ["always", "everysec"] as const)
    it(`by kill -9 with appendfsync ${appendfsync} keeps every acknowledged commit`, {
      timeout: 240_000,
    }, async () => {
      const keys = await underWay({ appendfsync });
      for (let n = 0; n < 3; n++) {
        const acknowledged = new Map(world.acknowledged);
        await world.server.kill();
        await sleep(50);
        await world.server.start();
        count(`kill -9 of Redis with appendfsync ${appendfsync}`);
        const kept = await versions(keys);
        for (const [id, version] of acknowledged) expect(kept.get(id)).toBeGreaterThanOrEqual(version);
        await sleep(150);
      }
      await allWhole(keys);
    });

  it("and has lost its last second goes on from the step that it knows", { timeout: 240_000 }, async () => {
    const keys = await underWay({ appendfsync: "everysec" });
    const aof = aofOf(world.server.folder);
    const before = new Map(world.acknowledged);
    const size = statSync(aof).size;
    await sleep(300);
    await until(() => statSync(aof).size > size);
    await world.server.kill();
    expect(statSync(aof).size).toBeGreaterThan(size);
    // In the middle of a commit's record, as a torn write would.
    truncateSync(aof, size - 7);
    await world.server.start();
    count("append-only file cut by its last part", RUNS);
    const kept = await versions(keys);
    for (const { id } of keys) expect(kept.get(id)).toBeGreaterThanOrEqual((before.get(id) ?? 1) - 1);
    await allWhole(keys);
  });
});

describe("a Redis that fails in between", () => {
  const whileRunning = (what: string, times: number, pauseMs: number, fault: () => Promise<unknown>) =>
    it(`${what}: all runs end whole`, { timeout: 240_000 }, async () => {
      const keys = await underWay({});
      for (let n = 0; n < times; n++) {
        await fault();
        count(what);
        await sleep(pauseMs);
      }
      await allWhole(keys);
    });

  whileRunning("all connections cut", 8, 60, () =>
    world.redis.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"),
  );
  whileRunning("scripts forgotten", 20, 20, () => world.redis.script("FLUSH"));
  whileRunning("all wake-ups lost", 10, 40, async () => {
    const jobs = await world.redis.keys("{wf:wake-ups}*");
    if (jobs.length > 0) await world.redis.del(...jobs);
  });
  whileRunning("out of memory", 4, 100, async () => {
    await world.redis.config("SET", "maxmemory", "1");
    await sleep(150);
    await world.redis.config("SET", "maxmemory", "0");
  });
});
