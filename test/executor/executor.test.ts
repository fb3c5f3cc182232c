import { expect, test } from "vitest";
import { acquireRequest, environmentObject, functionObject, servingOf } from "./far-side.ts";
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

test("a first call gets a specialised pod, its address is published and the pool is refilled", async () => {
  const far = farSide();
  far.addEnvironment(environmentObject());
  far.addFunction(functionObject("hello", servingOf("r1")));
  const { executor } = await startExecutor(far);
  expect(far.living.filter((pod) => pod.state === "generic")).toHaveLength(3);

  const acquired = executor.acquire(acquireRequest("hello", "r1"));
  await pass(10);
  const { endpoints } = await acquired;

  const [pod] = far.specialised("r1");
  expect(endpoints).toEqual([
    {
      podUid: pod?.uid,
      podName: pod?.manifest.metadata.name,
      address: pod?.address,
      revision: "r1",
      requestsPerPod: 1,
    },
  ]);
  await pass(200);
  expect(far.published()).toEqual([pod?.uid]);
  expect(far.labels.get(pod?.uid ?? "")).toMatchObject({
    "isotope.dev/pod-state": "specialised",
    "isotope.dev/revision": "r1",
  });
  expect(far.living.filter(({ state }) => state === "generic")).toHaveLength(3);
});

test("ten first calls of a function with room for them share one pod", async () => {
  const far = farSide();
  far.addEnvironment(environmentObject());
  far.addFunction(functionObject("hello", servingOf("r1", { requestsPerPod: 100 })));
  const { executor } = await startExecutor(far);
  const calls = burst(executor, 10);
  await pass(50);
  const outcomes = await calls;
  expect(new Set(outcomes.map((outcome) => endpointsOf(outcome)[0]?.podUid)).size).toBe(1);
  expect(far.specialised("r1")).toHaveLength(1);
});

test("a hundred calls with 25 requests per pod take four pods, though the pool holds three", async () => {
  const far = farSide();
  far.addEnvironment(environmentObject());
  far.addFunction(functionObject("hello", servingOf("r1", { requestsPerPod: 25 })));
  const { executor } = await startExecutor(far);
  const calls = burst(executor, 100);
  await pass(500);
  const outcomes = await calls;
  const perPod = new Map<string, number>();
  for (const outcome of outcomes) {
    const uid = endpointsOf(outcome)[0]?.podUid ?? "";
    perPod.set(uid, (perPod.get(uid) ?? 0) + 1);
  }
  expect([...perPod.values()]).toEqual([25, 25, 25, 25]);
  expect(far.specialised("r1")).toHaveLength(4);
});

test("a hundred calls with one request per pod each get a pod of their own", async () => {
  const far = farSide();
  far.addEnvironment(environmentObject());
  far.addFunction(functionObject("hello", servingOf("r1")));
  const { executor } = await startExecutor(far);
  const calls = burst(executor, 100);
  await pass(3_000);
  const uids = (await calls).map((outcome) => endpointsOf(outcome)[0]?.podUid);
  expect(new Set(uids).size).toBe(100);
});

test("a pod that the caller does not know is given at once and nothing is started", async () => {
  const far = farSide();
  far.addEnvironment(environmentObject());
  far.addFunction(functionObject("hello", servingOf("r1")));
  const { executor } = await startExecutor(far);
  const first = burst(executor, 1);
  await pass(20);
  const [outcome] = await first;
  const uid = outcome && endpointsOf(outcome)[0]?.podUid;
  expect((await executor.acquire(acquireRequest("hello", "r1"))).endpoints[0]?.podUid).toBe(uid);
  const second = outcomeOf(executor.acquire(acquireRequest("hello", "r1", { known: [uid ?? ""] })));
  await pass(20);
  expect(endpointsOf(await second)[0]?.podUid).not.toBe(uid);
  expect(far.specialised()).toHaveLength(2);
});

test("a function at its concurrency refuses with 429 until a pod goes, and has room again then", async () => {
  const far = farSide();
  far.addEnvironment(environmentObject());
  far.addFunction(functionObject("hello", servingOf("r1", { concurrency: 2 })));
  const { executor } = await startExecutor(far);
  const calls = burst(executor, 5);
  await pass(100);
  const codes = (await calls).map(codeOf);
  expect(codes.filter((code) => code === "ok")).toHaveLength(2);
  expect(codes.filter((code) => code === "capacity_exceeded")).toHaveLength(3);
  const [victim, other] = far.specialised();
  if (!victim || !other) throw new Error("two pods are expected");
  far.crash(victim, "OOMKilled");
  await pass(50);
  expect(far.published()).toEqual([other.uid]);
  const next = outcomeOf(executor.acquire(acquireRequest("hello", "r1", { known: [other.uid] })));
  await pass(100);
  expect(codeOf(await next)).toBe("ok");
  expect(far.specialised()).toHaveLength(2);
});

