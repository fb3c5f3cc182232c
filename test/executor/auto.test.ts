import { createHash } from "node:crypto";
import { afterAll, afterEach, beforeAll, expect, onTestFinished, test } from "vitest";
import type { Serving } from "../../api/kinds/serving.ts";
import { LABEL_FUNCTION_UID } from "../../api/names.ts";
import type { Endpoint } from "../../api/wire/executor.ts";
import type { FaultPoint } from "../../engine/executor/executor.ts";
import type { RevisionSnapshot } from "../../engine/executor/revision.ts";
import { type Pod, PODS, REPLICA_SETS, type ReplicaSet } from "../../kube/core.ts";
import { FUNCTIONS } from "../../kube/kinds.ts";
import { servingOf } from "./far-side.ts";
import {
  callPod,
  NAMESPACE,
  publishedPods,
  type RealWorld,
  realWorld,
  type RunningExecutor,
  whileCalled,
} from "./real-world.ts";
import { until } from "../until.ts";

let world: RealWorld;
let executors: RunningExecutor[] = [];
let served: string[] = [];

beforeAll(async () => {
  world = await realWorld();
  await world.addEnvironment(2);
});
afterEach(async () => {
  for (const name of served) await world.client.delete(FUNCTIONS, { namespace: NAMESPACE, name });
  served = [];
  for (const executor of executors) await executor.stop();
  executors = [];
});
afterAll(() => world.stop());

async function executor(settings = {}): Promise<RunningExecutor> {
  const started = await world.startExecutor(settings);
  executors.push(started);
  await until("the executor is ready", () => started.process.ready());
  return started;
}

const HELLO = `let calls = 0; export default () => new Response("call " + ++calls)`;

function revisionOf(code: string, limits: Partial<Serving["limits"]> = {}): Serving {
  const bytes = new TextEncoder().encode(code);
  const digest = createHash("sha256").update(bytes).digest("hex");
  world.archives.set(digest, bytes);
  const revision = createHash("sha256")
    .update(JSON.stringify([digest, limits]))
    .digest("hex")
    .slice(0, 16);
  return servingOf(revision, limits, {
    executorType: "auto",
    package: { name: "code", digest, sizeBytes: bytes.length },
  });
}

async function serve(name: string, serving: Serving): Promise<string> {
  if (!served.includes(name)) served.push(name);
  return (await world.serve(name, serving)).uid;
}

async function setsOf(uid: string): Promise<ReplicaSet[]> {
  const found = await world.client.list(REPLICA_SETS, {
    namespace: NAMESPACE,
    labelSelector: `${LABEL_FUNCTION_UID}=${uid}`,
  });
  return found.items;
}

async function podsOf(uid: string): Promise<Pod[]> {
  const found = await world.client.list(PODS, {
    namespace: NAMESPACE,
    labelSelector: `${LABEL_FUNCTION_UID}=${uid}`,
  });
  return found.items.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
}

/** Kind of what controls the pod. */
const controllerOf = (pod: Pod | undefined) =>
  pod?.metadata.ownerReferences?.find(({ controller }) => controller)?.kind;

function snapshotOf(running: RunningExecutor, serving: Serving): RevisionSnapshot | undefined {
  return running.process.snapshot()?.revisions.find(({ revision }) => revision === serving.revision);
}

/** Resolves when the function has so many pods, all of them its ReplicaSet's and all of them serving. */
async function settledAt(
  running: RunningExecutor,
  uid: string,
  serving: Serving,
  pods: number,
): Promise<void> {
  await until(`${pods} pods are the ReplicaSet's and serve`, async () => {
    const found = await podsOf(uid);
    const [set] = await setsOf(uid);
    const warm = snapshotOf(running, serving)?.pods.length ?? 0;
    return (
      found.length === pods &&
      warm === pods &&
      (set?.spec.replicas ?? 0) === pods &&
      found.every((pod) => controllerOf(pod) === "ReplicaSet")
    );
  });
}

async function first(
  running: RunningExecutor,
  name: string,
  uid: string,
  serving: Serving,
): Promise<Endpoint> {
  const [endpoint] = await running.acquire(name, uid, serving.revision);
  if (!endpoint) throw new Error("an endpoint is expected");
  return endpoint;
}

const poolReady = (running: RunningExecutor) => () =>
  running.process.snapshot()?.pools.some((pool) => pool.ready === 2);

