import fastify from "fastify";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { request } from "undici";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type ErrorBody } from "../../api/wire/error.ts";
import {
  HEADER_INVOKE_AUTHORIZATION,
  HEADER_OPS_AUTHORIZATION,
  HEADER_OPS_SEALED,
  OpsStatus,
  PodList,
} from "../../api/wire/ops.ts";
import { ReleaseList } from "../../api/wire/releases.ts";
import { opsClient } from "../../cli/ops-client.ts";
import { type ControlPlane, createControlPlane } from "../../controller/control-plane.ts";
import { type Collector, createCollector } from "../../engine/logs/collector.ts";
import { type LogStore, openLogStore } from "../../engine/logs/log-store.ts";
import { LABEL_MANAGED_BY, MANAGED_BY } from "../../api/names.ts";
import { statusRoutes } from "../../controller/ops/status-route.ts";
import { watchPods } from "../../controller/pods.ts";
import { PODS } from "../../kube/core.ts";
import { CANARY_CONFIGS, ENVIRONMENTS, FUNCTIONS } from "../../kube/kinds.ts";
import { loadKubeConnection } from "../../kube/connection.ts";
import { keyRing } from "../../net/keys.ts";
import { processLog } from "../../net/log.ts";
import { verifier } from "../../net/sign.ts";
import { requireSignedCalls } from "../../net/signed-hook.ts";
import { environment, fn } from "./objects.ts";
import { type KubeServer, MemoryArchives, ScriptedBuilder, startKube } from "./platform.ts";
import { eventually } from "../eventually.ts";

let kube: KubeServer;
let plane: ControlPlane;
let logs: LogStore;
let collector: Collector;
let folder: string;
let url: string;
let authorization: string;
const keys = keyRing(["0123456789abcdef0123456789abcdef"]);
const router = fastify();
const gone = Promise.withResolvers<void>();

/** The far side: a router's internal listener that checks signatures and answers for a function. */
async function startRouter(): Promise<string> {
  requireSignedCalls(router, { verifier: verifier(keys, "router-internal") });
  router.all("/fission-function/*", async (call, reply) => {
    if (call.url.includes("/stream")) {
      reply.hijack();
      reply.raw.writeHead(200, { "content-type": "text/event-stream" });
      reply.raw.write("data: 1\n\n");
      reply.raw.once("close", () => gone.resolve());
      return reply;
    }
    return await reply
      .code(call.url.includes("missing") ? 404 : 201)
      .header("x-function", "yes")
      .send({ method: call.method, url: call.url, headers: call.headers, body: call.body });
  });
  return router.listen({ host: "127.0.0.1", port: 0 });
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "isotope-ops-"));
  kube = await startKube();
  const connection = await loadKubeConnection({ kubeconfig: kube.localkube.kubeconfigPath });
  authorization = (await connection.authorization()) ?? "";
  await connection.dispatcher.destroy();
  const log = processLog("test", { level: "error" });
  logs = openLogStore({ folder: join(folder, "logs"), maxBytes: 1e7 });
  collector = createCollector({
    root: join(folder, "pods"),
    stored: logs.positions(),
    sink: (lines) => logs.append(lines),
    factsOf: (uid) => plane.pods.factsOf(uid),
    log,
  });
  plane = createControlPlane({
    client: kube.client,
    keys,
    log,
    version: "1.2.3",
    controller: { archives: new MemoryArchives(), builder: new ScriptedBuilder() },
    routerInternalUrl: await startRouter(),
    routerPeers: "http://127.0.0.1:1",
    executorUrl: "http://127.0.0.1:1",
    logs,
    archiveRoutes: (scope) => void scope.get("/v1/archive", () => ["sha256:none"]),
    archiveUse: () => Promise.resolve({ count: 3, bytes: 42 }),
    components: [{ name: "absent", healthUrl: "http://127.0.0.1:1/healthz" }],
    listen: { host: "127.0.0.1", port: 0 },
  });
  collector.start();
  url = `http://127.0.0.1:${await plane.start()}`;
  plane.lead();
  await plane.controller.synced;
});
afterAll(async () => {
  await plane.stop();
  collector.stop();
  logs.close();
  await router.close();
  await kube.stop();
  rmSync(folder, { recursive: true, force: true });
});

const call = (path: string, options: NonNullable<Parameters<typeof request>[1]> = {}) =>
  request(`${url}${path}`, {
    ...options,
    headers: { authorization, ...(options.headers as Record<string, string>) },
  });
const errorOf = async (path: string, options: Parameters<typeof call>[1] = {}) => {
  const reply = await call(path, options);
  return { status: reply.statusCode, ...((await reply.body.json()) as ErrorBody) };
};

