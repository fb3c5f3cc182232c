import { createHash } from "node:crypto";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { LABEL_FUNCTION_UID } from "../../api/names.ts";
import { PODS } from "../../kube/core.ts";
import { isNotFound } from "../../kube/kube-error.ts";
import { servingOf } from "../executor/far-side.ts";
import { callPod, type RunningExecutor } from "../executor/real-world.ts";
import { currentCluster } from "./cluster.ts";
import { clusterWorld } from "./executor-world.ts";
import { until } from "../until.ts";

/** What happens to warm pods when the node's kubelet restarts, and when the node is drained. */
let world: Awaited<ReturnType<typeof clusterWorld>>;
let running: RunningExecutor;
const LIMIT_MS = 120_000;
vi.setConfig({ testTimeout: 480_000 });
const DIGEST = "warm";
const CODE = new TextEncoder().encode(`let calls = 0; export default () => new Response("call " + ++calls)`);

beforeAll(async () => {
  world = await clusterWorld("executor-kubelet");
  await world.addEnvironment(2, { resources: { requests: { cpu: "10m" }, limits: { memory: "256Mi" } } });
  running = await world.startExecutor();
  await until("the pool is full", () => running.process.snapshot()?.pools[0]?.ready === 2, LIMIT_MS);
});
afterAll(() => world?.stop());

async function serve(name: string, executorType: string) {
  const digest = createHash("sha256").update(CODE).digest("hex");
  world.archives.set(digest, CODE);
  const serving = servingOf(
    `${DIGEST}-${executorType}`,
    { requestsPerPod: 10 },
    {
      executorType,
      package: { name: "code", digest, sizeBytes: CODE.length },
    },
  );
  const { uid } = await world.serve(name, serving);
  const ask = async () => {
    const [endpoint] = await running.acquire(name, uid, serving.revision, { waitMs: 25_000 });
    if (!endpoint) throw new Error("an endpoint is expected");
    return endpoint;
  };
  // A pod may need longer to come than one question waits.
  const acquire = () => vi.waitFor(ask, { timeout: LIMIT_MS, interval: 250 });
  const pods = async () =>
    (
      await world.client.list(PODS, {
        namespace: world.namespace,
        labelSelector: `${LABEL_FUNCTION_UID}=${uid}`,
      })
    ).items.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
  return { uid, acquire, pods };
}

test("a restart of the kubelet costs no warm pod and no request", async () => {
  const cluster = currentCluster();
  const pooled = await serve("pooled", "poolmgr");
  const kept = await serve("kept", "auto");
  const endpoints = [await pooled.acquire(), await kept.acquire()];
  let failures = 0;
  const enough = new AbortController();
  const calling = (async () => {
    while (!enough.signal.aborted) {
      for (const endpoint of endpoints) {
        const reply = await callPod(endpoint).catch(() => undefined);
        if (reply?.status !== 200) failures += 1;
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  })();
  await cluster.stopPart("kubelet");
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  cluster.startPart("kubelet");
  await new Promise((resolve) => setTimeout(resolve, 15_000));
  await until("the pool is full again", () => running.process.snapshot()?.pools[0]?.ready === 2, LIMIT_MS);
  enough.abort();
  await calling;
  expect(failures).toBe(0);
  expect((await pooled.acquire()).podUid).toBe(endpoints[0]?.podUid);
  expect((await kept.acquire()).podUid).toBe(endpoints[1]?.podUid);
  const another = await serve("another", "poolmgr");
  expect((await callPod(await another.acquire())).status).toBe(200);
});

test("a drained node: pods are evicted one after the other, the pool is filled again and the ReplicaSet's pod is replaced with its code", async () => {
  const kept = await serve("drained", "auto");
  const before = await kept.acquire();
  await until(
    "it is the ReplicaSet's",
    async () =>
      (await kept.pods()).some(({ metadata }) => metadata.ownerReferences?.[0]?.kind === "ReplicaSet"),
    LIMIT_MS,
  );
  const { items } = await world.client.list(PODS, { namespace: world.namespace });
  for (const { metadata } of items)
    await world.client
      .request({
        method: "POST",
        path: `/api/v1/namespaces/${world.namespace}/pods/${metadata.name}/eviction`,
        body: { apiVersion: "policy/v1", kind: "Eviction", metadata: { name: metadata.name } },
      })
      .catch((error: unknown) => {
        // It went meanwhile.
        if (!isNotFound(error)) throw error;
      });
  await until("the pool is full again", () => running.process.snapshot()?.pools[0]?.ready === 2, LIMIT_MS);
  await until(
    "there is another pod of the function",
    async () => (await kept.pods()).some(({ metadata }) => metadata.uid !== before.podUid),
    LIMIT_MS,
  );
  let after = before;
  // The executor hears of it a moment later.
  await until(
    "another pod of the function serves",
    async () => (after = await kept.acquire()).podUid !== before.podUid,
    LIMIT_MS,
  );
  expect((await callPod(after)).text).toBe("call 1");
});