test("a first call is served from the pool; then the pod is the ReplicaSet's, which is the Function's", async () => {
  const running = await executor();
  await until("the pool is full", poolReady(running));
  const generic = (await world.client.list(PODS, { namespace: NAMESPACE })).items.map(
    ({ metadata }) => metadata.uid,
  );
  const serving = revisionOf(HELLO);
  const uid = await serve("first", serving);
  const endpoint = await first(running, "first", uid, serving);
  expect(generic).toContain(endpoint.podUid);
  expect((await callPod(endpoint)).text).toBe("call 1");
  await settledAt(running, uid, serving, 1);
  const [pod] = await podsOf(uid);
  expect(pod?.metadata.uid).toBe(endpoint.podUid);
  expect(pod?.metadata.ownerReferences?.map(({ kind }) => kind)).toEqual(["ReplicaSet"]);
  const [set] = await setsOf(uid);
  expect(set?.metadata.ownerReferences).toMatchObject([{ kind: "Function", uid, controller: true }]);
  expect((await callPod(endpoint)).text).toBe("call 2");
});

test("a deleted pod is replaced by the ReplicaSet and specialised although nobody calls", async () => {
  const running = await executor();
  const serving = revisionOf(HELLO);
  const uid = await serve("deleted", serving);
  const endpoint = await first(running, "deleted", uid, serving);
  await settledAt(running, uid, serving, 1);
  await world.client.delete(PODS, { namespace: NAMESPACE, name: endpoint.podName });
  await until("another pod serves", () => {
    const [name] = snapshotOf(running, serving)?.pods ?? [];
    return name !== undefined && name !== endpoint.podName;
  });
  await settledAt(running, uid, serving, 1);
  const next = await first(running, "deleted", uid, serving);
  expect(next.podUid).not.toBe(endpoint.podUid);
  expect((await callPod(next)).text).toBe("call 1");
  await until("it is published", async () => (await publishedPods(world.client)).includes(next.podUid));
  const [pod] = await podsOf(uid);
  expect(pod?.spec.restartPolicy).toBe("Always");
});

test("idle pods go until none is left, the right one each time; a call brings one back", async () => {
  const running = await executor();
  const serving = revisionOf(HELLO, { idleTimeoutMs: 5_000 });
  const uid = await serve("idle", serving);
  const one = await first(running, "idle", uid, serving);
  // The first must not become idle while the second starts.
  const more: Endpoint[] = [];
  const begin = async () => {
    more.push(...(await running.acquire("idle", uid, serving.revision, { known: [one.podUid] })));
  };
  expect(await whileCalled([one], begin)).toEqual([]);
  const [two] = more;
  if (!two) throw new Error("a second pod is expected");
  expect(await whileCalled([one, two], () => settledAt(running, uid, serving, 2))).toEqual([]);
  const failures = await whileCalled([two], async () => {
    await settledAt(running, uid, serving, 1);
    expect((await podsOf(uid))[0]?.metadata.uid).toBe(two.podUid);
  });
  expect(failures).toEqual([]);
  await settledAt(running, uid, serving, 0);
  const back = await first(running, "idle", uid, serving);
  expect((await callPod(back)).status).toBe(200);
});

test("a container that restarted serves nothing: its pod is replaced", async () => {
  const running = await executor();
  const serving = revisionOf(HELLO);
  const uid = await serve("restarting", serving);
  const adopted = await first(running, "restarting", uid, serving);
  await settledAt(running, uid, serving, 1);
  await world.client.delete(PODS, { namespace: NAMESPACE, name: adopted.podName });
  await until("the ReplicaSet's own pod serves", () => {
    const [name] = snapshotOf(running, serving)?.pods ?? [];
    return name !== undefined && name !== adopted.podName;
  });
  const own = await first(running, "restarting", uid, serving);
  expect((await callPod(own)).text).toBe("call 1");
  process.kill(await world.podProcess(own.podUid), "SIGKILL");
  await until("its pod is gone", async () =>
    (await podsOf(uid)).every((pod) => pod.metadata.uid !== own.podUid),
  );
  const after = await running.acquire("restarting", uid, serving.revision, { known: [own.podUid] });
  expect(after[0] && (await callPod(after[0])).text).toBe("call 1");
  await until("it is not published", async () => !(await publishedPods(world.client)).includes(own.podUid));
});

test("a new revision is warm in a ReplicaSet of its own before its first call, and the old one's is deleted", async () => {
  const running = await executor({ supersedeDelayMs: 100 });
  const old = revisionOf(HELLO);
  const uid = await serve("rolling", old);
  const before = await first(running, "rolling", uid, old);
  await settledAt(running, uid, old, 1);
  const [oldSet] = await setsOf(uid);
  const fresh = revisionOf(`export default () => new Response("new")`);
  await serve("rolling", fresh);
  await until("only the new revision has a ReplicaSet and a pod", async () => {
    const sets = await setsOf(uid);
    const pods = await podsOf(uid);
    return (
      sets.length === 1 &&
      sets[0]?.metadata.name !== oldSet?.metadata.name &&
      pods.length === 1 &&
      pods[0]?.metadata.uid !== before.podUid
    );
  });
  await settledAt(running, uid, fresh, 1);
  expect((await callPod(await first(running, "rolling", uid, fresh))).text).toBe("new");
});

