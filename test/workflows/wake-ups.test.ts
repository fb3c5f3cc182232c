import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { Redis } from "ioredis";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { processLog } from "../../net/log.ts";
import type { RunKey, RunRecord } from "../../workflows/core/run-record.ts";
import { type Journal, PARTITIONS } from "../../workflows/journal/journal.ts";
import { redisJournal } from "../../workflows/journal/redis-journal.ts";
import { storeClock } from "../../workflows/queue/store-clock.ts";
import { redisWakeUps, type WakeUps } from "../../workflows/queue/wake-ups.ts";
import { newRecord } from "./journal-suite.ts";
import { type RedisServer, redisServer } from "./redis-server.ts";

const LEASE_MS = 5_000;
const log = processLog("test", { level: "error" });

let server: RedisServer;
let redis: Redis;
let journal: Journal;
let open: WakeUps[];
let working: Promise<void>[];
beforeEach(async () => {
  server = await redisServer();
  redis = server.connect();
  journal = redisJournal(() => redis);
  open = [];
  working = [];
});
afterEach(async () => {
  await Promise.all(open.map((wakeUps) => wakeUps.close()));
  await Promise.allSettled(working);
  await server.stop();
});

interface Taken {
  readonly id: string;
  readonly at: number;
  readonly worker: string;
}

/** A worker that claims what it is brought, says so, and parks it until `timer` or for good. */
async function startWorker(
  taken: Taken[],
  options: { worker?: string; room?: number; workMs?: number; sweepMs?: number; hold?: boolean } = {},
): Promise<{ wakeUps: WakeUps; nudged: RunKey[]; swept: () => boolean }> {
  const { worker = `w-${randomUUID()}`, room = 100, workMs = 0, sweepMs = 100 } = options;
  let looks = 0;
  const wakeUps = redisWakeUps({
    url: server.url,
    journal: {
      ...journal,
      due: async (...asked) => {
        const due = await journal.due(...asked);
        looks += 1;
        return due;
      },
    },
    clock: await storeClock(journal),
    worker,
    concurrency: room,
    sweepMs,
    log,
  });
  open.push(wakeUps);
  const nudged: RunKey[] = [];
  const hand = new Set<string>();
  const finish = async (claim: Awaited<ReturnType<Journal["claim"]>>): Promise<void> => {
    if (claim.kind !== "claimed") return;
    await sleep(workMs);
    const record: RunRecord = { ...claim.record, snapshot: "{}", timers: {} };
    const taken = claim.inbox.map(({ position }) => position);
    const { lease } = claim;
    if (!options.hold)
      await journal.commit(lease, {
        expectedVersion: record.version,
        record,
        history: [],
        taken,
        release: true,
        closedMaps: [],
      });
    hand.delete(lease.key.id);
  };
  wakeUps.start({
    take: async (key) => {
      await until(() => hand.size < room && hand.add(key.id).size > 0);
      const claim = await journal.claim(key, worker, LEASE_MS);
      if (claim.kind !== "claimed") {
        hand.delete(key.id);
        return false;
      }
      taken.push({ id: key.id, at: await journal.now(), worker });
      working.push(finish(claim).catch(() => undefined));
      return true;
    },
    nudge: (key) => nudged.push(key),
  });
  return { wakeUps, nudged, swept: () => looks >= PARTITIONS };
}

const until = async (condition: () => boolean | Promise<boolean>): Promise<void> => {
  while (!(await condition())) await sleep(5);
};
const create = async (): Promise<RunKey> => {
  const { record } = await journal.create(newRecord(), []);
  return record.facts.key;
};
/** A run without owner that has only a timer. */
async function parkedUntil(dueAt: number): Promise<RunKey> {
  const key = await create();
  const claim = await journal.claim(key, "setter", LEASE_MS);
  if (claim.kind !== "claimed") throw new Error(claim.kind);
  const record: RunRecord = {
    ...claim.record,
    snapshot: "{}",
    timers: { "1.0": { token: "1.0", id: "t", event: { type: "t" }, dueAt } },
  };
  await journal.commit(claim.lease, {
    expectedVersion: 1,
    record,
    history: [],
    taken: [],
    release: true,
    closedMaps: [],
  });
  return key;
}

