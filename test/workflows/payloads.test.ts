import type { Redis } from "ioredis";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { RunKey } from "../../workflows/core/run-record.ts";
import { MAX_PAYLOAD_BYTES, redisPayloads } from "../../workflows/payloads/redis-payloads.ts";
import { redisJournal } from "../../workflows/journal/redis-journal.ts";
import type { Payloads } from "../../workflows/worker/ports.ts";
import { newRecord } from "./journal-suite.ts";
import { type RedisServer, redisServer } from "./redis-server.ts";

let server: RedisServer;
let redis: Redis;
let payloads: Payloads;
beforeAll(async () => {
  server = await redisServer();
  redis = server.connect();
  payloads = redisPayloads(() => redis);
});
afterAll(() => server.stop());
beforeEach(() => redis.flushall());

const refOf = async (run: RunKey, json: string): Promise<string> => {
  const payload = await payloads.store(run, json);
  if (!("ref" in payload)) throw new Error("Stored inline");
  return payload.ref;
};
/** All keys with the ms that they will live on; -1 = for ever. */
const lives = async (): Promise<number[]> =>
  Promise.all((await redis.keys("*payload*")).map((key) => redis.pttl(key)));

describe("large payloads", () => {
  it("are read again as they were, also by another run", async () => {
    const value = { text: "ü".repeat(200_000), list: [1, null, { a: true }] };
    const json = JSON.stringify(value);
    const payload = await payloads.store({ namespace: "shop", id: "a.b-c_1" }, json);
    expect(payload).toEqual({
      ref: expect.stringMatching(/^shop\/a\.b-c_1:[0-9a-f]{64}$/),
      bytes: Buffer.byteLength(json),
    });
    expect("ref" in payload && (await payloads.load(payload.ref))).toEqual(value);
  });

  it("live as long as their run, also when they were stored before it", async () => {
    const record = newRecord();
    const { key } = record.facts;
    const before = await refOf(key, '"input"');
    expect((await lives()).every((ms) => ms > 0 && ms <= 3_600_000)).toBe(true);
    const journal = redisJournal(() => redis);
    await journal.create(record, []);
    const after = await refOf(key, '"output"');
    expect(await refOf(key, '"output"')).toBe(after);
    expect(await lives()).toEqual([-1, -1, -1]);
    const claim = await journal.claim(key, "w", 1_000);
    if (claim.kind !== "claimed") throw new Error(claim.kind);
    await journal.commit(claim.lease, {
      expectedVersion: 1,
      record: { ...claim.record, status: "succeeded" },
      history: [],
      taken: [],
      release: true,
      closedMaps: [],
    });
    expect([await payloads.load(before), await payloads.load(after)]).toEqual(["input", "output"]);
    expect(await journal.remove(key)).toBe(true);
    expect(await redis.keys("*")).toEqual([]);
    await expect(payloads.load(before)).rejects.toMatchObject({ code: "run_not_found" });
  });

  it("are 50 MiB at most", async () => {
    const run = { namespace: "shop", id: "big" };
    await expect(payloads.store(run, JSON.stringify("x".repeat(MAX_PAYLOAD_BYTES)))).rejects.toMatchObject({
      code: "payload_too_large",
      message: `Cannot store a value of run "shop/big": it must be ${MAX_PAYLOAD_BYTES} bytes of JSON at most, got ${MAX_PAYLOAD_BYTES + 2}`,
    });
    expect(await redis.keys("*")).toEqual([]);
    const most = JSON.stringify("x".repeat(MAX_PAYLOAD_BYTES - 2));
    expect(await payloads.load(await refOf(run, most))).toHaveLength(MAX_PAYLOAD_BYTES - 2);
  });
});
