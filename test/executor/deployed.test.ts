import { createHash } from "node:crypto";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Serving } from "../../api/kinds/serving.ts";
import { LABEL_FUNCTION_UID } from "../../api/names.ts";
import type { Endpoint } from "../../api/wire/executor.ts";
import type { FaultPoint } from "../../engine/executor/executor.ts";
import type { ExecutorSettings } from "../../engine/executor/settings.ts";
import {
  AUTOSCALERS,
  DEPLOYMENTS,
  type Deployment,
  PODS,
  type Pod,
  SECRETS,
  SERVICES,
} from "../../kube/core.ts";
import { FUNCTIONS } from "../../kube/kinds.ts";
import type { KubeObject } from "../../kube/object.ts";
import type { ResourceType } from "../../kube/resource.ts";
import { servingOf } from "./far-side.ts";
import {
  callPod,
  failureOf,
  NAMESPACE,
  publishedPods,
  type RealWorld,
  type RunningExecutor,
  realWorld,
  whileCalled,
} from "./real-world.ts";
import { until } from "../until.ts";

let world: RealWorld;
let executors: RunningExecutor[] = [];
let served: string[] = [];

beforeAll(async () => {
  world = await realWorld();
  await world.addEnvironment(0);
});
afterEach(async () => {
  for (const name of served) await world.client.delete(FUNCTIONS, { namespace: NAMESPACE, name });
  served = [];
  for (const executor of executors) await executor.stop();
  executors = [];
});
afterAll(() => world.stop());

async function executor(settings: Partial<ExecutorSettings> = {}): Promise<RunningExecutor> {
  const started = await world.startExecutor(settings);
  executors.push(started);
  await until("the executor is ready", () => started.process.ready());
  return started;
}

const HELLO = `let calls = 0; export default () => new Response("call " + ++calls)`;
const CPU = [
  { type: "Resource", resource: { name: "cpu", target: { type: "Utilization", averageUtilization: 80 } } },
];

const hashOf = (value: unknown) => createHash("sha256").update(JSON.stringify(value)).digest("hex");

function newdeploy(
  code: string,
  scale: Partial<NonNullable<Serving["scale"]>> = {},
  limits: Partial<Serving["limits"]> = {},
): Serving {
  const bytes = new TextEncoder().encode(code);
  const digest = createHash("sha256").update(bytes).digest("hex");
  world.archives.set(digest, bytes);
  return servingOf(
    hashOf([digest, limits]).slice(0, 16),
    { concurrency: 100_000, requestsPerPod: 10, ...limits },
    {
      executorType: "newdeploy",
      package: { name: "code", digest, sizeBytes: bytes.length },
      scale: { minPods: 1, maxPods: 3, metrics: CPU, ...scale },
      pod: { resources: { requests: { cpu: "50m" } } },
    },
  );
}

function container(
  image: string,
  scale: Partial<NonNullable<Serving["scale"]>> = {},
  more: Partial<Serving> = {},
  limits: Partial<Serving["limits"]> = {},
): Serving {
  const podspec = {
    terminationGracePeriodSeconds: 5,
    containers: [
      {
        image,
        lifecycle: {},
        readinessProbe: { httpGet: { path: "/ready", port: 8080 }, periodSeconds: 1, failureThreshold: 1 },
      },
    ],
  };
  return servingOf(
    hashOf([image, more, limits]).slice(0, 16),
    { concurrency: 100_000, requestsPerPod: 1_000, ...limits },
    {
      executorType: "container",
      package: { name: "", digest: "", sizeBytes: 0 },
      environment: { name: "", uid: "", image, version: 3, contract: "reference" },
      scale: { minPods: 1, maxPods: 3, metrics: CPU, ...scale },
      pod: { spec: podspec, port: 8080 },
      ...more,
    },
  );
}

async function serve(name: string, serving: Serving): Promise<string> {
  if (!served.includes(name)) served.push(name);
  return (await world.serve(name, serving)).uid;
}

async function owned<T extends KubeObject>(type: ResourceType<T>, uid: string): Promise<T[]> {
  const { items } = await world.client.list(type, {
    namespace: NAMESPACE,
    labelSelector: `${LABEL_FUNCTION_UID}=${uid}`,
  });
  return items.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
}

const deploymentOf = async (uid: string): Promise<Deployment | undefined> =>
  (await owned(DEPLOYMENTS, uid))[0];
const isReady = (pod: Pod) =>
  pod.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") ?? false;

