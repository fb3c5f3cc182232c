import { createHash } from "node:crypto";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { HEADER_FUNCTION_UID } from "../../api/headers.ts";
import type { Serving } from "../../api/kinds/serving.ts";
import type { Endpoint } from "../../api/wire/executor.ts";
import { CONFIG_MAPS, PODS, SECRETS } from "../../kube/core.ts";
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
  await world.addEnvironment(1, { runtime: { image: "python-env:1" } }, "python");
  await world.addEnvironment(
    1,
    { runtime: { image: "python-shared-env:1" }, allowedFunctionsPerContainer: "infinite" },
    "shared",
  );
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

function pythonRevision(
  code: string,
  environment: Partial<Serving["environment"]>,
  more: Partial<Serving> = {},
  limits: Partial<Serving["limits"]> = {},
): Serving {
  const bytes = new TextEncoder().encode(code);
  const digest = createHash("sha256").update(bytes).digest("hex");
  world.archives.set(digest, bytes);
  const revision = createHash("sha256")
    .update(JSON.stringify([digest, environment, more, limits]))
    .digest("hex")
    .slice(0, 16);
  return servingOf(revision, limits, {
    package: { name: "code", digest, sizeBytes: bytes.length },
    environment: {
      name: "python",
      uid: "",
      image: "python-env:1",
      version: 3,
      contract: "sidecar",
      ...environment,
    },
    ...more,
  });
}

const text = (answer: string): string => `def main(request):\n    return ${JSON.stringify(answer)}\n`;
const shared: Partial<Serving["environment"]> = {
  name: "shared",
  image: "python-shared-env:1",
  shared: true,
};

function first([endpoint]: readonly Endpoint[]): Endpoint {
  if (!endpoint) throw new Error("an endpoint is expected");
  return endpoint;
}

const asFunction = (uid: string) => ({ [HEADER_FUNCTION_UID]: uid });

/** Process id of a container of a pod: the process of that program that runs in the pod's folder. */
function processOf(podUid: string, program: string): number {
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const isMeant = readFileSync(`/proc/${entry}/cmdline`, "utf8").includes(program);
      if (isMeant && readlinkSync(`/proc/${entry}/cwd`).includes(podUid)) return Number(entry);
    } catch {
      // The process ended while it was looked at.
    }
  }
  throw new Error(`pod ${podUid} has no process of ${program}`);
}

test("a Python function runs in a pod with a fetcher, with its secret and config map as files and without credentials", async () => {
  const data = { password: Buffer.from("s3cret").toString("base64") };
  await world.client.create(SECRETS, { metadata: { namespace: NAMESPACE, name: "db" }, data });
  await world.client.create(CONFIG_MAPS, {
    metadata: { namespace: NAMESPACE, name: "app" },
    data: { mode: "fast" },
  });
  const running = await executor();
  const ref = (name: string) => ({ namespace: NAMESPACE, name, resourceVersion: "1" });
  const code = [
    "import os",
    "def main(request):",
    "    read = lambda folder, path: open(os.path.join(folder, path)).read()",
    "    token = [k for k in os.environ if 'TOKEN' in k]",
    `    return f"{read(request.secrets, 'default/db/password')} {read(request.configs, 'default/app/mode')} {token}"`,
    "",
  ].join("\n");
  const serving = pythonRevision(code, {}, { secrets: [ref("db")], configMaps: [ref("app")] });
  const { uid } = await world.serve("files", serving);
  const endpoint = first(await running.acquire("files", uid, serving.revision));
  expect(endpoint).toMatchObject({ contract: "sidecar", address: expect.stringMatching(/:8000$/) });
  expect(await callPod(endpoint)).toEqual({ status: 200, text: "s3cret fast []" });
  expect((await callPod({ ...endpoint, podUid: "another" })).status).toBe(421);

  const pod = await world.client.get(PODS, { namespace: NAMESPACE, name: endpoint.podName });
  expect(pod.spec.automountServiceAccountToken).toBe(false);
  expect(pod.spec.containers.map(({ name }) => name)).toEqual(["runtime", "fetcher"]);
  const [runtime] = pod.spec.containers;
  expect(JSON.stringify(runtime?.env ?? [])).not.toContain("TOKEN");
  await until("the slice is written", async () =>
    (await publishedPods(world.client)).includes(endpoint.podUid),
  );
});

