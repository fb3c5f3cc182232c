import { afterAll, beforeAll } from "vitest";
import { setTimeout as sleep } from "node:timers/promises";
import type { Redis } from "ioredis";
import { memoryJournal } from "../../workflows/journal/memory-journal.ts";
import { redisJournal } from "../../workflows/journal/redis-journal.ts";
import { journalSuite } from "./journal-suite.ts";
import { type RedisServer, redisServer } from "./redis-server.ts";

journalSuite("in memory", async () => {
  let now = 1_700_000_000_000;
  return {
    journal: memoryJournal({ now: () => now }),
    pass: async (ms) => {
      now += ms;
    },
  };
});

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await redisServer();
  redis = server.connect();
});
afterAll(() => server.stop());

journalSuite("in Redis", async () => {
  await redis.flushall();
  return { journal: redisJournal(() => redis), pass: (ms) => sleep(ms) };
});
