import { expect, test } from "vitest";
import type { Executor } from "../../engine/executor/executor.ts";
import {
  acquireRequest,
  environmentObject,
  type FarSide,
  functionObject,
  servingOf,
  type SimulatedPod,
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

/** So many pods of one function, specialised one after the other. */
async function warm(
  executor: Executor,
  far: FarSide,
  count: number,
  revision = "r1",
): Promise<SimulatedPod[]> {
  const known: string[] = [];
  for (let index = 0; index < count; index += 1) {
    const call = outcomeOf(executor.acquire(acquireRequest("hello", revision, { known })));
    await pass(100);
    known.push(endpointsOf(await call)[0]?.podUid ?? "");
  }
  return far.specialised(revision);
}

test("an idle pod is released at its idle timeout, one that works is kept until it has been idle as long", async () => {
  const far = farSide();
  far.addEnvironment(environmentObject());
  far.addFunction(functionObject("hello", servingOf("r1", { idleTimeoutMs: 10_000 })));
  const { executor } = await startExecutor(far);
  const [idle, working] = await warm(executor, far, 2);
  if (!idle || !working) throw new Error("two pods are expected");
  working.accept(working.uid, "r1");
  await pass(9_500);
  expect(far.specialised()).toHaveLength(2);
  await pass(1_000);
  expect(far.specialised()).toEqual([working]);
  expect(far.published()).toEqual([working.uid]);
  await pass(30_000);
  expect(far.specialised()).toEqual([working]);
  working.finish();
  await pass(9_000);
  expect(far.specialised()).toEqual([working]);
  await pass(3_000);
  expect(far.specialised()).toEqual([]);
  expect(far.published()).toEqual([]);
  expect(far.slices.size).toBe(0);
});

test("retainPods pods stay, however idle", async () => {
  const far = farSide();
  far.addEnvironment(environmentObject());
  far.addFunction(functionObject("hello", servingOf("r1", { idleTimeoutMs: 5_000, retainPods: 2 })));
  const { executor } = await startExecutor(far);
  await warm(executor, far, 5);
  await pass(60_000);
  expect(far.specialised()).toHaveLength(2);
});

test("a new revision is warm before its first call, and pods of the old one finish their work", async () => {
  const far = farSide();
  far.addEnvironment(environmentObject());
  far.addFunction(functionObject("hello", servingOf("r1", { timeoutMs: 30_000 })));
  const { executor } = await startExecutor(far);
  const [idle, working] = await warm(executor, far, 2);
  if (!idle || !working) throw new Error("two pods are expected");
  working.accept(working.uid, "r1");

  far.addFunction(functionObject("hello", servingOf("r2")));
  await pass(300);
  expect(far.specialised("r2")).toHaveLength(2);
  expect(far.published()).toEqual(
    [...far.specialised("r1"), ...far.specialised("r2")].map(({ uid }) => uid).sort(),
  );

  await pass(3_000);
  expect(idle.alive).toBe(false);
  expect(working.alive).toBe(true);
  expect(far.published()).toEqual(
    far
      .specialised("r2")
      .map(({ uid }) => uid)
      .sort(),
  );
  working.finish();
  await pass(2_000);
  expect(working.alive).toBe(false);
  expect(far.specialised("r2")).toHaveLength(2);
});

test("a pod of an old revision that never ends its work goes after the function's timeout", async () => {
  const far = farSide();
  far.addEnvironment(environmentObject());
  far.addFunction(functionObject("hello", servingOf("r1", { timeoutMs: 5_000 })));
  const { executor } = await startExecutor(far);
  const [pod] = await warm(executor, far, 1);
  pod?.accept(pod.uid, "r1");
  far.addFunction(functionObject("hello", servingOf("r2")));
  await pass(5_000);
  expect(pod?.alive).toBe(true);
  await pass(4_000);
  expect(pod?.alive).toBe(false);
});

test("going back to the revision before keeps the pods that it still has", async () => {
  const far = farSide();
  far.addEnvironment(environmentObject());
  far.addFunction(functionObject("hello", servingOf("r1")));
  const { executor } = await startExecutor(far);
  const [pod] = await warm(executor, far, 1);
  pod?.accept(pod.uid, "r1");
  far.addFunction(functionObject("hello", servingOf("r2")));
  await pass(2_000);
  expect(far.published()).not.toContain(pod?.uid);
  far.addFunction(functionObject("hello", servingOf("r1")));
  await pass(3_000);
  pod?.finish();
  await pass(5_000);
  expect(far.specialised("r1")).toEqual([pod]);
  expect(far.published()).toEqual([pod?.uid]);
  expect(far.specialised("r2")).toEqual([]);
});

test("a router that has not switched yet is served by the old revision", async () => {
  const far = farSide();
  far.addEnvironment(environmentObject());
  far.addFunction(functionObject("hello", servingOf("r1")));
  const { executor } = await startExecutor(far);
  far.addFunction(functionObject("hello", servingOf("r2")));
  await pass(2_000);
  const late = burst(executor, 1);
  await pass(100);
  expect((await late).map(codeOf)).toEqual(["ok"]);
  await pass(70_000);
  const tooLate = burst(executor, 1);
  await pass(100);
  expect((await tooLate).map(codeOf)).toEqual(["function_not_ready"]);
  expect(far.specialised("r1")).toEqual([]);
});

test("pods of a deleted function go, and calls say that it does not exist", async () => {
  const far = farSide();
  far.addEnvironment(environmentObject());
  const fn = functionObject("hello", servingOf("r1"));
  far.addFunction(fn);
  const { executor } = await startExecutor(far);
  await warm(executor, far, 2);
  far.removeFunction(fn);
  await pass(2_000);
  expect(far.specialised()).toEqual([]);
  expect(far.slices.size).toBe(0);
  const call = burst(executor, 1);
  await pass(50);
  expect((await call).map(codeOf)).toEqual(["function_not_found"]);
});

test("a function that was deleted and made again shares nothing with the one before", async () => {
  const far = farSide();
  far.addEnvironment(environmentObject());
  far.addFunction(functionObject("hello", servingOf("r1")));
  const { executor } = await startExecutor(far);
  const [old] = await warm(executor, far, 1);
  const made = functionObject("hello", servingOf("r1"));
  far.addFunction({ ...made, metadata: { ...made.metadata, uid: "uid-second" } });
  const call = outcomeOf(executor.acquire({ ...acquireRequest("hello", "r1"), uid: "uid-second" }));
  await pass(100);
  expect(endpointsOf(await call)[0]?.podUid).not.toBe(old?.uid);
  await pass(2_000);
  expect(old?.alive).toBe(false);
});

test("a pod that a router reports and that does not answer is killed and replaced; one that answers stays", async () => {
  const far = farSide();
  far.addEnvironment(environmentObject());
  far.addFunction(functionObject("hello", servingOf("r1")));
  const { executor } = await startExecutor(far);
  const [hung, healthy] = await warm(executor, far, 2);
  if (!hung || !healthy) throw new Error("two pods are expected");
  hung.hung = true;
  for (const pod of [hung, healthy]) {
    executor.suspect({
      namespace: "default",
      podUid: pod.uid,
      podName: pod.manifest.metadata.name,
      revision: "r1",
      reason: "timeout",
    });
  }
  await pass(2_500);
  expect(hung.alive).toBe(false);
  expect(healthy.alive).toBe(true);
  expect(far.published()).toEqual([healthy.uid]);
});

test("a pod whose event loop is blocked for longer than its function's timeout is killed without a report", async () => {
  const far = farSide();
  far.addEnvironment(environmentObject());
  far.addFunction(functionObject("hello", servingOf("r1", { timeoutMs: 20_000 })));
  const { executor } = await startExecutor(far);
  const [pod] = await warm(executor, far, 1);
  if (!pod) throw new Error("a pod is expected");
  pod.hung = true;
  await pass(18_000);
  expect(pod.alive).toBe(true);
  pod.hung = false;
  await pass(10_000);
  pod.hung = true;
  await pass(35_000);
  expect(pod.alive).toBe(false);
});

test("a pod that runs out of memory leaves the slices at once and its place is free", async () => {
  const far = farSide();
  far.addEnvironment(environmentObject());
  far.addFunction(functionObject("hello", servingOf("r1", { concurrency: 1 })));
  const { executor } = await startExecutor(far);
  const [pod] = await warm(executor, far, 1);
  if (!pod) throw new Error("a pod is expected");
  far.crash(pod, "OOMKilled");
  await pass(20);
  expect(far.published()).toEqual([]);
  const call = burst(executor, 1);
  await pass(100);
  expect((await call).map(codeOf)).toEqual(["ok"]);
  expect(far.pods.has(`default/${pod.manifest.metadata.name}`)).toBe(false);
});

test("an address that another pod got is taken from the pod that had it", async () => {
  const far = farSide();
  far.addEnvironment(environmentObject());
  far.addFunction(functionObject("hello", servingOf("r1")));
  const { executor } = await startExecutor(far);
  const [pod] = await warm(executor, far, 1);
  if (!pod) throw new Error("a pod is expected");
  // The pod's end is not seen: its events are late, and a generic pod listens at its address already.
  pod.alive = false;
  const successor = far.startGenericAt(pod.address, environmentObject());
  await pass(200);
  expect(far.published()).toEqual([]);
  const call = outcomeOf(executor.acquire(acquireRequest("hello", "r1")));
  await pass(100);
  expect(endpointsOf(await call)[0]?.podUid).not.toBe(pod.uid);
  expect(successor.request?.revision ?? "generic").not.toBe("r0");
});

test("a pool rolls to a new template without touching specialised pods", async () => {
  const far = farSide();
  far.addEnvironment(environmentObject());
  far.addFunction(functionObject("hello", servingOf("r1")));
  const { executor } = await startExecutor(far);
  const [specialised] = await warm(executor, far, 1);
  far.addEnvironment(environmentObject("deno", { runtime: { image: "isotope/deno-env:2" } }));
  await pass(500);
  expect(specialised?.alive).toBe(true);
  const generic = far.living.filter((pod) => pod.state === "generic");
  expect(generic).toHaveLength(3);
  expect(
    new Set(generic.map((pod) => JSON.stringify(pod.manifest.spec).includes("isotope/deno-env:2"))),
  ).toEqual(new Set([true]));
  far.addEnvironment(environmentObject("deno", { runtime: { image: "isotope/deno-env:2" }, poolsize: 1 }));
  await pass(500);
  expect(far.living.filter((pod) => pod.state === "generic")).toHaveLength(1);
});

test("a deleted Environment takes its pods along once they are idle", async () => {
  const far = farSide();
  const environment = environmentObject();
  far.addEnvironment(environment);
  far.addFunction(functionObject("hello", servingOf("r1")));
  const { executor } = await startExecutor(far);
  await warm(executor, far, 1);
  far.removeEnvironment(environment);
  await pass(3_000);
  expect(far.living).toEqual([]);
});

test("pods that do not start are tried with a growing pause, callers are told why, and an Event says so", async () => {
  const far = farSide();
  far.imageTrouble = { reason: "ErrImagePull", message: 'no image "nope"' };
  far.addEnvironment(environmentObject("deno", { runtime: { image: "nope" } }));
  far.addFunction(functionObject("hello", servingOf("r1")));
  const { executor } = await startExecutor(far);
  const calls = burst(executor, 3);
  await pass(500);
  expect((await calls)[0]).toMatchObject({
    code: "pool_exhausted",
    message: 'Cannot start pods of environment "deno" with image "nope": ErrImagePull: no image "nope"',
  });
  expect(far.events.map(({ kind, type, reason }) => [kind, type, reason])).toEqual([
    ["Environment", "Warning", "PoolFailing"],
  ]);
  await pass(600_000);
  expect(far.history.length).toBeLessThan(40);

  far.imageTrouble = undefined;
  far.addEnvironment(environmentObject("deno", { runtime: { image: "isotope/deno-env:1" } }));
  await pass(300);
  const healed = burst(executor, 1);
  await pass(100);
  expect((await healed).map(codeOf)).toEqual(["ok"]);
});

test("an API server that fails now and then loses no pod, no label and no address", async () => {
  let calls = 0;
  const far = farSide({ writeFails: () => (calls += 1) % 3 === 0 });
  far.addEnvironment(environmentObject());
  far.addFunction(functionObject("hello", servingOf("r1")));
  const { executor } = await startExecutor(far);
  const outcomes = burst(executor, 6);
  await pass(20_000);
  expect((await outcomes).map(codeOf)).toEqual(Array(6).fill("ok"));
  expect(far.published()).toEqual(
    far
      .specialised()
      .map(({ uid }) => uid)
      .sort(),
  );
  expect(far.specialised().every((pod) => far.labels.get(pod.uid)?.["isotope.dev/revision"] === "r1")).toBe(
    true,
  );
});

test("a pool grows while calls come faster than pods start, and shrinks again", async () => {
  const far = farSide({ startMs: () => 1_000 });
  far.addEnvironment(environmentObject());
  for (let index = 0; index < 60; index += 1) far.addFunction(functionObject(`fn-${index}`, servingOf("r1")));
  const { executor } = await startExecutor(far);
  await pass(2_000);
  const calls = [];
  for (let index = 0; index < 60; index += 1) {
    calls.push(burst(executor, 1, `fn-${index}`));
    await pass(150);
  }
  await pass(3_000);
  expect((await Promise.all(calls)).flat().map(codeOf)).toEqual(Array(60).fill("ok"));
  expect(far.living.filter((pod) => pod.state === "generic").length).toBeGreaterThan(3);
  await pass(30_000);
  expect(far.living.filter((pod) => pod.state === "generic")).toHaveLength(3);
});

test("the pods of one environment never pass its limit", async () => {
  const far = farSide();
  far.addEnvironment(environmentObject());
  far.addFunction(functionObject("hello", servingOf("r1")));
  const { executor } = await startExecutor(far, { maxPodsPerEnvironment: 5 });
  const calls = burst(executor, 10);
  await pass(6_000);
  const codes = (await calls).map(codeOf);
  expect(codes.filter((code) => code === "ok")).toHaveLength(5);
  expect(codes.filter((code) => code === "pool_exhausted")).toHaveLength(5);
  expect(far.living).toHaveLength(5);
});
