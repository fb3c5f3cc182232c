import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TIME_TRIGGERS } from "../../../kube/kinds.ts";
import { type KubeServer, startKube } from "../../controller/platform.ts";
import { hasRedis, type RedisServer, startRedisServer } from "../../redis-server.ts";
import { type DyingReplicas, dyingReplicas } from "../dying-replicas.ts";
import { type Recorded, recordedCalls, type RecordedCalls } from "./recorded-calls.ts";
import { eventually } from "../../eventually.ts";

const WORKER = join(import.meta.dirname, "timer-worker.ts");
const TIMERS = 8;

describe.skipIf(!hasRedis)("timers whose replicas are killed", () => {
  let kube: KubeServer;
  let server: RedisServer;
  let queue: RecordedCalls;
  let replicas: DyingReplicas;
  beforeAll(async () => {
    [kube, server] = await Promise.all([startKube(), startRedisServer()]);
    queue = recordedCalls(server.url);
    replicas = dyingReplicas(WORKER, ["--kubeconfig", kube.localkube.kubeconfigPath, "--redis", server.url]);
  });
  afterAll(async () => {
    await replicas.stop();
    queue.close();
    await Promise.all([kube.stop(), server.remove()]);
  });

  test("in the middle of fires, before and after a call was accepted: no time is lost and none becomes two calls", async () => {
    const names = Array.from({ length: TIMERS }, (_, at) => `killed-${at}`);
    for (const name of names)
      await kube.client.create(TIME_TRIGGERS, {
        apiVersion: "fission.io/v1",
        kind: "TimeTrigger",
        metadata: { namespace: "default", name },
        spec: { cron: "* * * * * *", catchUp: "all", functionref: { type: "name", name: "hello" } },
      });
    replicas.keepAlive("a", [
      ["--die-before", "4"],
      ["--die-after", "3"],
    ]);
    replicas.keepAlive("b", [
      ["--die-after", "5"],
      ["--die-before", "3"],
    ]);
    await eventually(
      async () => replicas.kills(),
      (count) => count >= 3,
      120_000,
    );
    // What came while none of them ran comes at once: of each timer some more are waited for.
    const deaths = await queue.accepted();
    const before = new Map(names.map((name) => [name, timesOf(deaths, name).length]));
    // What a killed one has left open is another's when its lease is over: until then there are holes.
    // One that begins again late on a busy machine finds the other at work.
    const calls = await eventually(
      queue.accepted,
      (all) =>
        new Set(all.map(({ by }) => by)).size === 2 &&
        names.every((name) => {
          const times = timesOf(all, name);
          return times.length >= (before.get(name) ?? 0) + 3 && holesOf(times) === 0;
        }),
      120_000,
    );
    for (const name of names) {
      const times = timesOf(calls, name);
      expect(new Set(times).size).toBe(times.length);
      expect(times.length).toBeGreaterThan(2);
    }
    expect(await queue.offered()).toBeGreaterThan(calls.length - 1);
    expect(new Set(calls.map(({ by }) => by)).size).toBe(2);
  }, 300_000);

  test("on machines whose clocks are wrong by an hour: each time is called for once, by the store's clock, also of another schedule", async () => {
    await replicas.stop();
    await kube.client.deleteCollection(TIME_TRIGGERS, { namespace: "default" });
    const wrong = dyingReplicas(WORKER, [
      "--kubeconfig",
      kube.localkube.kubeconfigPath,
      "--redis",
      server.url,
    ]);
    try {
      wrong.keepAlive("fast", [["--clock-off=3600000"]]);
      wrong.keepAlive("slow", [["--clock-off=-3600000"]]);
      const names = ["off-1", "off-2", "off-3", "off-4"];
      const madeAt = Date.now();
      for (const name of names)
        await kube.client.create(TIME_TRIGGERS, {
          apiVersion: "fission.io/v1",
          kind: "TimeTrigger",
          metadata: { namespace: "default", name },
          spec: { cron: "0 0 1 1 *", catchUp: "all", functionref: { type: "name", name: "hello" } },
        });
      const ofAll = async (): Promise<number[][]> => {
        const calls = await queue.accepted();
        return names.map((name) => timesOf(calls, name));
      };
      for (const name of names)
        await eventually(
          () => kube.client.get(TIME_TRIGGERS, { namespace: "default", name }),
          ({ status }) => status?.nextFires?.length === 10,
          120_000,
        );
      expect((await ofAll()).flat()).toEqual([]);
      for (const name of names)
        await kube.client.patch(
          TIME_TRIGGERS,
          { namespace: "default", name },
          { spec: { cron: "* * * * * *" } },
        );
      const found = await eventually(
        ofAll,
        (all) => all.every((times) => times.length >= 4 && holesOf(times) === 0),
        120_000,
      );
      for (const times of found) {
        expect(times[0]).toBeGreaterThan(madeAt);
        expect(times.at(-1)).toBeLessThanOrEqual(Date.now());
        expect(new Set(times).size).toBe(times.length);
      }
    } finally {
      await wrong.stop();
    }
  }, 300_000);
});

const timesOf = (calls: readonly Recorded[], name: string): number[] =>
  calls
    .filter(({ source }) => source === `timer/${name}`)
    .map(({ event }) => Date.parse(event.headers["x-fission-timer-scheduled-time"] ?? ""))
    .toSorted((a, b) => a - b);

/** Seconds without a call between the first and the last. */
const holesOf = (times: readonly number[]): number =>
  ((times.at(-1) ?? 0) - (times[0] ?? 0)) / 1_000 + 1 - new Set(times).size;