test("only the kubeconfig's token opens the API; health needs none", async () => {
  for (const header of ["", "Bearer wrong", "Basic abc", `Bearer ${"x".repeat(20_000)}`]) {
    const reply = await request(`${url}/v1/status`, {
      headers: header === "" ? {} : { authorization: header },
    }).catch(() => undefined);
    if (!reply) continue;
    expect([401, 431]).toContain(reply.statusCode);
    await reply.body.dump();
  }
  expect((await request(`${url}/readyz`)).statusCode).toBe(200);
  expect((await call("/v1/archive")).statusCode).toBe(200);
  const anonymous = await request(`${url}/v1/archive`);
  expect(anonymous.statusCode).toBe(401);
});

test("releases are told with both sides, before anything could be compared", async () => {
  await kube.client.create(CANARY_CONFIGS, {
    apiVersion: "fission.io/v1",
    kind: "CanaryConfig",
    metadata: { namespace: "default", name: "early" },
    spec: { trigger: "nowhere", newfunction: "b", oldfunction: "a", steps: [{ weight: 5, duration: "90s" }] },
  });
  const read = async (query: string) =>
    ReleaseList.parse(await (await call(`/v1/releases?${query}`)).body.json()).releases;
  const [early] = await eventually(
    () => read("namespace=default&name=early"),
    ([release]) => release !== undefined && release.sentence !== "",
  );
  expect(early).toMatchObject({
    phase: "waiting",
    status: "pending",
    sentence: 'HTTPTrigger "nowhere" does not exist',
    steps: [{ weight: 5, durationMs: 90_000, pause: false }],
    old: { name: "a", weight: 100, requests: 0 },
    new: { name: "b", weight: 0, requests: 0, seconds: [] },
  });
  expect(await read("namespace=other")).toEqual([]);
  await kube.client.delete(CANARY_CONFIGS, { namespace: "default", name: "early" });
});

test("status: counts, components and the problems that conditions tell", async () => {
  await kube.client.create(ENVIRONMENTS, environment("deno"));
  await kube.client.create(FUNCTIONS, fn("lost"));
  const status = await eventually(
    async () => OpsStatus.parse(await (await call("/v1/status")).body.json()),
    // The controller hears of functions and of environments by themselves.
    ({ problems, counts }) => problems[0]?.reason === "PackageNotFound" && counts.environments > 0,
  );
  expect(status).toMatchObject({
    version: "1.2.3",
    counts: { functions: 1, functionsReady: 0, environments: 1, archives: 3, archiveBytes: 42 },
    problems: [{ kind: "Function", namespace: "default", name: "lost", reason: "PackageNotFound" }],
  });
  expect(status.kubernetes.version).not.toBe("");
  expect(status.components).toEqual([
    expect.objectContaining({ name: "controller", status: "up" }),
    expect.objectContaining({ name: "absent", status: "down" }),
  ]);
});

test("invoke passes method, path, query, headers and body through the router, and the function's answer back", async () => {
  const body = Buffer.from([0, 1, 2, 255]).toString("latin1");
  const reply = await call("/v1/invoke/default/hello/a%20b/c?x=1&y=%2F", {
    method: "PUT",
    body,
    headers: {
      "content-type": "text/plain",
      "x-mine": "1",
      "x-isotope-pod": "spoofed",
      "x-fission-function-name": "spoofed",
      "x-fission-request-id": "req-1",
      [HEADER_INVOKE_AUTHORIZATION]: "Bearer for-the-function",
    },
  });
  expect(reply.statusCode).toBe(201);
  expect(reply.headers["x-function"]).toBe("yes");
  const seen = (await reply.body.json()) as {
    method: string;
    url: string;
    headers: Record<string, string>;
    body: string;
  };
  expect(seen).toMatchObject({
    method: "PUT",
    url: "/fission-function/default/hello/a%20b/c?x=1&y=%2F",
    body,
  });
  expect(seen.headers).toMatchObject({
    "x-mine": "1",
    "x-fission-request-id": "req-1",
    authorization: "Bearer for-the-function",
  });
  expect(seen.headers).not.toHaveProperty("x-isotope-pod");
  expect(seen.headers).not.toHaveProperty("x-fission-function-name");
  expect((await call("/v1/invoke/default/missing")).statusCode).toBe(404);
});

test("through the API server's proxy: who calls stands in another header, and what the proxy rewrites is hidden", async () => {
  const sealed = { [HEADER_OPS_AUTHORIZATION]: authorization, [HEADER_OPS_SEALED]: "1" };
  const reply = await request(`${url}/v1/invoke/default/hello/page`, { headers: sealed });
  expect(reply.statusCode).toBe(201);
  expect(reply.headers["content-type"]).toBeUndefined();
  expect(reply.headers[`${HEADER_OPS_SEALED}-content-type`]).toContain("application/json");
  await reply.body.dump();
  const through = opsClient({ url, headers: () => Promise.resolve(sealed) });
  const page = await through.call("/v1/invoke/default/hello/page");
  expect(page.headers["content-type"]).toContain("application/json");
  expect(page.headers).not.toHaveProperty(`${HEADER_OPS_SEALED}-content-type`);
  const nobody = await request(`${url}/v1/status`, { headers: { [HEADER_OPS_AUTHORIZATION]: "Bearer no" } });
  expect(nobody.statusCode).toBe(401);
});