test("an executor that is started again keeps the pods, and replaces one that went meanwhile", async () => {
  const before = await executor();
  const serving = revisionOf(HELLO);
  const uid = await serve("again", serving);
  const one = await first(before, "again", uid, serving);
  const [two] = await before.acquire("again", uid, serving.revision, { known: [one.podUid] });
  if (!two) throw new Error("a second pod is expected");
  await callPod(one);
  await settledAt(before, uid, serving, 2);
  await before.stop();
  executors = [];
  await world.client.delete(PODS, { namespace: NAMESPACE, name: two.podName });
  await until("the ReplicaSet made another pod", async () => {
    const pods = await podsOf(uid);
    return pods.length === 2 && pods.every(({ metadata }) => metadata.uid !== two.podUid);
  });
  const after = await executor();
  await settledAt(after, uid, serving, 2);
  expect((await callPod(one)).text).toBe("call 2");
  await until("it is published", async () => (await publishedPods(world.client)).includes(one.podUid));
});

test("a deleted function leaves no ReplicaSet, no pod and no slice", async () => {
  const running = await executor();
  const serving = revisionOf(HELLO);
  const uid = await serve("gone", serving);
  const endpoint = await first(running, "gone", uid, serving);
  await settledAt(running, uid, serving, 1);
  await world.client.delete(FUNCTIONS, { namespace: NAMESPACE, name: "gone" });
  served = [];
  await until("nothing is left", async () => {
    const pods = await world.client.list(PODS, {
      namespace: NAMESPACE,
      labelSelector: `${LABEL_FUNCTION_UID}=${uid}`,
    });
    return pods.items.length === 0 && (await setsOf(uid)).length === 0;
  });
  await until(
    "no slice names it",
    async () => !(await publishedPods(world.client)).includes(endpoint.podUid),
  );
  await new Promise((resolve) => setTimeout(resolve, 1_200));
  expect(await setsOf(uid)).toEqual([]);
});

test("whoever scales the ReplicaSet gets specialised pods, within the function's concurrency", async () => {
  const running = await executor();
  const serving = revisionOf(HELLO, { concurrency: 2 });
  const uid = await serve("scaled", serving);
  await first(running, "scaled", uid, serving);
  await settledAt(running, uid, serving, 1);
  const [set] = await setsOf(uid);
  const ref = { namespace: NAMESPACE, name: set?.metadata.name ?? "" };
  await world.client.patch(REPLICA_SETS, ref, { spec: { replicas: 2 } });
  await settledAt(running, uid, serving, 2);
  await world.client.patch(REPLICA_SETS, ref, { spec: { replicas: 3 } });
  await until("the ReplicaSet has three pods", async () => (await podsOf(uid)).length === 3);
  await new Promise((resolve) => setTimeout(resolve, 500));
  expect(snapshotOf(running, serving)?.pods).toHaveLength(2);
  await expect(
    running.acquire("scaled", uid, serving.revision, {
      known: (await podsOf(uid)).map(({ metadata }) => metadata.uid ?? ""),
    }),
  ).rejects.toMatchObject({ code: "capacity_exceeded" });
  await world.client.patch(REPLICA_SETS, ref, { spec: { replicas: 1 } });
  await settledAt(running, uid, serving, 1);
});

/** 503 also for a pod that does not listen any more: nothing reached it, so a router sends the request to another one. */
async function statusOf(endpoint: Endpoint): Promise<number> {
  try {
    return (await callPod(endpoint)).status;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "ECONNREFUSED" ? 503 : 0;
  }
}

