import { expect, test } from "vitest";
import { acquireRequest, environmentObject, functionObject, servingOf } from "./far-side.ts";
import { farSide, pass, startExecutor, useSimulatedTime } from "./world.ts";

useSimulatedTime();

test("a pod of the ReplicaSet that serves before the API server calls it ready is not scaled away", async () => {
  const far = farSide();
  far.addEnvironment(environmentObject());
  far.addFunction(functionObject("hello", servingOf("r1", {}, { executorType: "auto" })));
  const { executor } = await startExecutor(far);
  const acquired = executor.acquire(acquireRequest("hello", "r1"));
  await pass(200);
  await acquired;
  const set = () => [...far.replicaSets.values()][0];
  expect(set()?.spec.replicas).toBe(1);

  const [evicted] = far.specialised("r1");
  const manifest = set();
  if (!evicted || !manifest) throw new Error("a pod and its ReplicaSet are expected");
  far.end(evicted);
  await pass(10);
  const pod = far.startUnreadyOf(manifest, "10.1.0.1:8888");
  const replicas = new Set<number | undefined>();
  for (let step = 0; step < 100; step += 1) {
    await pass(10);
    replicas.add(set()?.spec.replicas);
  }
  expect(far.specialised("r1")).toEqual([pod]);
  expect(far.published()).toEqual([pod.uid]);
  expect([...replicas]).toEqual([1]);

  far.becomeReady(pod);
  await pass(200);
  expect(set()?.spec.replicas).toBe(1);
  expect(far.labels.get(pod.uid)).toMatchObject({ "isotope.dev/pod-state": "specialised" });
});

test("a pod of the pool is the ReplicaSet's, and counted, only once the API server calls it ready", async () => {
  const far = farSide();
  far.addEnvironment(environmentObject("deno", { poolsize: 0 }));
  far.addFunction(functionObject("hello", servingOf("r1", {}, { executorType: "auto" })));
  const { executor } = await startExecutor(far);
  const acquired = executor.acquire(acquireRequest("hello", "r1"));
  const pod = far.startGenericAt("10.1.0.2:8888", environmentObject("deno", { poolsize: 0 }), false);
  await pass(500);
  const { endpoints } = await acquired;
  expect(endpoints[0]?.podUid).toBe(pod.uid);
  expect([...far.replicaSets.values()]).toEqual([]);
  far.becomeReady(pod);
  await pass(200);
  expect([...far.replicaSets.values()].map(({ spec }) => spec.replicas)).toEqual([1]);
});
