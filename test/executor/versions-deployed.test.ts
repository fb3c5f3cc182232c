import { createHash } from "node:crypto";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { Serving } from "../../api/kinds/serving.ts";
import { LABEL_FUNCTION_UID, LABEL_REVISION } from "../../api/names.ts";
import { WarmReply as Warmed, type WarmReply } from "../../api/wire/executor.ts";
import type { ExecutorSettings } from "../../engine/executor/settings.ts";
import {
  AUTOSCALERS,
  DEPLOYMENTS,
  type Deployment,
  ENDPOINT_SLICES,
  PODS,
  SERVICES,
} from "../../kube/core.ts";
import { FUNCTION_ALIASES, FUNCTION_VERSIONS, FUNCTIONS } from "../../kube/kinds.ts";
import type { KubeObject } from "../../kube/object.ts";
import type { ResourceType } from "../../kube/resource.ts";
import { servingOf } from "./far-side.ts";
import { callPod, NAMESPACE, type RealWorld, type RunningExecutor, realWorld } from "./real-world.ts";
import { until } from "../until.ts";

/** Versions of functions that have Deployments, on a real API server with real pods. */
let world: RealWorld;
let executors: RunningExecutor[] = [];

beforeAll(async () => {
  world = await realWorld();
  await world.addEnvironment(1);
});
afterEach(async () => {
  await removeAll(FUNCTION_ALIASES);
  await removeAll(FUNCTION_VERSIONS);
  await removeAll(FUNCTIONS);
  for (const executor of executors) await executor.stop();
  executors = [];
});
afterAll(() => world.stop());

async function removeAll<T extends KubeObject>(type: ResourceType<T>): Promise<void> {
  for (const { metadata } of (await world.client.list(type, { namespace: NAMESPACE })).items)
    await world.client.delete(type, { namespace: NAMESPACE, name: metadata.name });
}

/** Objects of the kind that are a revision's. */
async function countOf<T extends KubeObject>(type: ResourceType<T>, { revision }: Serving): Promise<number> {
  const labelSelector = `${LABEL_REVISION}=${revision}`;
  return (await world.client.list(type, { namespace: NAMESPACE, labelSelector })).items.length;
}

async function executor(settings: Partial<ExecutorSettings> = {}): Promise<RunningExecutor> {
  const started = await world.startExecutor({ supersedeDelayMs: 50, ...settings });
  executors.push(started);
  await until("the executor is ready", () => started.process.ready());
  return started;
}

function revisionOf(text: string, executorType: string, limits: Partial<Serving["limits"]> = {}): Serving {
  const bytes = new TextEncoder().encode(`export default () => new Response(${JSON.stringify(text)})`);
  const digest = createHash("sha256").update(bytes).digest("hex");
  world.archives.set(digest, bytes);
  const revision = createHash("sha256").update(`${digest}${executorType}`).digest("hex").slice(0, 16);
  return servingOf(
    revision,
    { requestsPerPod: 10, ...limits },
    {
      executorType,
      package: { name: "code", digest, sizeBytes: bytes.length },
      ...(executorType === "newdeploy" ? { scale: { minPods: 1, maxPods: 3 } } : {}),
    },
  );
}

async function deploymentsOf(uid: string): Promise<{ own?: Deployment; beside: Deployment[] }> {
  const { items } = await world.client.list(DEPLOYMENTS, {
    namespace: NAMESPACE,
    labelSelector: `${LABEL_FUNCTION_UID}=${uid}`,
  });
  const there = items.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
  const isBeside = ({ metadata }: Deployment) => metadata.labels?.[LABEL_REVISION] !== undefined;
  const own = there.find((one) => !isBeside(one));
  return { ...(own ? { own } : {}), beside: there.filter(isBeside) };
}

/** By one look at the slices: between two, a pod may take the place of another. */
async function publishedOf({ revision }: Serving): Promise<string[]> {
  const labelSelector = `${LABEL_REVISION}=${revision}`;
  const { items } = await world.client.list(ENDPOINT_SLICES, { namespace: NAMESPACE, labelSelector });
  // Those of the version's Service are Kubernetes' own.
  const own = items.filter(({ metadata }) =>
    metadata.ownerReferences?.some(({ kind }) => kind === "Function"),
  );
  return own.flatMap(({ endpoints }) => endpoints.map(({ targetRef }) => targetRef?.uid ?? ""));
}

const served = (what: string, serving: Serving, pods = 1) =>
  until(`${pods} pods of ${what} are published`, async () => (await publishedOf(serving)).length === pods);

/** What it answers, or the reason why it does not. */
async function answer(
  running: RunningExecutor,
  name: string,
  uid: string,
  serving: Serving,
): Promise<string> {
  const published = await publishedOf(serving);
  if (published.length === 0) return "no pod is published";
  // As a router does it: another pod when one refuses because it goes, asked for anew when all do.
  for (let attempt = 0; attempt < 5; attempt += 1) {
    for (const endpoint of await running.acquire(name, uid, serving.revision)) {
      const reply = await callPod(endpoint).catch(() => undefined);
      if (reply?.status === 200) return reply.text;
    }
  }
  return "its pods refused";
}