test("the load that routers report makes more pods, within the limit, and fewer once it has fallen for long enough", async () => {
  const running = await executor({ scaleDownDelayMs: 2_500, targetUtilization: 100 });
  const serving = revisionOf(HELLO, { requestsPerPod: 10, concurrency: 3 });
  const uid = await serve("loaded", serving);
  const one = await first(running, "loaded", uid, serving);
  const report = (router: string, concurrency: number) =>
    running.load({
      router,
      windowMs: 1_000,
      revisions: [{ uid, revision: serving.revision, concurrency, requests: 0 }],
    });
  const loads = new Map([["a", 9]]);
  const reportAll = async () => {
    for (const [router, concurrency] of loads) await report(router, concurrency);
  };
  // Routers report all the time: one that falls silent counts as idle, however slow this machine is.
  const reporting = setInterval(() => void reportAll().catch(() => undefined), 1_000);
  onTestFinished(() => clearInterval(reporting));
  loads.set("b", 8);
  await reportAll();
  await settledAt(running, uid, serving, 2);
  loads.set("b", 80);
  await reportAll();
  await settledAt(running, uid, serving, 3);
  let failures = 0;
  const enough = new AbortController();
  const calling = (async () => {
    while (!enough.signal.aborted) {
      // As a router does: what a pod refuses before it runs anything goes to another one.
      let status = 503;
      for (let attempt = 1; attempt <= 3 && status === 503; attempt += 1) {
        const [endpoint] = await running.acquire("loaded", uid, serving.revision);
        status = endpoint ? await statusOf(endpoint) : 0;
      }
      if (status !== 200) failures += 1;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  loads.set("b", 0);
  await reportAll();
  await settledAt(running, uid, serving, 1);
  enough.abort();
  await calling;
  expect(failures).toBe(0);
  expect((await podsOf(uid))[0]?.metadata.uid).toBe(one.podUid);
  expect(await publishedPods(world.client)).toContain(one.podUid);
});

test("code that ends its pod at once is not started over and over", async () => {
  const running = await executor();
  const serving = revisionOf(
    `setTimeout(() => Deno.exit(3), 100); export default () => new Response("short")`,
  );
  const uid = await serve("short", serving);
  // On a busy machine it ends before it is given to its caller.
  await first(running, "short", uid, serving).catch(() => undefined);
  // There is also none before the first has its labels: what counts is that it stays so.
  let noneSince = performance.now();
  await until("there has been no pod for long", async () => {
    const [set] = await setsOf(uid);
    if ((await podsOf(uid)).length > 0 || (set?.spec.replicas ?? 0) > 0) noneSince = performance.now();
    return performance.now() - noneSince > 2_500;
  });
});

test.each<FaultPoint>(["before-replicas", "before-hand-over"])(
  "an executor killed %s while its pods grow from one to two loses neither; the next one goes on",
  async (point) => {
    const doomed = await executor();
    const serving = revisionOf(HELLO);
    const name = `killed-${point}`;
    const uid = await serve(name, serving);
    const one = await first(doomed, name, uid, serving);
    await settledAt(doomed, uid, serving, 1);
    const died = doomed.dieAt(point);
    const [two] = await doomed.acquire(name, uid, serving.revision, { known: [one.podUid] });
    if (!two) throw new Error("a second pod is expected");
    await died;
    await doomed.stop();
    executors = [];
    const next = await executor();
    const kept = new Set<string | undefined>([one.podUid, two.podUid]);
    await until(
      "the two pods are the ReplicaSet's and there is no other",
      async () => {
        const pods = await podsOf(uid);
        const isKept = (pod: Pod) => kept.has(pod.metadata.uid) && controllerOf(pod) === "ReplicaSet";
        return pods.length === kept.size && pods.every(isKept);
      },
      undefined,
      async () => ({
        kept: [...kept],
        pods: (await podsOf(uid)).map(({ metadata, status }) => ({ ...metadata, phase: status?.phase })),
        sets: (await setsOf(uid)).map(({ spec }) => spec.replicas),
        known: next.process.snapshot()?.revisions,
      }),
    );
    await settledAt(next, uid, serving, 2);
    expect((await callPod(one)).text).toBe("call 1");
    expect((await callPod(two)).text).toBe("call 1");
  },
);

test("an executor killed before it labels its very first pod of a revision: the next one hands it over", async () => {
  const doomed = await executor();
  const serving = revisionOf(HELLO);
  const uid = await serve("killed-first", serving);
  const died = doomed.dieAt("before-hand-over");
  const one = await first(doomed, "killed-first", uid, serving);
  await died;
  await doomed.stop();
  executors = [];
  const next = await executor();
  await settledAt(next, uid, serving, 1);
  expect((await podsOf(uid))[0]?.metadata.uid).toBe(one.podUid);
});

test("an executor killed between a pod's retirement and its end: the next one ends at no pods", async () => {
  const doomed = await executor();
  const serving = revisionOf(HELLO, { idleTimeoutMs: 4_000 });
  const uid = await serve("killed-retired", serving);
  const one = await first(doomed, "killed-retired", uid, serving);
  await whileCalled([one], () => settledAt(doomed, uid, serving, 1));
  await doomed.dieAt("before-retired");
  await doomed.stop();
  executors = [];
  const next = await executor();
  await settledAt(next, uid, serving, 0);
});
