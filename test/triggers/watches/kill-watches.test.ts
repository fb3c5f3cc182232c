import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CONFIG_MAPS } from "../../../kube/core.ts";
import { KUBERNETES_WATCH_TRIGGERS } from "../../../kube/kinds.ts";
import { condition, type KubeServer, startKube } from "../../controller/platform.ts";
import { hasRedis, type RedisServer, startRedisServer } from "../../redis-server.ts";
import { type DyingReplicas, dyingReplicas } from "../dying-replicas.ts";
import { type RecordedCalls, recordedCalls } from "../timers/recorded-calls.ts";
import { eventually } from "../../eventually.ts";

const WORKER = join(import.meta.dirname, "watch-worker.ts");
const OBJECTS = 12;
/** The replicas share them. */
const TRIGGERS = ["killed-1", "killed-2", "killed-3"];

describe.skipIf(!hasRedis)("watches whose replicas are killed", () => {
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

  test("in the middle of changes, before and after one was accepted: none is lost, none becomes two calls, their order stays", async () => {
    const namespace = "default";
    for (const name of TRIGGERS)
      await kube.client.create(KUBERNETES_WATCH_TRIGGERS, {
        apiVersion: "fission.io/v1",
        kind: "KubernetesWatchTrigger",
        metadata: { namespace, name },
        spec: {
          namespace,
          apiVersion: "v1",
          kind: "ConfigMap",
          selector: "watched",
          functionref: { type: "name", name: "hello" },
        },
      });
    replicas.keepAlive("a", [
      ["--die-before", "3"],
      ["--die-after", "4"],
      ["--die-before", "1"],
    ]);
    for (const name of TRIGGERS)
      await eventually(
        () => kube.client.get(KUBERNETES_WATCH_TRIGGERS, { namespace, name }),
        (trigger) => condition(trigger, "Subscribed")?.status === "True",
        120_000,
      );
    replicas.keepAlive("b", [
      ["--die-after", "3"],
      ["--die-before", "2"],
    ]);
    // While they die, and while nobody runs.
    const expected: string[] = [];
    for (let n = 0; n < OBJECTS; n++) {
      const ref = { namespace, name: `map-${n}` };
      await kube.client.create(CONFIG_MAPS, { metadata: { ...ref, labels: { watched: "yes" } }, data: {} });
      await kube.client.patch(CONFIG_MAPS, ref, { data: { n: String(n) } });
      if (n % 3 === 0) await kube.client.delete(CONFIG_MAPS, ref);
      expected.push(
        `ADDED ${ref.name}`,
        `MODIFIED ${ref.name}`,
        ...(n % 3 === 0 ? [`DELETED ${ref.name}`] : []),
      );
    }
    const toldBy = async (trigger: string): Promise<string[]> =>
      (await queue.accepted())
        .filter(({ source }) => source === `watch/${trigger}`)
        .map(
          ({ event }) =>
            `${event.headers["x-kubernetes-event-type"] ?? ""} ${JSON.parse(event.body).metadata.name}`,
        );
    for (const trigger of TRIGGERS) {
      await eventually(
        () => toldBy(trigger),
        (all) => all.length >= expected.length,
        120_000,
      );
      expect(await toldBy(trigger)).toEqual(expected);
    }
    expect(replicas.kills()).toBeGreaterThanOrEqual(3);
    // What had been accepted and not kept was offered again, under the same key.
    expect(await queue.offered()).toBeGreaterThan(expected.length * TRIGGERS.length);
  }, 300_000);
});