const warm = (
  running: RunningExecutor,
  name: string,
  uid: string,
  { revision }: Serving,
  pods: number,
): Promise<WarmReply> =>
  running.router.postJson(
    "/v2/warm",
    { namespace: NAMESPACE, name, uid, revision, pods, waitMs: 60_000 },
    Warmed,
    { timeoutMs: 90_000 },
  );

test("a version that an alias stands for goes on without a gap when the function is rolled out, and when it goes back", async () => {
  const running = await executor();
  const old = revisionOf("old", "newdeploy");
  const fresh = revisionOf("new", "newdeploy");
  const { uid } = await world.serve("hello", old);
  await served("the old revision", old);
  await world.alias("prod", "hello", await world.publish("hello", 1, old));
  expect((await deploymentsOf(uid)).beside).toEqual([]);

  const answers = new Set<string>();
  const enough = new AbortController();
  const calling = (async () => {
    while (!enough.signal.aborted) {
      answers.add(await answer(running, "hello", uid, old));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  await world.serve("hello", fresh);
  await served("the new revision", fresh);
  await until("the old one has its own Deployment alone", async () => {
    const { own, beside } = await deploymentsOf(uid);
    return (
      own?.spec.template.metadata?.labels?.[LABEL_REVISION] === fresh.revision &&
      beside.length === 1 &&
      beside[0]?.spec.replicas === 1 &&
      (await publishedOf(old)).length === 1
    );
  });
  expect(await answer(running, "hello", uid, fresh)).toBe("new");

  await world.serve("hello", old);
  await until("the function's own Deployment has it again", async () => {
    const { own, beside } = await deploymentsOf(uid);
    const published = await publishedOf(old);
    return (
      beside.length === 0 &&
      published.length === 1 &&
      own?.spec.template.metadata?.labels?.[LABEL_REVISION] === old.revision
    );
  });
  enough.abort();
  await calling;
  expect([...answers]).toEqual(["old"]);
}, 240_000);

test("a version that nobody stands for starts when it is called or warmed, goes when it is idle, and is gone with its object", async () => {
  const running = await executor({ scaleDownDelayMs: 500 });
  const old = revisionOf("old", "newdeploy", { idleTimeoutMs: 6_000 });
  const { uid } = await world.serve("hello", revisionOf("new", "newdeploy"));
  const version = await world.publish("hello", 1, old);
  await served("the new revision", revisionOf("new", "newdeploy"));
  expect((await deploymentsOf(uid)).beside).toEqual([]);
  expect(await warm(running, "hello", uid, old, 2)).toMatchObject({ ready: 2, wanted: 2 });
  // A pod is published a moment after it is ready.
  await until("it answers", async () => (await answer(running, "hello", uid, old)) === "old");
  await served("the idle version", old, 0);
  expect((await running.acquire("hello", uid, old.revision)).length).toBe(1);
  await world.client.delete(FUNCTION_VERSIONS, { namespace: NAMESPACE, name: version });
  await until("nothing of it is left", async () => {
    const counts = await Promise.all([
      countOf(DEPLOYMENTS, old),
      countOf(SERVICES, old),
      countOf(AUTOSCALERS, old),
      countOf(PODS, old),
    ]);
    return counts.every((count) => count === 0) && (await publishedOf(old)).length === 0;
  });
  expect((await deploymentsOf(uid)).own?.spec.replicas).toBe(1);
}, 240_000);

test.each(["newdeploy", "auto"])(
  "an executor that is started again keeps the pods of a version (%s), and takes away what nothing names any more",
  async (type) => {
    const before = await executor();
    const old = revisionOf("old", type);
    const stale = revisionOf("stale", type);
    const { uid } = await world.serve("hello", revisionOf("new", type));
    await world.alias("prod", "hello", await world.publish("hello", 1, old));
    const gone = await world.publish("hello", 2, stale);
    await warm(before, "hello", uid, old, 1);
    await warm(before, "hello", uid, stale, 1);
    await served("the version", old);
    const [pod] = await publishedOf(old);
    await before.stop();
    executors = [];
    await world.client.delete(FUNCTION_VERSIONS, { namespace: NAMESPACE, name: gone });
    const after = await executor();
    expect((await after.acquire("hello", uid, old.revision)).map(({ podUid }) => podUid)).toEqual([pod]);
    expect(await answer(after, "hello", uid, old)).toBe("old");
    await until("the other one is gone", async () => (await countOf(PODS, stale)) === 0);
    expect(await publishedOf(old)).toEqual([pod]);
  },
  240_000,
);