test("invoke streams, and a caller who leaves frees the function", async () => {
  const left = new AbortController();
  const reply = await call("/v1/invoke/default/hello/stream", { signal: left.signal });
  const first = await reply.body[Symbol.asyncIterator]().next();
  expect(String(first.value)).toBe("data: 1\n\n");
  left.abort();
  await gone.promise;
});

test("logs: of past and future, attributed by the pod, filtered", async () => {
  const pod = await kube.client.create(PODS, {
    metadata: {
      name: "pod-1",
      namespace: "default",
      labels: {
        "app.kubernetes.io/managed-by": "isotope",
        "isotope.dev/function": "hello",
        "isotope.dev/revision": "r1",
        "isotope.dev/pod-state": "specialised",
      },
    },
    spec: { containers: [{ name: "runtime", image: "isotope/deno-env:1" }] },
  });
  const pods = await eventually(
    async () => PodList.parse(await (await call("/v1/pods?function=hello")).body.json()).pods,
    (list) => list.length === 1,
  );
  expect(pods[0]).toMatchObject({ name: "pod-1", function: "hello", revision: "r1", state: "specialised" });
  const container = join(folder, "pods", `default_pod-1_${pod.metadata.uid ?? ""}`, "runtime");
  mkdirSync(container, { recursive: true });
  const file = join(container, "0.log");
  writeFileSync(file, "2026-01-01T00:00:00Z stdout F past\n");
  const read = async (query: string) =>
    (await (await call(`/v1/logs?${query}`)).body.text())
      .split("\n")
      .filter((text) => text !== "")
      .map((text) => JSON.parse(text) as { message: string; function: string });
  await eventually(
    () => read("function=hello&namespace=default"),
    (lines) => lines.length === 1 && lines[0]?.message === "past",
  );
  expect(await read("function=hello&level=error")).toEqual([]);

  const stop = new AbortController();
  const following = await call("/v1/logs?follow=true&namespace=default", { signal: stop.signal });
  let text = "";
  const reading = (async () => {
    for await (const chunk of following.body) {
      text += String(chunk);
      if (text.includes("future")) return;
    }
  })();
  writeFileSync(file, "2026-01-01T00:00:01Z stderr F future\n", { flag: "a" });
  await reading;
  stop.abort();
  expect(
    text
      .trim()
      .split("\n")
      .map((one) => (JSON.parse(one) as { message: string }).message),
  ).toEqual(["past", "future"]);
});

test.each([
  ["/v1/logs?level=loud", 'Cannot read logs: "level"'],
  ["/v1/logs?limit=0", 'Cannot read logs: "limit"'],
  ["/v1/logs?since=yesterday", 'Cannot read logs: "since" must be a time such as'],
  ["/v1/logs?follow=perhaps", 'Cannot read logs: "follow"'],
  ["/v1/logs?function=a&function=b", 'Cannot read logs: "function"'],
  ["/v1/invoke/default", "the path must be /v1/invoke/<namespace>/<function>"],
  ["/v1/invoke/Default/x", "the path must be"],
  ["/v1/invoke/default/..%2f..%2fadmin", "the path must be"],
])("bad request %s", async (path, message) => {
  const error = await errorOf(path);
  expect(error.status).toBe(400);
  expect(error).toMatchObject({ reason: "bad_request", component: "controller" });
  expect(error.message).toContain(message);
});

test("what the API does not have is 404, with who answered", async () => {
  expect(await errorOf("/v1/nothing")).toMatchObject({
    status: 404,
    component: "controller",
    message: "The operations API has no GET /v1/nothing",
  });
});

test("pods that are not listed yet are waited for, never told as none", async () => {
  const held = Promise.withResolvers<void>();
  const slow = {
    ...kube.client,
    list: (async (type, options) => {
      await held.promise;
      return kube.client.list(type, options);
    }) satisfies typeof kube.client.list,
  };
  const name = "late-listed";
  await kube.client.create(PODS, {
    metadata: { name, namespace: "default", labels: { [LABEL_MANAGED_BY]: MANAGED_BY } },
    spec: { containers: [{ name: "c", image: "none" }] },
  });
  const book = watchPods(slow, () => undefined);
  const app = fastify();
  statusRoutes(app, {
    version: "1",
    startedAt: new Date(),
    client: kube.client,
    world: plane.controller.world,
    pods: book,
    components: () => Promise.resolve([]),
    archiveUse: () => Promise.resolve({ count: 0, bytes: 0 }),
  });
  try {
    book.start();
    const answer = app.inject({ url: "/v1/pods" });
    setImmediate(() => held.resolve());
    const reply = await answer;
    expect(reply.statusCode).toBe(200);
    expect(PodList.parse(reply.json()).pods.map((pod) => pod.name)).toContain(name);
  } finally {
    await app.close();
    await book.stop();
  }
});
