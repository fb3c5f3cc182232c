import { once } from "node:events";
import { createServer } from "node:http";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { z } from "zod";
import { processLog } from "../../net/log.ts";
import { redisClient } from "../../net/redis-client.ts";
import { newRun } from "../../workflows/core/new-run.ts";
import { redisJournal } from "../../workflows/journal/redis-journal.ts";
import { nudges } from "../../workflows/queue/nudges.ts";
import { storeClock } from "../../workflows/queue/store-clock.ts";
import { wakeQueue } from "../../workflows/queue/wake-queue.ts";
import { redisWakeUps, type WakeUps } from "../../workflows/queue/wake-ups.ts";
import { add, CHAIN_OUTPUT } from "./faults/chain.ts";
import { type FaultWorker, startFaultWorker } from "./faults/fault-worker.ts";
import { type RedisCluster, redisCluster } from "./redis-cluster.ts";
import { runFacts } from "./run-facts.ts";

/** The function behind all steps. */
const functions = createServer({ keepAliveTimeout: 0 }, (request, response) => {
  void text(request).then((body) => response.end(JSON.stringify(add(JSON.parse(body)))));
});
let cluster: RedisCluster;
const workers: FaultWorker[] = [];
let wakeUps: WakeUps;
beforeAll(async () => {
  functions.listen(0, "127.0.0.1");
  await once(functions, "listening");
  cluster = await redisCluster(3);
  const journal = redisJournal(() => cluster.client);
  const log = processLog("starter", { level: "error" });
  const clock = await storeClock(journal);
  wakeUps = redisWakeUps({ url: cluster.url, journal, clock, worker: "starter", log });
}, 120_000);
afterAll(async () => {
  await Promise.all([wakeUps?.close(), ...workers.map((worker) => worker.stop())]);
  functions.closeAllConnections();
  functions.close();
  await cluster?.stop();
});

// Before there are workers, which would take its jobs.
it("wake-ups and nudges reach a worker on a Redis Cluster by themselves", { timeout: 120_000 }, async () => {
  const log = processLog("cluster", { level: "error" });
  const options = { name: "test", maxRetriesPerRequest: null, patient: true, retryDelayMs: () => 100 };
  const clients = Array.from({ length: 3 }, () => redisClient(cluster.url, options));
  const [adding, taking, listening] = clients;
  if (!adding || !taking || !listening) throw new Error("No clients");
  for (const client of clients) client.on("error", () => undefined);
  const queue = wakeQueue(adding, log);
  const heard: string[] = [];
  queue.consume(taking, async ({ id }) => void heard.push(`job ${id}`), 4);
  const nudging = nudges(() => adding);
  nudging.listen(listening, "worker", ({ id }) => void heard.push(`nudge ${id}`));
  await queue.add({ namespace: "shop", id: "one" });
  // Who is not subscribed yet hears nothing.
  while (!heard.includes("nudge one")) {
    await nudging.nudge("worker", { namespace: "shop", id: "one" });
    await sleep(20);
  }
  while (!heard.includes("job one")) await sleep(20);
  expect(heard.filter((what) => what === "job one")).toHaveLength(1);
  await queue.close();
  for (const client of clients) client.disconnect();
});

it("runs go to their end on a Redis Cluster, with the queue, the timers and two workers", {
  timeout: 120_000,
}, async () => {
  const journal = redisJournal(() => cluster.client);
  const { port } = z.object({ port: z.number() }).parse(functions.address());
  for (const name of ["a", "b"])
    workers.push(
      await startFaultWorker({
        redisUrl: cluster.url,
        name,
        leaseMs: 3_000,
        functionUrl: `http://127.0.0.1:${port}`,
      }),
    );
  const keys = await Promise.all(
    Array.from({ length: 30 }, async (_, n) => {
      const { record, history } = newRun(runFacts(`run-${n}`, { n: 0 }, { workflow: "chain" }));
      await journal.create(record, history);
      // Half of them are left to the sweepers.
      if (n % 2 === 0) await wakeUps.wake(record.facts.key);
      return record.facts.key;
    }),
  );
  for (const key of keys) {
    let record = await journal.load(key);
    while (record?.status === "running") {
      await sleep(20);
      record = await journal.load(key);
    }
    expect(record).toMatchObject({ status: "succeeded", output: { value: CHAIN_OUTPUT } });
  }
});