describe("wake-ups", () => {
  it("bring a run to a worker without waiting for the sweeper", async () => {
    const taken: Taken[] = [];
    const { wakeUps, swept } = await startWorker(taken, { sweepMs: 600_000 });
    await until(swept);
    const keys = await Promise.all(Array.from({ length: 20 }, create));
    // What is sent before the connection stands is lost.
    await until(async () => {
      await Promise.all(keys.map((key) => wakeUps.wake(key)));
      return taken.length >= 20;
    });
    expect(taken.map(({ id }) => id).toSorted()).toEqual(keys.map(({ id }) => id).toSorted());
  });

  it("are one job a run, however often it is woken", async () => {
    const sender = redisWakeUps({
      url: server.url,
      journal,
      clock: await storeClock(journal),
      worker: "api",
      log,
    });
    open.push(sender);
    const key = await create();
    await until(async () => {
      await sender.wake(key);
      return (await redis.llen("{wf:wake-ups}:wake-ups:wait")) > 0;
    });
    await Promise.all(Array.from({ length: 30 }, () => sender.wake(key)));
    expect(await redis.llen("{wf:wake-ups}:wake-ups:wait")).toBe(1);
  });

  it("do without jobs: the sweeper finds what the journal says", async () => {
    const keys = await Promise.all(Array.from({ length: 20 }, create));
    const taken: Taken[] = [];
    await startWorker(taken);
    await until(() => taken.length >= 20);
    expect(new Set(taken.map(({ id }) => id))).toEqual(new Set(keys.map(({ id }) => id)));
  });

  it("nudge the owner of a run, who need not wait for its next renewal", async () => {
    const taken: Taken[] = [];
    const { wakeUps, nudged } = await startWorker(taken, { worker: "owner", hold: true });
    const key = await create();
    await wakeUps.wake(key);
    await until(() => taken.length > 0);
    const answer = await journal.deliver(key, { kind: "cancel", reason: "test" });
    expect(answer).toEqual({ kind: "accepted", owner: "owner" });
    await until(async () => {
      await wakeUps.wake(key, "owner");
      return nudged.length > 0;
    });
    expect(nudged[0]).toEqual(key);
  });

  it("fire timers when they are due, never early, also those that nobody announced", async () => {
    const now = await journal.now();
    const due = new Map<string, number>();
    for (let n = 0; n < 20; n++) due.set((await parkedUntil(now + 300 + n * 20)).id, now + 300 + n * 20);
    const taken: Taken[] = [];
    // It looks once before they are due, and never again.
    await startWorker(taken, { sweepMs: 600_000 });
    await until(() => taken.length >= due.size);
    expect(taken).toHaveLength(due.size);
    for (const { id, at } of taken) expect(at).toBeGreaterThanOrEqual(due.get(id) ?? Infinity);
  });

  it("fire a timer that was set between two sweeps", async () => {
    const taken: Taken[] = [];
    const { wakeUps, swept } = await startWorker(taken, { sweepMs: 600_000 });
    await until(swept);
    const dueAt = (await journal.now()) + 150;
    const key = await parkedUntil(dueAt);
    wakeUps.expect(key, dueAt);
    await until(() => taken.length > 0);
    expect(taken[0]?.at).toBeGreaterThanOrEqual(dueAt);
  });

  it("share a backlog among workers with little room", async () => {
    const keys = await Promise.all(Array.from({ length: 300 }, create));
    const taken: Taken[] = [];
    await Promise.all([1, 2, 3].map((n) => startWorker(taken, { worker: `w${n}`, room: 4, workMs: 20 })));
    await until(() => taken.length >= keys.length);
    await sleep(100);
    // One that was parked between a look and the claim may be taken again: that costs a claim, no more.
    expect(new Set(taken.map(({ id }) => id))).toEqual(new Set(keys.map(({ id }) => id)));
    expect(new Set(taken.map(({ worker }) => worker)).size).toBeGreaterThan(1);
  });

  it("are not held up by a run that no worker here may take", async () => {
    const given = newRecord();
    const partitionMates: RunKey[] = [];
    await journal.create({ ...given, facts: { ...given.facts, format: 99 } }, []);
    for (let n = 0; n < 40; n++) partitionMates.push(await create());
    const taken: Taken[] = [];
    await startWorker(taken, { sweepMs: 50 });
    await until(() => taken.length >= partitionMates.length);
  });

  it("outlive a Redis that is killed: nothing rejects, and what is due is found when it is back", async () => {
    const taken: Taken[] = [];
    const { wakeUps } = await startWorker(taken);
    const first = await create();
    await wakeUps.wake(first);
    await until(() => taken.length === 1);
    await server.kill();
    await wakeUps.wake({ namespace: "shop", id: "gone" });
    await wakeUps.wake({ namespace: "shop", id: "gone" }, "somebody");
    await server.start();
    const second = await create();
    await until(() => taken.some(({ id }) => id === second.id));
    const third = await create();
    await wakeUps.wake(third);
    await until(() => taken.some(({ id }) => id === third.id));
  });
});
