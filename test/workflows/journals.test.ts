import { setTimeout as sleep } from "node:timers/promises";
import type { Redis } from "ioredis";
import { afterAll, beforeAll, describe } from "vitest";
import { memoryJournal } from "../../workflows/journal/memory-journal.ts";
import { redisJournal } from "../../workflows/journal/redis-journal.ts";
import { journalSuite } from "./journal-suite.ts";
import { type RedisCluster, redisCluster } from "./redis-cluster.ts";
import { allServers, type RedisServer, redisServer } from "./redis-server.ts";

journalSuite("in memory", async () => {
  let now = 1_700_000_000_000;
  return {
    journal: memoryJournal({ now: () => now }),
    pass: async (ms) => {
      now += ms;
    },
  };
});

describe.each(allServers())("$version", ({ path: binary }) => {
  let server: RedisServer;
  let redis: Redis;
  let cluster: RedisCluster;
  beforeAll(async () => {
    server = await redisServer({ binary });
    redis = server.connect();
    cluster = await redisCluster(2, binary);
  }, 120_000);
  afterAll(() => Promise.all([server.stop(), cluster.stop()]));

  journalSuite("in Redis", async () => {
    await redis.flushall();
    return { journal: redisJournal(() => redis), pass: (ms) => sleep(ms) };
  });

  journalSuite("in a Redis Cluster", async () => {
    await cluster.flush();
    return { journal: redisJournal(() => cluster.client), pass: (ms) => sleep(ms) };
  });
});