test("a burst survives pods that fail while they are specialised", async () => {
  let failures = 2;
  const far = farSide({ load: () => (failures-- > 0 ? "lost" : "done") });
  far.addEnvironment(environmentObject());
  far.addFunction(functionObject("hello", servingOf("r1", { requestsPerPod: 100 })));
  const { executor } = await startExecutor(far);
  const calls = burst(executor, 10);
  await pass(500);
  expect((await calls).map(codeOf)).toEqual(Array(10).fill("ok"));
  expect(far.specialised()).toHaveLength(1);
});

test("code that does not load fails all who wait, uses up few pods, and is tried again after the back-off", async () => {
  let broken = true;
  const far = farSide({ load: () => (broken ? "rejected" : "done") });
  far.addEnvironment(environmentObject());
  far.addFunction(functionObject("hello", servingOf("r1")));
  const { executor } = await startExecutor(far);
  const calls = burst(executor, 50);
  await pass(100);
  const outcomes = await calls;
  expect(new Set(outcomes.map(codeOf))).toEqual(new Set(["specialization_failed"]));
  expect("message" in (outcomes[0] ?? {}) && outcomes[0]).toMatchObject({
    message: 'Function "hello" does not load (load_failed): ReferenceError: x is not defined',
  });
  const tried = () => far.history.filter((pod) => pod.specialisations > 0).length;
  expect(tried()).toBeLessThanOrEqual(3);

  const before = tried();
  expect((await burst(executor, 20)).map(codeOf)).toEqual(Array(20).fill("specialization_failed"));
  expect(tried()).toBe(before);

  await pass(1_000);
  const again = burst(executor, 20);
  await pass(100);
  expect((await again).map(codeOf)).toEqual(Array(20).fill("specialization_failed"));
  expect(tried()).toBe(before + 1);

  broken = false;
  await pass(2_000);
  const healed = burst(executor, 5);
  await pass(500);
  expect((await healed).map(codeOf)).toEqual(Array(5).fill("ok"));
});

test("code that ends its process while it loads is the function's fault after three pods", async () => {
  const far = farSide({ load: () => "lost" });
  far.addEnvironment(environmentObject());
  far.addFunction(functionObject("hello", servingOf("r1", { requestsPerPod: 10 })));
  const { executor } = await startExecutor(far);
  const calls = burst(executor, 5);
  await pass(500);
  expect(new Set((await calls).map(codeOf))).toEqual(new Set(["specialization_failed"]));
  expect(far.history.filter((pod) => pod.specialisations > 0)).toHaveLength(3);
});

test("code that loads for too long is a timeout of the specialisation, and its pod goes", async () => {
  const far = farSide({ loadMs: () => 60_000 });
  far.addEnvironment(environmentObject());
  far.addFunction(functionObject("hello", servingOf("r1", { specializationTimeoutMs: 2_000 })));
  const { executor } = await startExecutor(far);
  const calls = burst(executor, 1);
  await pass(2_100);
  expect((await calls).map(codeOf)).toEqual(["specialization_timeout"]);
  await pass(100);
  expect(far.living.every((pod) => pod.state === "generic")).toBe(true);
});

test("a call that waits for the pool in vain ends with its time limit, and takes no pod afterwards", async () => {
  const far = farSide({ startMs: () => 30_000 });
  far.addEnvironment(environmentObject());
  far.addFunction(functionObject("hello", servingOf("r1")));
  const { executor } = await startExecutor(far);
  const call = outcomeOf(executor.acquire(acquireRequest("hello", "r1", { waitMs: 1_000 })));
  await pass(1_000);
  expect(await call).toMatchObject({ code: "pool_exhausted" });
  await pass(60_000);
  expect(far.specialised()).toHaveLength(0);
});

test("a caller that leaves takes its demand along", async () => {
  const far = farSide({ startMs: () => 2_000 });
  far.addEnvironment(environmentObject("deno", { poolsize: 0 }));
  far.addFunction(functionObject("hello", servingOf("r1")));
  const { executor } = await startExecutor(far);
  const leaving = new AbortController();
  const call = outcomeOf(executor.acquire(acquireRequest("hello", "r1", { waiting: 5 }), leaving.signal));
  await pass(100);
  leaving.abort();
  expect(await call).toMatchObject({ code: "client_disconnect" });
  await pass(10_000);
  expect(far.specialised()).toHaveLength(0);
  expect(far.living).toHaveLength(0);
});

