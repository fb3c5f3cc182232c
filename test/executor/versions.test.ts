import { expect, test } from "vitest";
import type { WarmReply } from "../../api/wire/executor.ts";
import type { Executor } from "../../engine/executor/executor.ts";
import {
  acquireRequest,
  aliasObject,
  environmentObject,
  type FarSide,
  functionObject,
  servingOf,
  versionObject,
} from "./far-side.ts";
import {
  burst,
  codeOf,
  endpointsOf,
  farSide,
  outcomeOf,
  pass,
  startExecutor,
  useSimulatedTime,
} from "./world.ts";

useSimulatedTime();

const IDLE_MS = 5_000;
const idle = { idleTimeoutMs: IDLE_MS };

/** Function "hello" that serves r2, whose version v1 is r1 and v2 is r2. */
function world(limits = {}): FarSide {
  const far = farSide();
  far.addEnvironment(environmentObject());
  far.addFunction(functionObject("hello", servingOf("r2", { ...idle, ...limits })));
  far.addVersion(versionObject("hello", 1, servingOf("r1", { ...idle, ...limits })));
  far.addVersion(versionObject("hello", 2, servingOf("r2", { ...idle, ...limits })));
  return far;
}

async function call(executor: Executor, revision: string): Promise<string> {
  const calling = outcomeOf(executor.acquire(acquireRequest("hello", revision)));
  await pass(200);
  return endpointsOf(await calling)[0]?.podUid ?? "";
}

async function warm(executor: Executor, revision: string, pods: number, waitMs = 3_000): Promise<WarmReply> {
  const warming = executor.warm({
    namespace: "default",
    name: "hello",
    uid: "uid-fn-hello",
    revision,
    pods,
    waitMs,
  });
  warming.catch(() => undefined);
  await pass(waitMs + 100);
  return warming;
}

test("a version is served beside what the function serves, in pods of its own", async () => {
  const far = world();
  const { executor } = await startExecutor(far);
  const old = await call(executor, "r1");
  const fresh = await call(executor, "r2");
  expect(old).not.toBe(fresh);
  expect(far.specialised("r1").map(({ uid }) => uid)).toEqual([old]);
  expect(far.published()).toEqual([old, fresh].sort());
});

test("a version that names what the function serves shares its pods", async () => {
  const far = world();
  const { executor } = await startExecutor(far);
  expect(await call(executor, "r2")).toBe(await call(executor, "r2"));
  far.removeVersion(versionObject("hello", 2, servingOf("r2")));
  await pass(2_000);
  expect(far.specialised("r2")).toHaveLength(1);
  expect(far.published()).toHaveLength(1);
});

test("what a version names goes on when the function moves on, and ends with the last version that names it", async () => {
  const far = world({ idleTimeoutMs: 600_000 });
  const { executor } = await startExecutor(far);
  const pod = await call(executor, "r2");
  far.addFunction(functionObject("hello", servingOf("r3")));
  await pass(70_000);
  expect(far.published()).toContain(pod);
  expect(await call(executor, "r2")).toBe(pod);
  far.removeVersion(versionObject("hello", 2, servingOf("r2")));
  await pass(5_000);
  expect(far.specialised("r2")).toEqual([]);
  expect(far.published()).not.toContain(pod);
  await pass(70_000);
  const late = burst(executor, 1, "hello", "r2");
  await pass(200);
  expect((await late).map(codeOf)).toEqual(["function_not_ready"]);
});

test("a version that is deleted and comes back keeps the pods that it still has", async () => {
  const far = world({ idleTimeoutMs: 600_000 });
  const { executor } = await startExecutor(far);
  const uid = await call(executor, "r1");
  const [pod] = far.specialised("r1");
  pod?.accept(uid, "r1");
  const version = versionObject("hello", 1, servingOf("r1", { idleTimeoutMs: 600_000 }));
  far.removeVersion(version);
  await pass(2_000);
  expect(far.published()).not.toContain(uid);
  far.addVersion(version);
  await pass(500);
  pod?.finish();
  await pass(10_000);
  expect(far.published()).toContain(uid);
  expect(await call(executor, "r1")).toBe(uid);
});

test("a version of a deleted function serves nothing, nor does one of a function of the same name before", async () => {
  const far = world();
  const { executor } = await startExecutor(far);
  await call(executor, "r1");
  const fn = functionObject("hello", servingOf("r2"));
  far.removeFunction(fn);
  await pass(2_000);
  expect(far.specialised()).toEqual([]);
  far.addFunction({ ...fn, metadata: { ...fn.metadata, uid: "uid-fn-other" } });
  await pass(100);
  const calls = [
    outcomeOf(executor.acquire(acquireRequest("hello", "r1"))),
    outcomeOf(executor.acquire(acquireRequest("hello", "r1", { uid: "uid-fn-other" }))),
  ];
  await pass(200);
  expect((await Promise.all(calls)).map(codeOf)).toEqual(["function_not_found", "function_not_ready"]);
});

