import { expect, test } from "vitest";
import type { FaultPoint } from "../../engine/executor/executor.ts";
import { acquireRequest, environmentObject, type FarSide, functionObject, servingOf } from "./far-side.ts";
import {
  burst,
  codeOf,
  endpointsOf,
  farSide,
  launchExecutor,
  outcomeOf,
  pass,
  startExecutor,
  useSimulatedTime,
} from "./world.ts";

useSimulatedTime();

const uids = (far: FarSide) =>
  far
    .specialised()
    .map(({ uid }) => uid)
    .sort();

test("an executor that is killed and started again keeps every warm pod and every generic one", async () => {
  const far = farSide();
  far.addEnvironment(environmentObject());
  far.addFunction(functionObject("hello", servingOf("r1")));
  far.addFunction(functionObject("other", servingOf("x1", { requestsPerPod: 10 })));
  const first = await startExecutor(far);
  const calls = Promise.all([burst(first.executor, 3), burst(first.executor, 2, "other", "x1")]);
  await pass(1_000);
  await calls;
  const before = uids(far);
  expect(before).toHaveLength(4);
  const made = far.history.length;
  first.kill();

  const second = await startExecutor(far);
  expect(uids(far)).toEqual(before);
  expect(far.published()).toEqual(before);
  const { endpoints } = await second.executor.acquire(acquireRequest("hello", "r1"));
  expect(before).toContain(endpoints[0]?.podUid);
  await pass(2_000);
  expect(far.history.length).toBe(made);
  expect(far.living.filter((pod) => pod.state === "generic")).toHaveLength(3);
});

test.each<FaultPoint>(["before-label", "before-slice"])(
  "a kill %s loses no specialised pod: the next executor asks it and publishes it",
  async (point) => {
    const far = farSide();
    far.addEnvironment(environmentObject());
    far.addFunction(functionObject("hello", servingOf("r1")));
    const first = await startExecutor(far, {}, point);
    const call = burst(first.executor, 1);
    await pass(100);
    await call;
    const [pod] = far.specialised();
    first.kill();

    const second = await startExecutor(far);
    await pass(100);
    expect(uids(far)).toEqual([pod?.uid]);
    expect(far.published()).toEqual([pod?.uid]);
    expect(far.labels.get(pod?.uid ?? "")?.["isotope.dev/revision"]).toBe("r1");
    const again = await second.executor.acquire(acquireRequest("hello", "r1"));
    expect(again.endpoints[0]?.podUid).toBe(pod?.uid);
  },
);

test("a kill in the middle of a specialisation: the pod finishes and the next executor takes it over", async () => {
  const far = farSide({ loadMs: () => 1_000 });
  far.addEnvironment(environmentObject());
  far.addFunction(functionObject("hello", servingOf("r1")));
  const first = await startExecutor(far);
  void burst(first.executor, 1);
  await pass(500);
  first.kill();
  const { executor } = await startExecutor(far);
  const call = outcomeOf(executor.acquire(acquireRequest("hello", "r1")));
  await pass(3_000);
  expect(endpointsOf(await call)).toHaveLength(1);
  await pass(1_000);
  expect(far.published()).toEqual(uids(far));
  expect(far.history.filter((pod) => pod.specialisations > 1)).toEqual([]);
});

test("pods that crashed while no executor ran are not published and their places are free", async () => {
  const far = farSide();
  far.addEnvironment(environmentObject());
  far.addFunction(functionObject("hello", servingOf("r1", { concurrency: 2 })));
  const first = await startExecutor(far);
  const calls = burst(first.executor, 2);
  await pass(200);
  await calls;
  first.kill();
  const [dead, alive] = far.specialised();
  if (!dead || !alive) throw new Error("two pods are expected");
  dead.alive = false;

  const { executor } = await startExecutor(far);
  expect(far.published()).toEqual([alive.uid]);
  const call = outcomeOf(executor.acquire(acquireRequest("hello", "r1", { known: [alive.uid] })));
  await pass(100);
  expect(codeOf(await call)).toBe("ok");
});

test("slices and pods of functions and revisions that went meanwhile are removed", async () => {
  const far = farSide();
  far.addEnvironment(environmentObject());
  const gone = functionObject("gone", servingOf("g1"));
  far.addFunction(gone);
  far.addFunction(functionObject("hello", servingOf("r1")));
  const first = await startExecutor(far);
  const calls = Promise.all([burst(first.executor, 1), burst(first.executor, 1, "gone", "g1")]);
  await pass(200);
  await calls;
  first.kill();
  far.functions.delete("default/gone");
  far.addFunction(functionObject("hello", servingOf("r2")));
  await startExecutor(far);
  await pass(3_000);
  expect(far.specialised()).toEqual([]);
  expect(far.slices.size).toBe(0);
});

test("calls that arrive before the adoption is done wait for it", async () => {
  const far = farSide({ watchMs: () => 50 });
  far.addEnvironment(environmentObject());
  far.addFunction(functionObject("hello", servingOf("r1")));
  const first = await startExecutor(far);
  const call = burst(first.executor, 1);
  await pass(500);
  await call;
  const before = uids(far);
  first.kill();
  const { executor, started } = launchExecutor(far);
  const early = outcomeOf(executor.acquire(acquireRequest("hello", "r1")));
  expect(executor.ready).toBe(false);
  await pass(1_000);
  await started;
  expect(endpointsOf(await early).map(({ podUid }) => podUid)).toEqual(before);
});

test("a onceOnly pod of the executor before is left to finish and is not given out again", async () => {
  const far = farSide();
  far.addEnvironment(environmentObject());
  far.addFunction(functionObject("hello", servingOf("r1", { onceOnly: true })));
  const first = await startExecutor(far);
  const call = burst(first.executor, 1);
  await pass(100);
  await call;
  const [pod] = far.specialised();
  if (!pod) throw new Error("a pod is expected");
  pod.accept(pod.uid, "r1");
  first.kill();
  const { executor } = await startExecutor(far);
  const next = outcomeOf(executor.acquire(acquireRequest("hello", "r1")));
  await pass(100);
  expect(endpointsOf(await next)[0]?.podUid).not.toBe(pod.uid);
  expect(pod.alive).toBe(true);
  pod.finish();
  await pass(2_000);
  expect(pod.alive).toBe(false);
});

test("pods made from an older template while no executor ran are replaced when generic and kept when specialised", async () => {
  const far = farSide();
  far.addEnvironment(environmentObject());
  far.addFunction(functionObject("hello", servingOf("r1")));
  const first = await startExecutor(far);
  const call = burst(first.executor, 1);
  await pass(300);
  await call;
  first.kill();
  far.addEnvironment(environmentObject("deno", { runtime: { image: "isotope/deno-env:2" } }));
  await startExecutor(far);
  await pass(500);
  expect(far.specialised()).toHaveLength(1);
  const generic = far.living.filter((pod) => pod.state === "generic");
  expect(generic).toHaveLength(3);
  expect(generic.every((pod) => JSON.stringify(pod.manifest.spec).includes("isotope/deno-env:2"))).toBe(true);
});