test("a pool of size 0 makes pods on demand", async () => {
  const far = farSide();
  far.addEnvironment(environmentObject("deno", { poolsize: 0 }));
  far.addFunction(functionObject("hello", servingOf("r1")));
  const { executor } = await startExecutor(far);
  expect(far.living).toHaveLength(0);
  const calls = burst(executor, 2);
  await pass(200);
  expect((await calls).map(codeOf)).toEqual(["ok", "ok"]);
  expect(far.living).toHaveLength(2);
});

test("a onceOnly pod is given to one caller, is never published, and goes after its request", async () => {
  const far = farSide();
  far.addEnvironment(environmentObject());
  far.addFunction(functionObject("hello", servingOf("r1", { onceOnly: true, concurrency: 3 })));
  const { executor } = await startExecutor(far);
  const calls = burst(executor, 5);
  await pass(100);
  const outcomes = await calls;
  const uids = outcomes.flatMap((outcome) => ("code" in outcome ? [] : [outcome.endpoints[0]?.podUid]));
  expect(new Set(uids).size).toBe(3);
  expect(far.published()).toEqual([]);
  for (const pod of far.specialised()) expect(pod.accept(pod.uid, "r1")).toBeUndefined();
  await pass(2_000);
  expect(far.specialised()).toHaveLength(3);
  for (const pod of far.specialised()) pod.finish();
  await pass(1_500);
  expect(far.specialised()).toHaveLength(0);
  const next = burst(executor, 1);
  await pass(100);
  expect((await next).map(codeOf)).toEqual(["ok"]);
});

test("one function's burst does not keep another function waiting", async () => {
  const far = farSide({ startMs: () => 500 });
  far.addEnvironment(environmentObject("deno", { poolsize: 0 }));
  far.addFunction(functionObject("hello", servingOf("r1")));
  far.addFunction(functionObject("other", servingOf("r1")));
  const { executor } = await startExecutor(far, { parallelStarts: 2 });
  const many = burst(executor, 40);
  await pass(10);
  let servedAt = 0;
  const began = Date.now();
  const other = burst(executor, 1, "other").then((outcome) => {
    servedAt = Date.now() - began;
    return outcome;
  });
  await pass(30_000);
  await Promise.all([many, other]);
  expect(servedAt).toBeLessThan(2_000);
});

test("unknown functions, revisions and executor types get their errors", async () => {
  const far = farSide();
  far.addEnvironment(environmentObject());
  far.addFunction(functionObject("hello", servingOf("r1")));
  far.addFunction(functionObject("old", servingOf("r1", {}, { executorType: "unheard-of" })));
  far.addFunction(
    functionObject(
      "homeless",
      servingOf("r1", {}, { environment: { name: "gone", uid: "u", image: "i", version: 3 } }),
    ),
  );
  const { executor } = await startExecutor(far);
  const calls = Promise.all([
    outcomeOf(executor.acquire(acquireRequest("nobody", "r1"))),
    outcomeOf(executor.acquire(acquireRequest("hello", "r9"))),
    outcomeOf(executor.acquire({ ...acquireRequest("hello", "r1"), uid: "uid-fn-other" })),
    outcomeOf(executor.acquire({ ...acquireRequest("hello", "r1"), namespace: "elsewhere" })),
    outcomeOf(executor.acquire(acquireRequest("old", "r1"))),
    outcomeOf(executor.acquire(acquireRequest("homeless", "r1"))),
  ]);
  await pass(100);
  expect((await calls).map(codeOf)).toEqual([
    "function_not_found",
    "function_not_ready",
    "function_not_found",
    "function_not_found",
    "function_not_ready",
    "function_not_ready",
  ]);
  expect(far.specialised()).toHaveLength(0);
});

test("a router that saw a new function first is served", async () => {
  const far = farSide();
  far.addEnvironment(environmentObject());
  const { executor } = await startExecutor(far);
  far.functions.set("default/fresh", functionObject("fresh", servingOf("r1")));
  const call = burst(executor, 1, "fresh");
  await pass(50);
  expect((await call).map(codeOf)).toEqual(["ok"]);
});