test("limits are the pod's, whoever calls it: two callers at once never pass requestsPerPod", async () => {
  const running = await executor();
  const slow = "import time\ndef main(request):\n    time.sleep(2)\n    return 'done'\n";
  const serving = pythonRevision(slow, {}, {}, { requestsPerPod: 2, concurrency: 1 });
  const { uid } = await world.serve("slow", serving);
  const endpoint = first(await running.acquire("slow", uid, serving.revision));
  const replies = await Promise.all(Array.from({ length: 6 }, () => callPod(endpoint)));
  expect(replies.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([
    200, 200, 429, 429, 429, 429,
  ]);
});

test("an executor that starts anew keeps the warm pod", async () => {
  const running = await executor();
  const serving = pythonRevision(text("kept"), {});
  const { uid } = await world.serve("kept", serving);
  const endpoint = first(await running.acquire("kept", uid, serving.revision));
  await running.stop();
  executors = [];
  const next = await executor();
  expect(first(await next.acquire("kept", uid, serving.revision))).toEqual(endpoint);
  expect((await callPod(endpoint)).text).toBe("kept");
});

test.each([
  ["runtime", "server.py"],
  ["fetcher", "env-images/fetcher/main.ts"],
])("a pod whose %s dies is replaced", async (name, program) => {
  const running = await executor();
  const serving = pythonRevision(text("again"), {});
  const { uid } = await world.serve(`mortal-${name}`, serving);
  const endpoint = first(await running.acquire(`mortal-${name}`, uid, serving.revision));
  process.kill(processOf(endpoint.podUid, program), "SIGKILL");
  await until("its pod is given to nobody", async () => {
    const next = first(await running.acquire(`mortal-${name}`, uid, serving.revision));
    return next.podUid !== endpoint.podUid && (await callPod(next)).text === "again";
  });
  await until("it is gone", async () => {
    const { items } = await world.client.list(PODS, { namespace: NAMESPACE });
    return items.every(({ metadata }) => metadata.uid !== endpoint.podUid);
  });
});

test.each(["auto", "newdeploy"])("executor type %s has pods of a foreign image", async (executorType) => {
  const running = await executor();
  const code = "import os\ndef main(request):\n    return 'mode ' + os.environ.get('MODE', 'none')\n";
  const given = executorType === "newdeploy" ? [{ name: "MODE", value: "fast" }] : [];
  const serving = pythonRevision(
    code,
    {},
    {
      executorType,
      env: given,
      scale: { minPods: 0, maxPods: 2, metrics: [] },
      ...(executorType === "newdeploy" ? { pod: {} } : {}),
    },
  );
  const { uid } = await world.serve(executorType, serving);
  const endpoint = first(await running.acquire(executorType, uid, serving.revision));
  const text = executorType === "newdeploy" ? "mode fast" : "mode none";
  expect(await callPod(endpoint)).toEqual({ status: 200, text });
});

test("code that does not load is the function's fault, with the runtime's reason", async () => {
  const running = await executor();
  const serving = pythonRevision("def main(request:\n", {});
  const { uid } = await world.serve("broken", serving);
  await expect(running.acquire("broken", uid, serving.revision)).rejects.toMatchObject({
    code: "specialization_failed",
    message: expect.stringContaining("SyntaxError"),
  });
});

test("functions of an environment that allows it share a pod, and each leaves it alone", async () => {
  const running = await executor();
  const names = ["one", "two", "three"];
  const calls = await Promise.all(
    names.map(async (name) => {
      const serving = pythonRevision(text(name), shared);
      const { uid } = await world.serve(name, serving);
      return { name, uid, serving, endpoint: first(await running.acquire(name, uid, serving.revision)) };
    }),
  );
  expect(new Set(calls.map(({ endpoint }) => endpoint.podUid)).size).toBe(1);
  for (const { name, uid, endpoint } of calls)
    expect(await callPod(endpoint, "/", asFunction(uid))).toEqual({ status: 200, text: name });

  const [one, two] = calls;
  if (!one || !two) throw new Error("two functions are expected");
  const changed = pythonRevision(text("one, changed"), shared);
  await world.serve("one", changed);
  const elsewhere = first(await running.acquire("one", one.uid, changed.revision));
  expect((await callPod(elsewhere, "/", asFunction(one.uid))).text).toBe("one, changed");
  expect((await callPod(two.endpoint, "/", asFunction(two.uid))).text).toBe("two");
  // It is asked to go once it is quiet, so it is looked at seldom.
  await until("the old one is let go", async () => {
    await new Promise((resolve) => setTimeout(resolve, 700));
    return (await callPod(one.endpoint, "/", asFunction(one.uid))).status === 421;
  });

  await running.stop();
  executors = [];
  const next = await executor();
  expect(first(await next.acquire("two", two.uid, two.serving.revision))).toEqual(two.endpoint);
  expect((await callPod(two.endpoint, "/", asFunction(two.uid))).text).toBe("two");
});

test("a version of an environment that allows it runs on the image it was published with, beside what runs on the newer one", async () => {
  await world.addEnvironment(
    1,
    { runtime: { image: "python-shared-env:2" }, allowedFunctionsPerContainer: "infinite" },
    "moved-on",
  );
  const onImage = (tag: number, answer: string) =>
    pythonRevision(text(answer), { ...shared, name: "moved-on", image: `python-shared-env:${tag}` });
  const running = await executor();
  const names = ["red", "blue"];
  const found = await Promise.all(
    names.map(async (name) => {
      const [before, now] = [onImage(1, `${name} before`), onImage(2, `${name} now`)];
      const { uid } = await world.serve(name, now);
      await world.publish(name, 1, before);
      await until("the version is known", async () => {
        const asked = await running.acquire(name, uid, before.revision).catch(() => undefined);
        return asked !== undefined;
      });
      const old = first(await running.acquire(name, uid, before.revision));
      const fresh = first(await running.acquire(name, uid, now.revision));
      expect((await callPod(old, "/", asFunction(uid))).text).toBe(`${name} before`);
      expect((await callPod(fresh, "/", asFunction(uid))).text).toBe(`${name} now`);
      return { old: old.podUid, fresh: fresh.podUid };
    }),
  );
  const imageOf = async (podUid: string) => {
    const { items } = await world.client.list(PODS, { namespace: NAMESPACE });
    return items
      .find(({ metadata }) => metadata.uid === podUid)
      ?.spec.containers.map(({ image }) => image)
      .find((image) => image?.startsWith("python"));
  };
  // Both functions share the pod of an image, and no pod has both images' versions.
  expect(new Set(found.map(({ old }) => old)).size).toBe(1);
  expect(new Set(found.map(({ fresh }) => fresh)).size).toBe(1);
  expect(await imageOf(found[0]?.old ?? "")).toBe("python-shared-env:1");
  expect(await imageOf(found[0]?.fresh ?? "")).toBe("python-shared-env:2");
});