/** Resolves when the Deployment has so many pods, all of them ready and published. */
async function settledAt(uid: string, pods: number): Promise<Pod[]> {
  let found: Pod[] = [];
  await until(`${pods} pods are ready and published`, async () => {
    found = await owned(PODS, uid);
    const published = await publishedPods(world.client);
    const deployment = await deploymentOf(uid);
    return (
      found.length === pods &&
      (deployment?.spec.replicas ?? 0) === pods &&
      found.every((pod) => isReady(pod) && published.includes(pod.metadata.uid ?? ""))
    );
  });
  return found;
}

async function first(
  running: RunningExecutor,
  name: string,
  uid: string,
  serving: Serving,
  known: string[] = [],
): Promise<Endpoint> {
  const [endpoint] = await running.acquire(name, uid, serving.revision, { known });
  if (!endpoint) throw new Error("an endpoint is expected");
  return endpoint;
}

async function conditionOf(name: string, type: string) {
  const fn = await world.client.find(FUNCTIONS, { namespace: NAMESPACE, name });
  return fn?.status?.conditions?.find((condition) => condition.type === type);
}

describe("newdeploy", () => {
  test("a Deployment, a Service and an autoscaler are the function's; its pods have their code before anybody calls, and are ready only then", async () => {
    const running = await executor();
    const serving = newdeploy(HELLO);
    const uid = await serve("deployed", serving);
    const [pod] = await settledAt(uid, 1);
    // The Deployment is written first: its pods may be there before the others are.
    await until("the autoscaler is written", async () => (await owned(AUTOSCALERS, uid)).length > 0);
    for (const type of [DEPLOYMENTS, SERVICES, AUTOSCALERS]) {
      const [object, ...others] = await owned<KubeObject>(type, uid);
      expect(others).toEqual([]);
      expect(object?.metadata.ownerReferences).toMatchObject([{ kind: "Function", uid, controller: true }]);
    }
    const [autoscaler] = await owned(AUTOSCALERS, uid);
    expect(autoscaler?.spec).toMatchObject({ minReplicas: 1, maxReplicas: 3, metrics: CPU });
    expect(pod?.spec["readinessGates"]).toHaveLength(1);
    expect(pod?.spec.containers[0]?.resources?.requests).toMatchObject({ cpu: "50m" });
    expect(pod?.spec.automountServiceAccountToken).toBe(false);
    const endpoint = await first(running, "deployed", uid, serving);
    expect(endpoint.podUid).toBe(pod?.metadata.uid);
    expect((await callPod(endpoint)).text).toBe("call 1");
    await until(
      "the condition says so",
      async () => (await conditionOf("deployed", "PodsReady"))?.status === "True",
    );
  });

  test("with MinScale 0 nothing exists before the first call, and the last pod goes when it is idle", async () => {
    const running = await executor({ scaleDownDelayMs: 500 });
    const serving = newdeploy(HELLO, { minPods: 0 }, { idleTimeoutMs: 4_000 });
    const uid = await serve("lazy", serving);
    await new Promise((resolve) => setTimeout(resolve, 1_300));
    expect(await owned(DEPLOYMENTS, uid)).toEqual([]);
    const endpoint = await first(running, "lazy", uid, serving);
    expect((await callPod(endpoint)).text).toBe("call 1");
    await whileCalled([endpoint], () => settledAt(uid, 1));
    await settledAt(uid, 0);
    const again = await first(running, "lazy", uid, serving);
    expect((await callPod(again)).text).toBe("call 1");
  });

  test("whoever scales the Deployment gets pods with code, as an autoscaler does; a deleted pod is replaced", async () => {
    const running = await executor();
    const serving = newdeploy(HELLO);
    const uid = await serve("scaled", serving);
    await settledAt(uid, 1);
    const ref = { namespace: NAMESPACE, name: (await deploymentOf(uid))?.metadata.name ?? "" };
    await world.client.patch(DEPLOYMENTS, ref, { spec: { replicas: 2 } });
    const [pod] = await settledAt(uid, 2);
    await world.client.delete(PODS, { namespace: NAMESPACE, name: pod?.metadata.name ?? "" });
    await until("it is another one", async () =>
      (await owned(PODS, uid)).every(({ metadata }) => metadata.uid !== pod?.metadata.uid),
    );
    await settledAt(uid, 2);
    expect((await callPod(await first(running, "scaled", uid, serving))).status).toBe(200);
    await world.client.patch(DEPLOYMENTS, ref, { spec: { replicas: 1 } });
    await settledAt(uid, 1);
  });

  test("a new revision is rolled out without a failed request; the old pods serve until the new ones do", async () => {
    const running = await executor({ supersedeDelayMs: 50 });
    const old = newdeploy(HELLO);
    const uid = await serve("rolling", old);
    await settledAt(uid, 1);
    const fresh = newdeploy(`export default () => new Response("new")`);
    let current = await first(running, "rolling", uid, old);
    const failures: string[] = [];
    const enough = new AbortController();
    // As a router does it: the old pods while they are published, then the new ones.
    const calling = (async () => {
      while (!enough.signal.aborted) {
        const failure = await failureOf(current);
        const published = await publishedPods(world.client);
        if (failure !== undefined && published.includes(current.podUid)) failures.push(failure);
        if (!published.includes(current.podUid)) current = await first(running, "rolling", uid, fresh);
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    })();
    await serve("rolling", fresh);
    await until("the new pod serves", async () => {
      const pods = await owned(PODS, uid);
      return pods.length === 1 && isReady(pods[0] as Pod) && current.revision === fresh.revision;
    });
    enough.abort();
    await calling;
    expect(failures).toEqual([]);
    expect((await callPod(current)).text).toBe("new");
    expect(await owned(DEPLOYMENTS, uid)).toHaveLength(1);
  });

  test("a new revision that does not load leaves the old pods serving, and the condition says why", async () => {
    const running = await executor({ supersedeDelayMs: 50 });
    const good = newdeploy(HELLO);
    const uid = await serve("broken", good);
    const [pod] = await settledAt(uid, 1);
    const endpoint = await first(running, "broken", uid, good);
    await serve("broken", newdeploy(`throw new Error("no luck")`));
    await until(
      "the condition says why",
      async () => (await conditionOf("broken", "PodsReady"))?.message.includes("no luck") ?? false,
    );
    expect((await callPod(endpoint)).status).toBe(200);
    expect(await publishedPods(world.client)).toContain(pod?.metadata.uid);
  });

  test("reported load makes more pods within MaxScale, and fewer again where no autoscaler works", async () => {
    const running = await executor({ scaleDownDelayMs: 1_500, targetUtilization: 100 });
    const serving = newdeploy(HELLO, { maxPods: 2 });
    const uid = await serve("loaded", serving);
    await settledAt(uid, 1);
    const report = (concurrency: number) =>
      running.load({
        router: "a",
        windowMs: 1_000,
        revisions: [{ uid, revision: serving.revision, concurrency, requests: 0 }],
      });
    // A router that falls silent counts as one without load.
    const reporting = setInterval(() => void report(100).catch(() => undefined), 500);
    try {
      await settledAt(uid, 2);
      await until("the autoscaler may not go below", async () => {
        const [autoscaler] = await owned(AUTOSCALERS, uid);
        return autoscaler?.spec.minReplicas === 2;
      });
    } finally {
      clearInterval(reporting);
    }
    await report(0);
    await settledAt(uid, 1);
  });

  test("an executor that is started again keeps the pods", async () => {
    const before = await executor();
    const serving = newdeploy(HELLO);
    const uid = await serve("again", serving);
    await settledAt(uid, 1);
    const endpoint = await first(before, "again", uid, serving);
    await callPod(endpoint);
    await before.stop();
    executors = [];
    const after = await executor();
    expect((await first(after, "again", uid, serving)).podUid).toBe(endpoint.podUid);
    expect((await callPod(endpoint)).text).toBe("call 2");
    expect(await settledAt(uid, 1)).toHaveLength(1);
  });

  test.each<FaultPoint>(["before-deployment", "before-deployment-scale"])(
    "an executor killed %s: the next one serves the call",
    async (point) => {
      const doomed = await executor();
      const serving = newdeploy(HELLO, { minPods: 0 });
      const name = `killed-${point}`;
      const uid = await serve(name, serving);
      if (point === "before-deployment-scale") await first(doomed, name, uid, serving);
      const died = doomed.dieAt(point);
      doomed
        .acquire(name, uid, serving.revision, {
          known: (await owned(PODS, uid)).map(({ metadata }) => metadata.uid ?? ""),
        })
        .catch(() => undefined);
      await died;
      await doomed.stop();
      executors = [];
      const next = await executor();
      expect((await callPod(await first(next, name, uid, serving))).status).toBe(200);
    },
  );

  test("another executor type takes the Deployment away; a deleted function leaves nothing", async () => {
    const running = await executor({ supersedeDelayMs: 50 });
    const serving = newdeploy(HELLO);
    const uid = await serve("changed", serving);
    await settledAt(uid, 1);
    const { pod: _pod, scale: _scale, ...rest } = serving;
    const pooled: Serving = { ...rest, executorType: "poolmgr", revision: "pooled" };
    await serve("changed", pooled);
    expect((await callPod(await first(running, "changed", uid, pooled))).text).toBe("call 1");
    await until("the Deployment is gone", async () => (await owned(DEPLOYMENTS, uid)).length === 0);
    await until("so is the autoscaler", async () => (await owned(AUTOSCALERS, uid)).length === 0);
    await serve("changed", serving);
    await until("it is back", async () => (await owned(DEPLOYMENTS, uid)).length === 1);
    await world.client.delete(FUNCTIONS, { namespace: NAMESPACE, name: "changed" });
    served = [];
    await until("nothing is left", async () => {
      const left = await Promise.all(
        [DEPLOYMENTS, SERVICES, AUTOSCALERS, PODS].map((type) => owned<KubeObject>(type, uid)),
      );
      return left.flat().length === 0;
    });
  });
});

describe("container", () => {
  test("any HTTP server is called as the reference system's contract has it, with its variables", async () => {
    const running = await executor();
    await world.client.create(SECRETS, {
      metadata: { name: "greeting", namespace: NAMESPACE },
      stringData: { text: "hello" },
    });
    const serving = container(
      "web:1",
      {},
      { env: [{ name: "GREETING", secret: { name: "greeting", key: "text" } }] },
    );
    const uid = await serve("web", serving);
    const [pod] = await settledAt(uid, 1);
    expect(pod?.spec.containers[0]?.["securityContext"]).toMatchObject({
      allowPrivilegeEscalation: false,
      capabilities: { drop: ["ALL"] },
    });
    const endpoint = await first(running, "web", uid, serving);
    expect(endpoint).toMatchObject({
      podUid: pod?.metadata.uid,
      contract: "reference",
      requestsPerPod: 1_000,
    });
    expect(endpoint.address.endsWith(":8080")).toBe(true);
    expect(JSON.parse((await callPod(endpoint, "/some/path")).text)).toMatchObject({
      calls: 1,
      path: "/some/path",
      greeting: "hello",
    });
  });

  test("a pod that says that it is not ready is not published, and is again when it is", async () => {
    const running = await executor();
    const serving = container("web:2", { minPods: 2 });
    const uid = await serve("flaky", serving);
    await settledAt(uid, 2);
    const endpoint = await first(running, "flaky", uid, serving);
    await callPod(endpoint, "/unready");
    await until(
      "it is not published",
      async () => !(await publishedPods(world.client)).includes(endpoint.podUid),
    );
    const names = (await owned(PODS, uid)).map(({ metadata }) => metadata.uid);
    expect(names).toContain(endpoint.podUid);
    expect((await first(running, "flaky", uid, serving)).podUid).not.toBe(endpoint.podUid);
  });

  test("it starts at its first call, goes to zero when idle, and comes back", async () => {
    const running = await executor({ scaleDownDelayMs: 500 });
    const serving = container("web:3", { minPods: 0 }, {}, { idleTimeoutMs: 4_000 });
    const uid = await serve("resting", serving);
    const endpoint = await first(running, "resting", uid, serving);
    expect((await callPod(endpoint)).status).toBe(200);
    await whileCalled([endpoint], () => settledAt(uid, 1));
    await settledAt(uid, 0);
    expect((await callPod(await first(running, "resting", uid, serving))).status).toBe(200);
  });

  test("an image that does not exist is said in the condition and to who calls", async () => {
    const running = await executor();
    const serving = container("nowhere:1");
    const uid = await serve("missing", serving);
    await until(
      "the condition says so",
      async () => (await conditionOf("missing", "PodsReady"))?.message.includes("nowhere:1") ?? false,
    );
    const call = running.acquire("missing", uid, serving.revision, { waitMs: 1_000 });
    await expect(call).rejects.toMatchObject({ code: "pool_exhausted" });
  });

  test("an executor that is started again keeps the pods", async () => {
    const before = await executor();
    const serving = container("web:4");
    const uid = await serve("kept", serving);
    await settledAt(uid, 1);
    const endpoint = await first(before, "kept", uid, serving);
    await callPod(endpoint);
    await before.stop();
    executors = [];
    const after = await executor();
    expect((await first(after, "kept", uid, serving)).podUid).toBe(endpoint.podUid);
    expect(JSON.parse((await callPod(endpoint)).text)).toMatchObject({ calls: 2 });
  });
});
