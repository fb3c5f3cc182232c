import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  LABEL_FUNCTION_NAME,
  LABEL_FUNCTION_UID,
  LABEL_MANAGED_BY,
  LABEL_REVISION,
} from "../../api/names.ts";
import { ANNOTATION_REQUESTS_PER_POD } from "../../api/wire/executor.ts";
import { createKubeClient, type KubeClient } from "../../kube/client.ts";
import { ENDPOINT_SLICES } from "../../kube/core.ts";
import { FUNCTIONS, HTTP_TRIGGERS } from "../../kube/kinds.ts";
import { type Localkube, startLocalkube } from "../../localkube/server.ts";
import { type FakePod, startFakePod } from "./fake-pod.ts";
import { functionObject, type RunningRouter, startRouter } from "./world.ts";

// The router on the API server of local mode, through its outage and return.
const dataDir = mkdtempSync(join(tmpdir(), "isotope-router-localkube-"));
const CRDS = resolve(import.meta.dirname, "../../charts/isotope/files/crds");
let localkube: Localkube;
let kube: KubeClient;
let router: RunningRouter;
let pod: FakePod;
let uid = "";

const start = (port: number) => startLocalkube({ dataDir, port, crdDirs: [CRDS], log: () => undefined });

beforeAll(async () => {
  localkube = await start(0);
  kube = await createKubeClient({ kubeconfig: localkube.kubeconfigPath });
  const created = await kube.create(FUNCTIONS, {
    apiVersion: "fission.io/v1",
    kind: "Function",
    metadata: { name: "hello", namespace: "default" },
    spec: { environment: { namespace: "default", name: "deno" }, package: {}, InvokeStrategy: {} },
  });
  uid = created.metadata.uid ?? "";
  await serve("r1");
  await trigger("hello", "/hello");
  pod = await startFakePod({ uid: "pod-1", revision: "r1", name: "hello" });
  await publish(pod);
  router = await startRouter(localkube.kubeconfigPath, "http://127.0.0.1:1", {}, []);
});
afterAll(async () => {
  await router.stop();
  await pod.close();
  await kube.close();
  await localkube.stop();
  rmSync(dataDir, { recursive: true, force: true });
});

async function serve(revision: string): Promise<void> {
  const { status } = functionObject({
    namespace: "default",
    name: "hello",
    uid,
    revision,
    requestsPerPod: 10,
    concurrency: 1,
    onceOnly: false,
    timeoutMs: 60_000,
    maxBodyBytes: 1_000_000,
  });
  await kube.patchStatus(FUNCTIONS, { namespace: "default", name: "hello" }, status);
}

async function trigger(name: string, relativeurl: string): Promise<void> {
  await kube.create(HTTP_TRIGGERS, {
    apiVersion: "fission.io/v1",
    kind: "HTTPTrigger",
    metadata: { name, namespace: "default" },
    spec: { relativeurl, functionref: { type: "name", name: "hello" } },
  });
}

async function publish(made: FakePod): Promise<void> {
  await kube.create(ENDPOINT_SLICES, {
    metadata: {
      name: `hello-${made.revision}`,
      namespace: "default",
      labels: {
        [LABEL_FUNCTION_NAME]: "hello",
        [LABEL_FUNCTION_UID]: uid,
        [LABEL_REVISION]: made.revision,
        [LABEL_MANAGED_BY]: "isotope",
      },
      annotations: { [ANNOTATION_REQUESTS_PER_POD]: "10" },
    },
    addressType: "IPv4",
    ports: [{ name: "http", port: made.port, protocol: "TCP" }],
    endpoints: [
      {
        addresses: [made.host],
        conditions: { ready: true },
        targetRef: { kind: "Pod", name: made.uid, namespace: "default", uid: made.uid },
      },
    ],
  });
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 30_000;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error("Timed out");
    await new Promise((done) => setTimeout(done, 10));
  }
}

test("serves, outlives the API server, and catches up when it returns", async () => {
  const status = async (path: string) => (await fetch(router.url + path)).status;
  expect(await status("/hello")).toBe(200);
  await trigger("second", "/second");
  await until(async () => (await status("/second")) === 200);

  const port = Number(new URL(localkube.url).port);
  await localkube.stop();
  for (let i = 0; i < 5; i += 1) expect(await status("/hello")).toBe(200);
  localkube = await start(port);
  await kube.delete(HTTP_TRIGGERS, { namespace: "default", name: "second" });
  await trigger("third", "/third");
  await until(async () => (await status("/third")) === 200);
  expect(await status("/second")).toBe(404);

  const next = await startFakePod({ uid: "pod-2", revision: "r2", name: "hello" });
  await publish(next);
  await serve("r2");
  const revision = async () =>
    ((await (await fetch(`${router.url}/hello`)).json()) as { revision: string }).revision;
  await until(async () => (await revision()) === "r2");
  expect(await revision()).toBe("r2");
  await next.close();
});