test("the archive is read once, ahead of the first call", async () => {
  const far = farSide();
  far.addEnvironment(environmentObject());
  far.addFunction(functionObject("hello", servingOf("r1")));
  const { executor } = await startExecutor(far);
  expect(far.archiveReads).toBe(1);
  const calls = burst(executor, 3);
  await pass(100);
  await calls;
  expect(far.archiveReads).toBe(1);
});

test("an archive that cannot be read, or is another one, uses up no pod", async () => {
  const far = farSide();
  far.addEnvironment(environmentObject());
  far.addFunction(
    functionObject(
      "hello",
      servingOf("r1", {}, { package: { name: "p", digest: "0".repeat(64), sizeBytes: 1 } }),
    ),
  );
  const { executor } = await startExecutor(far);
  const missing = burst(executor, 3);
  await pass(10);
  expect((await missing).map(codeOf)).toEqual(Array(3).fill("archive_unavailable"));
  far.archives.set("0".repeat(64), new TextEncoder().encode("something else"));
  const wrong = burst(executor, 1);
  await pass(10);
  expect((await wrong)[0]).toMatchObject({ code: "archive_unavailable" });
  expect(far.history.filter((pod) => pod.specialisations > 0)).toHaveLength(0);
});

test("secrets, config maps and variables reach the pod, with their precedence", async () => {
  const far = farSide();
  far.secrets.set("default/db", {
    data: { url: Buffer.from("redis://x").toString("base64"), A: Buffer.from("1").toString("base64") },
  });
  far.configMaps.set("default/conf", { data: { mode: "fast" }, binaryData: { raw: "AAE=" } });
  far.addEnvironment(environmentObject());
  far.addFunction(
    functionObject(
      "hello",
      servingOf(
        "r1",
        {},
        {
          env: [
            { name: "URL", secret: { name: "db", key: "url" } },
            { name: "GREETING", value: "mode is $(P_mode), $(NOBODY), $$(P_mode)" },
            { name: "MAYBE", secret: { name: "none", key: "k", optional: true } },
          ],
          envFrom: [
            { prefix: "P_", configMap: { name: "conf" } },
            { secret: { name: "absent", optional: true } },
          ],
          secrets: [{ namespace: "default", name: "db", resourceVersion: "1", mounted: false }],
          configMaps: [{ namespace: "default", name: "conf", resourceVersion: "1", mountPath: "here" }],
        },
      ),
    ),
  );
  const { executor } = await startExecutor(far);
  const calls = burst(executor, 1);
  await pass(50);
  await calls;
  const request = far.specialised()[0]?.request;
  expect(request?.env).toEqual({
    P_mode: "fast",
    P_raw: "\u0000\u0001",
    URL: "redis://x",
    GREETING: "mode is fast, $(NOBODY), $(P_mode)",
  });
  expect(request?.secrets).toEqual([]);
  expect(request?.configMaps).toEqual([
    {
      namespace: "default",
      name: "conf",
      mountPath: "here",
      data: { mode: Buffer.from("fast").toString("base64"), raw: "AAE=" },
    },
  ]);
});

test("secrets are read once per revision, ahead of the first call; one that appears later is found", async () => {
  let reads = 0;
  const far = farSide({ writeFails: (what) => what === "getSecret" && (reads += 1) < 0 });
  far.addEnvironment(environmentObject());
  const env = [{ name: "URL", secret: { name: "db", key: "url" } }];
  far.addFunction(functionObject("hello", servingOf("r1", {}, { env })));
  const { executor } = await startExecutor(far);
  expect(reads).toBe(1);
  far.secrets.set("default/db", { data: { url: "eA==" } });
  const calls = burst(executor, 2);
  await pass(100);
  expect((await calls).map(codeOf)).toEqual(["ok", "ok"]);
  expect(far.specialised().map((pod) => pod.request?.env)).toEqual([{ URL: "x" }, { URL: "x" }]);
  expect(reads).toBe(2);
});

test("a secret that is missing is the function's fault and is named", async () => {
  const far = farSide();
  far.addEnvironment(environmentObject());
  far.addFunction(
    functionObject(
      "hello",
      servingOf("r1", {}, { env: [{ name: "URL", secret: { name: "db", key: "url" } }] }),
    ),
  );
  const { executor } = await startExecutor(far);
  const calls = burst(executor, 1);
  await pass(50);
  expect((await calls)[0]).toMatchObject({
    code: "specialization_failed",
    message:
      'Cannot give the function its settings: secret or config map "db" (variable "URL") does not exist',
  });
});
