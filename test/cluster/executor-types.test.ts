import { createHash } from "node:crypto";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import type { Serving } from "../../api/kinds/serving.ts";
import { LABEL_FUNCTION_UID } from "../../api/names.ts";
import type { Endpoint } from "../../api/wire/executor.ts";
import type { FaultPoint } from "../../engine/executor/executor.ts";
import type { ExecutorSettings } from "../../engine/executor/settings.ts";
import { AUTOSCALERS, DEPLOYMENTS, PODS, type Pod, REPLICA_SETS } from "../../kube/core.ts";
import { FUNCTIONS } from "../../kube/kinds.ts";
import type { KubeObject } from "../../kube/object.ts";
import type { ResourceType } from "../../kube/resource.ts";
import { servingOf } from "../executor/far-side.ts";
import {
  callPod,
  failureOf,
  publishedPods,
  type RunningExecutor,
  whileCalled,
} from "../executor/real-world.ts";
import { clusterWorld } from "./executor-world.ts";
import { until } from "../until.ts";

/** The executor types on a real Kubernetes: its controllers, its autoscaler, its evictions. What they do in detail: `test/executor`. */
let world: Awaited<ReturnType<typeof clusterWorld>>;
let executors: RunningExecutor[] = [];
let served: string[] = [];
const LIMIT_MS = 120_000;
const AGAIN_MS = 250;
/** For as many waits as a test has, should each of them need half of its time. */
vi.setConfig({ testTimeout: 480_000 });

beforeAll(async () => {
  world = await clusterWorld("executor-types");
  await world.addEnvironment(1, { resources: { requests: { cpu: "10m" }, limits: { memory: "256Mi" } } });
});
afterEach(async () => {
  for (const name of served) await world.client.delete(FUNCTIONS, { namespace: world.namespace, name });
  served = [];
  for (const executor of executors) await executor.stop();
  executors = [];
});
afterAll(() => world.stop());

async function executor(settings: Partial<ExecutorSettings> = {}): Promise<RunningExecutor> {
  const started = await world.startExecutor(settings);
  executors.push(started);
  await until("the executor is ready", () => started.process.ready(), LIMIT_MS);
  return started;
}

const HELLO = `let calls = 0; export default () => new Response("call " + ++calls)`;
const hashOf = (value: unknown) => createHash("sha256").update(JSON.stringify(value)).digest("hex");

function revisionOf(
  executorType: string,
  code: string,
  limits: Partial<Serving["limits"]> = {},
  more: Partial<Serving> = {},
): Serving {
  const bytes = new TextEncoder().encode(code);
  const digest = createHash("sha256").update(bytes).digest("hex");
  world.archives.set(digest, bytes);
  return servingOf(
    hashOf([executorType, digest, limits, more]).slice(0, 16),
    { requestsPerPod: 10, ...limits },
    {
      executorType,
      package: { name: "code", digest, sizeBytes: bytes.length },
      ...more,
    },
  );
}

const cpu = (averageUtilization: number) => [
  { type: "Resource", resource: { name: "cpu", target: { type: "Utilization", averageUtilization } } },
];
const deployed = (
  code: string,
  scale: Partial<NonNullable<Serving["scale"]>> = {},
  limits: Partial<Serving["limits"]> = {},
) =>
  revisionOf(
    "newdeploy",
    code,
    { concurrency: 100_000, ...limits },
    {
      scale: { minPods: 1, maxPods: 2, metrics: cpu(80), ...scale },
      pod: { resources: { requests: { cpu: "10m" }, limits: { memory: "256Mi" } } },
    },
  );

async function serve(name: string, serving: Serving): Promise<string> {
  if (!served.includes(name)) served.push(name);
  return (await world.serve(name, serving)).uid;
}

async function owned<T extends KubeObject>(type: ResourceType<T>, uid: string): Promise<T[]> {
  const { items } = await world.client.list(type, {
    namespace: world.namespace,
    labelSelector: `${LABEL_FUNCTION_UID}=${uid}`,
  });
  return items.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
}

const conditionOf = (pod: Pod, name: string) =>
  pod.status?.conditions?.find(({ type }) => type === name)?.status;
const isReady = (pod: Pod) => conditionOf(pod, "Ready") === "True";
const controllerOf = (pod: Pod) => pod.metadata.ownerReferences?.find(({ controller }) => controller)?.kind;

async function settledAt(uid: string, pods: number): Promise<Pod[]> {
  let found: Pod[] = [];
  await until(
    `${pods} pods are ready and published`,
    async () => {
      found = await owned(PODS, uid);
      const published = await publishedPods(world.client, world.namespace);
      return (
        found.length === pods &&
        found.every((pod) => isReady(pod) && published.includes(pod.metadata.uid ?? ""))
      );
    },
    LIMIT_MS,
  );
  return found;
}