test("a version runs on the image that it was published with, though its environment has moved on", async () => {
  const far = world({ idleTimeoutMs: 600_000 });
  const environment = { name: "deno", uid: "uid-env-deno", image: "isotope/deno-env:before", version: 3 };
  far.addVersion(versionObject("hello", 3, servingOf("r3", {}, { environment })));
  far.addVersion(versionObject("hello", 4, servingOf("r4", {}, { environment, executorType: "auto" })));
  const { executor } = await startExecutor(far);
  for (const revision of ["r1", "r3", "r4", "r2"]) await call(executor, revision);
  await pass(1_000);
  const images = ["r1", "r2", "r3", "r4"].map((revision) => {
    const { spec } = far.specialised(revision)[0]?.manifest ?? {};
    return JSON.stringify(spec).match(/isotope\/deno-env:\w+/)?.[0];
  });
  const [now, before] = ["isotope/deno-env:latest", "isotope/deno-env:before"];
  expect(images).toEqual([now, now, before, before]);
  const [set] = far.replicaSets.values();
  expect(JSON.stringify(set?.spec.template)).toContain(before);
  expect(far.living.filter(({ state }) => state === "generic")).toHaveLength(3);
});

test("a router that saw a new version first is served", async () => {
  const far = world();
  const { executor } = await startExecutor(far);
  const version = versionObject("hello", 3, servingOf("r3"));
  far.versions.set("default/hello-v3", version);
  expect(await call(executor, "r3")).not.toBe("");
  expect(far.specialised("r3")).toHaveLength(1);
});

test("both sides of an alias and what it was before its last switch keep a pod; other versions go when they are idle", async () => {
  const far = world({ retainPods: 2 });
  for (const [sequence, revision] of [
    [3, "r3"],
    [4, "r4"],
  ] as const)
    far.addVersion(versionObject("hello", sequence, servingOf(revision, { ...idle, retainPods: 2 })));
  const sides = { version: "hello-v1", secondaryVersion: "hello-v3", weight: 100 };
  far.addAlias(aliasObject("prod", "hello", sides, ["hello-v1", "hello-v4"]));
  const { executor } = await startExecutor(far);
  expect(far.specialised()).toEqual([]);
  for (const revision of ["r1", "r2", "r3", "r4"]) await warm(executor, revision, 3);
  await pass(4 * IDLE_MS);
  const kept = ["r1", "r2", "r3", "r4"].map((revision) => far.specialised(revision).length);
  // What has requests keeps what it asks for, the others one.
  expect(kept).toEqual([2, 2, 1, 1]);
  far.removeAlias(aliasObject("prod", "hello", {}));
  await pass(4 * IDLE_MS);
  const left = ["r1", "r2", "r3", "r4"].map((revision) => far.specialised(revision).length);
  expect(left).toEqual([0, 2, 0, 0]);
});

test("an alias starts nothing by itself", async () => {
  const far = world();
  const { executor } = await startExecutor(far);
  far.addAlias(aliasObject("prod", "hello", { version: "hello-v1" }, ["hello-v1"]));
  await pass(10_000);
  expect(far.specialised()).toEqual([]);
  expect(executor.ready).toBe(true);
});

test("an executor that is started again keeps pods of versions and publishes them still", async () => {
  const far = world();
  far.addAlias(aliasObject("prod", "hello", { version: "hello-v1" }, ["hello-v1"]));
  const { executor, kill } = await startExecutor(far);
  const uid = await call(executor, "r1");
  await pass(300);
  kill();
  await pass(500);
  const next = await startExecutor(far);
  expect(far.published()).toEqual([uid]);
  expect(await call(next.executor, "r1")).toBe(uid);
  await pass(4 * IDLE_MS);
  expect(far.specialised("r1").map((pod) => pod.uid)).toEqual([uid]);
});

test("pods are started ahead, never more than concurrency, and never fewer than there are", async () => {
  const far = world({ concurrency: 4 });
  const { executor } = await startExecutor(far);
  expect(await warm(executor, "r1", 3)).toEqual({ ready: 3, starting: 0, wanted: 3 });
  expect(await warm(executor, "r1", 1)).toMatchObject({ ready: 3, wanted: 1 });
  expect(await warm(executor, "r1", 100)).toMatchObject({ ready: 4, wanted: 4 });
  expect(far.specialised("r1")).toHaveLength(4);
  expect(far.published()).toHaveLength(4);
});

test("who waits no longer is told what there is; the pods come all the same", async () => {
  const far = farSide({ loadMs: () => 1_000 });
  far.addEnvironment(environmentObject());
  far.addFunction(functionObject("hello", servingOf("r1")));
  const { executor } = await startExecutor(far);
  expect(await warm(executor, "r1", 2, 0)).toEqual({ ready: 0, starting: 2, wanted: 2 });
  await pass(2_000);
  expect(far.specialised("r1")).toHaveLength(2);
});

test("warming code that does not load says why, and what nobody serves is refused", async () => {
  const far = farSide({ load: () => "rejected" });
  far.addEnvironment(environmentObject());
  far.addFunction(functionObject("hello", servingOf("r1")));
  const { executor } = await startExecutor(far);
  await expect(warm(executor, "r1", 2)).rejects.toMatchObject({ code: "specialization_failed" });
  await expect(warm(executor, "r9", 1)).rejects.toMatchObject({ code: "function_not_ready" });
});
