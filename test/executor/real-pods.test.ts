import { createHash } from "node:crypto";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { PlatformError } from "../../api/errors.ts";
import type { Serving } from "../../api/kinds/serving.ts";
import { PODS, SECRETS } from "../../kube/core.ts";
import { servingOf } from "./far-side.ts";
import {
  callPod,
  NAMESPACE,
  publishedPods,
  type RealWorld,
  realWorld,
  type RunningExecutor,
} from "./real-world.ts";
import { until } from "../until.ts";

let world: RealWorld;
let executors: RunningExecutor[] = [];

beforeAll(async () => {
  world = await realWorld();
  await world.addEnvironment(2);
});
afterEach(async () => {
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

/** Stores code as an archive and gives a revision that runs it. */
function codeRevision(
  code: string,
  limits: Partial<Serving["limits"]> = {},
  more: Partial<Serving> = {},
): Serving {
  const bytes = new TextEncoder().encode(code);
  const digest = createHash("sha256").update(bytes).digest("hex");
  world.archives.set(digest, bytes);
  const revision = createHash("sha256")
    .update(JSON.stringify([digest, limits, more]))
    .digest("hex")
    .slice(0, 16);
  return servingOf(revision, limits, { package: { name: "code", digest, sizeBytes: bytes.length }, ...more });
}

const poolReady = (running: RunningExecutor) => () =>
  running.process.snapshot()?.pools.some((pool) => pool.ready === 2);

test("a call reaches a specialised Deno pod with its secret and its variables; pod and slice say what it is", async () => {
  await world.client.create(SECRETS, {
    metadata: { namespace: NAMESPACE, name: "db" },
    data: { url: Buffer.from("redis://x").toString("base64") },
  });
  const running = await executor();
  await until("the pool is full", poolReady(running));
  const serving = codeRevision(
    `export default (request) => new Response("url " + Deno.env.get("URL"))`,
    { requestsPerPod: 100 },
    {
      env: [{ name: "URL", secret: { name: "db", key: "url" } }],
    },
  );
  const { uid } = await world.serve("hello", serving);

  const calls = await Promise.all(
    Array.from({ length: 10 }, () => running.acquire("hello", uid, serving.revision)),
  );
  const [endpoint] = calls[0] ?? [];
  if (!endpoint) throw new Error("an endpoint is expected");
  expect(new Set(calls.map(([first]) => first?.podUid)).size).toBe(1);
  expect(await callPod(endpoint)).toEqual({ status: 200, text: "url redis://x" });
  expect((await callPod({ ...endpoint, podUid: "another" })).status).toBe(421);

  await until("the slice is written", async () =>
    (await publishedPods(world.client)).includes(endpoint.podUid),
  );
  await until("the pod is labelled", async () => {
    const pod = await world.client.get(PODS, { namespace: NAMESPACE, name: endpoint.podName });
    return pod.metadata.labels?.["isotope.dev/revision"] === serving.revision;
  });
  await until("the pool is full again", poolReady(running));
});

test("an executor that is stopped and started again keeps the warm pod and publishes it still", async () => {
  const first = await executor();
  const serving = codeRevision(`let calls = 0; export default () => new Response("call " + ++calls)`);
  const { uid } = await world.serve("counter", serving);
  const [endpoint] = await first.acquire("counter", uid, serving.revision);
  if (!endpoint) throw new Error("an endpoint is expected");
  expect((await callPod(endpoint)).text).toBe("call 1");
  await first.stop();
  executors = [];

  const second = await executor();
  const [same] = await second.acquire("counter", uid, serving.revision);
  expect(same).toEqual(endpoint);
  expect((await callPod(endpoint)).text).toBe("call 2");
  await until("it is published", async () => (await publishedPods(world.client)).includes(endpoint.podUid));
});

test("code that does not load is the function's fault, named with its reason", async () => {
  const running = await executor();
  const serving = codeRevision(
    `throw new TypeError("no such thing"); export default () => new Response("never")`,
  );
  const { uid } = await world.serve("broken", serving);
  const call = running.acquire("broken", uid, serving.revision);
  await expect(call).rejects.toThrow(PlatformError);
  await expect(call).rejects.toMatchObject({
    code: "specialization_failed",
    message: expect.stringContaining("no such thing"),
  });
});

test("a pod that blocks its event loop is replaced after a router's report, and one that ends itself at once", async () => {
  const running = await executor();
  const serving = codeRevision(
    `export default (request) => { if (request.url.endsWith("/loop")) for (;;); if (request.url.endsWith("/die")) Deno.kill(Deno.pid, "SIGKILL"); return new Response("ok") }`,
    { requestsPerPod: 5 },
  );
  const { uid } = await world.serve("looping", serving);
  const [endpoint] = await running.acquire("looping", uid, serving.revision);
  if (!endpoint) throw new Error("an endpoint is expected");
  await until("it is published", async () => (await publishedPods(world.client)).includes(endpoint.podUid));
  void callPod(endpoint, "/loop").catch(() => undefined);
  // The call that blocks it may come later than a report, which then says nothing of it: a pod that answers stays.
  await until("the pod is gone from the slices", async () => {
    await running.suspect({
      namespace: NAMESPACE,
      podUid: endpoint.podUid,
      podName: endpoint.podName,
      revision: serving.revision,
      reason: "timeout",
    });
    await new Promise((resolve) => setTimeout(resolve, 100));
    return !(await publishedPods(world.client)).includes(endpoint.podUid);
  });
  const [next] = await running.acquire("looping", uid, serving.revision, { known: [endpoint.podUid] });
  expect(next?.podUid).not.toBe(endpoint.podUid);
  expect(next && (await callPod(next)).text).toBe("ok");

  const pid = await world.podProcess(next?.podUid ?? "");
  process.kill(pid, "SIGKILL");
  await until(
    "the dead pod is gone",
    async () => !(await publishedPods(world.client)).includes(next?.podUid ?? ""),
  );
});

test("an idle pod is released and a new revision takes over from a warm one", async () => {
  const running = await executor({ supersedeDelayMs: 100 });
  const old = codeRevision(`export default () => new Response("old")`);
  const { uid } = await world.serve("rolling", old);
  const [before] = await running.acquire("rolling", uid, old.revision);
  if (!before) throw new Error("an endpoint is expected");
  const fresh = codeRevision(`export default () => new Response("new")`, { idleTimeoutMs: 3_000 });
  await world.serve("rolling", fresh);
  await until("the new revision is warm", () =>
    running.process
      .snapshot()
      ?.revisions.some(({ revision, pods }) => revision === fresh.revision && pods.length === 1),
  );
  const [after] = await running.acquire("rolling", uid, fresh.revision);
  expect(after && (await callPod(after)).text).toBe("new");
  await until(
    "the old pod is gone",
    async () => !(await world.client.find(PODS, { namespace: NAMESPACE, name: before.podName })),
  );
  await until(
    "the idle pod is gone",
    async () => !(await world.client.find(PODS, { namespace: NAMESPACE, name: after?.podName ?? "" })),
  );
});