async function first(
  running: RunningExecutor,
  name: string,
  uid: string,
  serving: Serving,
  known: string[] = [],
): Promise<Endpoint> {
  const ask = async (): Promise<Endpoint> => {
    const [endpoint] = await running.acquire(name, uid, serving.revision, { known, waitMs: 25_000 });
    if (!endpoint) throw new Error("an endpoint is expected");
    return endpoint;
  };
  const end = performance.now() + LIMIT_MS;
  for (;;)
    try {
      return await ask();
    } catch (error) {
      // A pod may need longer to come than one question waits.
      if (performance.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
}

const evict = (pod: Pod) =>
  world.client.request({
    method: "POST",
    path: `/api/v1/namespaces/${world.namespace}/pods/${pod.metadata.name}/eviction`,
    body: { apiVersion: "policy/v1", kind: "Eviction", metadata: { name: pod.metadata.name } },
  });

test("auto: the pod of the pool that took the first call is its ReplicaSet's; an evicted one is replaced with code in it; idle pods go", async () => {
  const running = await executor();
  const serving = revisionOf("auto", HELLO, { idleTimeoutMs: 10_000, concurrency: 5 });
  const uid = await serve("auto", serving);
  const one = await first(running, "auto", uid, serving);
  expect((await callPod(one)).text).toBe("call 1");
  let pod: Pod | undefined;
  await whileCalled([one], async () => {
    [pod] = await settledAt(uid, 1);
    await until(
      "it is the ReplicaSet's",
      async () => (await owned(PODS, uid)).every((own) => controllerOf(own) === "ReplicaSet"),
      LIMIT_MS,
    );
  });
  expect(pod?.metadata.uid).toBe(one.podUid);
  expect((await callPod(one)).text).toMatch(/^call ([2-9]|\d\d+)$/);
  if (pod) await evict(pod);
  await until(
    "another one serves",
    async () => {
      const pods = await owned(PODS, uid);
      return pods.length === 1 && pods[0]?.metadata.uid !== one.podUid;
    },
    LIMIT_MS,
  );
  await settledAt(uid, 1);
  const next = await first(running, "auto", uid, serving);
  expect((await callPod(next)).text).toBe("call 1");
  await until("the idle pod is gone", async () => (await owned(PODS, uid)).length === 0, LIMIT_MS);
  const [set] = await owned(REPLICA_SETS, uid);
  expect(set?.spec.replicas ?? 0).toBe(0);
});

test("newdeploy: pods are ready when they have their code; a rollout fails no request, a drained pod is replaced, the last one goes when idle", async () => {
  const running = await executor({ scaleDownDelayMs: 2_000 });
  const old = deployed(HELLO, { minPods: 1 }, { idleTimeoutMs: 8_000 });
  const uid = await serve("deployed", old);
  const [pod] = await settledAt(uid, 1);
  expect(conditionOf(pod as Pod, "isotope.dev/specialised")).toBe("True");
  let current = await first(running, "deployed", uid, old);
  expect((await callPod(current)).text).toBe("call 1");
  const fresh = deployed(
    `export default () => new Response("new")`,
    { minPods: 1 },
    { idleTimeoutMs: 8_000 },
  );
  const failures: string[] = [];
  const enough = new AbortController();
  const calling = (async () => {
    while (!enough.signal.aborted) {
      const failure = await failureOf(current);
      const published = await publishedPods(world.client, world.namespace);
      if (failure !== undefined && published.includes(current.podUid)) failures.push(failure);
      if (!published.includes(current.podUid)) current = await first(running, "deployed", uid, fresh);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  })();
  await serve("deployed", fresh);
  await until("the new pod serves", () => current.revision === fresh.revision, LIMIT_MS);
  enough.abort();
  await calling;
  expect(failures).toEqual([]);
  expect((await callPod(current)).text).toBe("new");
  const [rolled] = await settledAt(uid, 1);
  if (rolled) await evict(rolled);
  await until(
    "another one serves",
    async () => {
      const pods = await owned(PODS, uid);
      return pods.length === 1 && pods[0]?.metadata.uid !== rolled?.metadata.uid;
    },
    LIMIT_MS,
  );
  await settledAt(uid, 1);
  await serve("deployed", { ...fresh, scale: { minPods: 0, maxPods: 2, metrics: cpu(80) } });
  await until("the idle pod is gone", async () => (await owned(PODS, uid)).length === 0, LIMIT_MS);
  expect((await callPod(await first(running, "deployed", uid, fresh))).text).toBe("new");
});

test("the autoscaler of the cluster raises a newdeploy function by its cpu, and its further pods serve", async () => {
  await executor();
  const busy = `setInterval(() => { const end = Date.now() + 60; while (Date.now() < end); }, 200);
    export default () => new Response("busy")`;
  const serving = deployed(busy, { metrics: cpu(50) });
  const uid = await serve("busy", serving);
  await settledAt(uid, 1);
  await until(
    "the autoscaler has raised it",
    async () => ((await owned(DEPLOYMENTS, uid))[0]?.spec.replicas ?? 0) === 2,
    180_000,
  );
  expect((await settledAt(uid, 2)).length).toBe(2);
  // What it has done it says a little later, and not as long as the metrics of a new pod are missing.
  await until(
    "the autoscaler says that it works",
    async () => {
      const [autoscaler] = await owned(AUTOSCALERS, uid);
      const conditions: readonly { type: string; status: string }[] = autoscaler?.status?.conditions ?? [];
      return conditions.some(({ type, status }) => type === "ScalingActive" && status === "True");
    },
    LIMIT_MS,
  );
}, 600_000);

test("container: any HTTP server, restricted, from its first call to zero and back", async () => {
  const running = await executor({ scaleDownDelayMs: 2_000 });
  const image = "isotope.local/busybox:1";
  const spec = {
    securityContext: { runAsUser: 65532 },
    containers: [
      {
        image,
        command: ["httpd", "-f", "-p", "8080", "-h", "/etc"],
        resources: { requests: { cpu: "10m" } },
      },
    ],
  };
  const serving = revisionOf(
    "container",
    "",
    { concurrency: 100_000, idleTimeoutMs: 15_000 },
    {
      environment: { name: "", uid: "", image, version: 3, contract: "reference" },
      scale: { minPods: 0, maxPods: 2, metrics: cpu(80) },
      pod: { spec, port: 8080 },
    },
  );
  const uid = await serve("web", serving);
  expect(await owned(DEPLOYMENTS, uid)).toEqual([]);
  const endpoint = await first(running, "web", uid, serving);
  expect((await callPod(endpoint, "/hostname")).status).toBe(200);
  let pod: Pod | undefined;
  await whileCalled([endpoint], async () => {
    [pod] = await settledAt(uid, 1);
  });
  expect(pod?.spec.automountServiceAccountToken).toBe(false);
  await until("the idle pod is gone", async () => (await owned(PODS, uid)).length === 0, LIMIT_MS);
  expect((await callPod(await first(running, "web", uid, serving), "/hostname")).status).toBe(200);
});

test("an executor that is started again keeps every warm pod of every type", async () => {
  const before = await executor();
  const warm = [];
  for (const [name, serving] of [
    ["kept-pool", revisionOf("poolmgr", HELLO)],
    ["kept-auto", revisionOf("auto", HELLO)],
    ["kept-deployed", deployed(HELLO)],
  ] as const) {
    const uid = await serve(name, serving);
    const endpoint = await first(before, name, uid, serving);
    expect((await callPod(endpoint)).text).toBe("call 1");
    warm.push({ name, uid, serving, endpoint });
  }
  for (const { uid } of warm) await settledAt(uid, 1);
  await before.stop();
  executors = [];
  const after = await executor();
  for (const { name, uid, serving, endpoint } of warm) {
    expect((await first(after, name, uid, serving)).podUid).toBe(endpoint.podUid);
    expect((await callPod(endpoint)).text).toBe("call 2");
  }
});

test.each<FaultPoint>(["before-label", "before-slice"])(
  "an executor killed %s, in the middle of a claim: the next one serves from the same pod",
  async (point) => {
    const doomed = await executor();
    const serving = revisionOf("poolmgr", HELLO);
    const uid = await serve(`killed-${point}`, serving);
    const died = doomed.dieAt(point);
    const endpoint = await first(doomed, `killed-${point}`, uid, serving);
    await died;
    expect((await callPod(endpoint)).text).toBe("call 1");
    await doomed.stop();
    executors = [];
    const next = await executor();
    expect((await first(next, `killed-${point}`, uid, serving)).podUid).toBe(endpoint.podUid);
    expect((await callPod(endpoint)).text).toBe("call 2");
  },
);

test.each<FaultPoint>(["before-replicas", "before-hand-over", "before-deployment"])(
  "an executor killed %s: the next one serves",
  async (point) => {
    const doomed = await executor();
    const serving =
      point === "before-deployment" ? deployed(HELLO, { minPods: 0 }) : revisionOf("auto", HELLO);
    const name = `killed-${point}`;
    const uid = await serve(name, serving);
    const died = doomed.dieAt(point);
    const taken = doomed.acquire(name, uid, serving.revision, { waitMs: 25_000 }).catch(() => []);
    await died;
    await doomed.stop();
    executors = [];
    const next = await executor();
    const endpoint = await first(next, name, uid, serving);
    expect((await callPod(endpoint)).status).toBe(200);
    const [before] = await taken;
    if (before) expect(endpoint.podUid).toBe(before.podUid);
  },
);
