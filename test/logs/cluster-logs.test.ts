import { appendFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { LABEL_FUNCTION_NAME, LABEL_MANAGED_BY, LABEL_REVISION, MANAGED_BY } from "../../api/names.ts";
import { LOG_STORE_AUDIENCE } from "../../api/wire/logs.ts";
import type { LogLine } from "../../api/wire/ops.ts";
import { logStoreReader } from "../../controller/log-store-client.ts";
import { PODS } from "../../kube/core.ts";
import { keyRing, keyRingFromFile } from "../../net/keys.ts";
import { type SignedClient, signedClient } from "../../net/signed-client.ts";
import { type KubeServer, startKube } from "../controller/platform.ts";
import { answersOk, freePort, type TestedProcess, testedProcess } from "./processes.ts";
import { eventually } from "../eventually.ts";

let kube: KubeServer;
let home: string;
let store: TestedProcess;
let collector: TestedProcess;
let client: SignedClient;
let storeUrl: string;
const PLATFORM_KEY = "platform-key-0123456789abcdef012345";
const COLLECTOR_KEY = "collector-key-0123456789abcdef01234";

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), "isotope-cluster-logs-"));
  kube = await startKube();
  for (const [name, key] of [
    ["platform", PLATFORM_KEY],
    ["collector", COLLECTOR_KEY],
  ] as const)
    writeFileSync(join(home, name), `${key}\n`);
  const [port, storeMetrics, collectorMetrics] = [await freePort(), await freePort(), await freePort()];
  storeUrl = `http://127.0.0.1:${port}`;
  const platformKey = join(home, "platform");
  const collectorKey = join(home, "collector");
  store = testedProcess(
    "engine/logs/store/main",
    {
      host: "127.0.0.1",
      port,
      "metrics-host": "127.0.0.1",
      "metrics-port": storeMetrics,
      kubeconfig: kube.localkube.kubeconfigPath,
      folder: join(home, "store"),
      "internal-key-file": platformKey,
      "collector-key-file": collectorKey,
    },
    answersOk(`http://127.0.0.1:${storeMetrics}/readyz`),
  );
  collector = testedProcess(
    "engine/logs/collector/main",
    {
      "metrics-host": "127.0.0.1",
      "metrics-port": collectorMetrics,
      node: "node-1",
      "pod-logs": join(home, "pods"),
      "store-url": storeUrl,
      "internal-key-file": collectorKey,
    },
    answersOk(`http://127.0.0.1:${collectorMetrics}/healthz`),
  );
  client = signedClient({
    keys: keyRingFromFile(join(home, "platform")),
    origin: storeUrl,
    audience: LOG_STORE_AUDIENCE,
    unavailable: "log_store_unavailable",
  });
  mkdirSync(join(home, "pods"));
  await store.start();
  await collector.start();
});
afterAll(async () => {
  await collector.kill();
  await store.kill();
  await client.close();
  await kube.stop();
  rmSync(home, { recursive: true, force: true });
});

/** A pod as the API server knows it; gives its log folder on the node. */
async function newPod(name: string, labels: Record<string, string>): Promise<string> {
  const { metadata } = await kube.client.create(PODS, {
    metadata: { name, namespace: "default", labels },
    spec: { containers: [{ name: "runtime", image: "example.com/none:1" }] },
  });
  const folder = join(home, "pods", `default_${name}_${metadata.uid}`, "runtime");
  mkdirSync(folder, { recursive: true });
  return folder;
}

const ours = (name: string): Record<string, string> => ({
  [LABEL_MANAGED_BY]: MANAGED_BY,
  [LABEL_FUNCTION_NAME]: name,
  [LABEL_REVISION]: "r1",
});
const cri = (text: string): string => `${new Date().toISOString()} stdout F ${text}\n`;

async function linesOf(
  filter: Parameters<ReturnType<typeof logStoreReader>["query"]>[0],
): Promise<LogLine[]> {
  const found: LogLine[] = [];
  for await (const line of logStoreReader(client).query(filter, { order: "oldest", limit: 100_000 }))
    found.push(line);
  return found;
}

test("lines of the platform's pods arrive with function and revision; those of others do not", async () => {
  const mine = await newPod("mine", ours("hello"));
  const foreign = await newPod("foreign", {});
  appendFileSync(join(mine, "0.log"), cri("one") + cri("two"));
  appendFileSync(join(foreign, "0.log"), cri("secret of somebody else"));
  const found = await eventually(
    () => linesOf({ namespace: "default", function: "hello" }),
    (lines) => lines.length === 2,
    60_000,
  );
  expect(found).toMatchObject([
    { message: "one", pod: "mine", revision: "r1" },
    { message: "two", container: "runtime" },
  ]);
  expect(await linesOf({ pod: "foreign" })).toEqual([]);
});

test("kill -9 of store and collector while lines come: each line is there once, in order, also after its pod is gone", async () => {
  const pod = await newPod("busy", ours("busy"));
  const file = join(pod, "0.log");
  let written = 0;
  const write = (lines: number): void => {
    let text = "";
    for (let at = 0; at < lines; at += 1) text += cri(`line ${(written += 1)}`);
    appendFileSync(file, text);
  };
  const writing = setInterval(() => write(7), 5);
  try {
    for (const victim of [store, collector, store, collector]) {
      await new Promise((resolve) => setTimeout(resolve, 250));
      await victim.kill();
      write(50);
      await victim.start();
    }
    // A rotation, as the kubelet does it.
    renameSync(file, join(pod, "0.log.20260101-000000"));
    write(20);
    await new Promise((resolve) => setTimeout(resolve, 250));
  } finally {
    clearInterval(writing);
  }
  await kube.client.delete(PODS, { name: "busy", namespace: "default" });
  await eventually(
    async () => (await linesOf({ function: "busy" })).length,
    (stored) => stored >= written,
    90_000,
  );
  rmSync(join(pod, ".."), { recursive: true });
  const messages = (await linesOf({ function: "busy" })).map(({ message }) => message);
  expect(messages).toEqual(Array.from({ length: written }, (_, at) => `line ${at + 1}`));
}, 300_000);

test("what was rotated before any collector has seen it is collected", async () => {
  await collector.kill();
  const pod = await newPod("rotated", ours("rotated"));
  const file = join(pod, "0.log");
  for (const [at, text] of ["first", "second"].entries()) {
    writeFileSync(file, cri(text));
    renameSync(file, `${file}.2026010${at + 1}-000000`);
  }
  writeFileSync(file, cri("third"));
  await collector.start();
  const found = await eventually(
    () => linesOf({ function: "rotated" }),
    (lines) => lines.length >= 3,
    60_000,
  );
  expect(found.map(({ message }) => message)).toEqual(["first", "second", "third"]);
});

test("a reader that follows goes on when the store restarts, without a line twice", async () => {
  const pod = await newPod("followed", ours("followed"));
  const stop = new AbortController();
  const seen: string[] = [];
  const reading = (async () => {
    const lines = logStoreReader(client).follow({ function: "followed" }, { limit: 10, signal: stop.signal });
    for await (const { message } of lines) seen.push(message);
  })();
  for (let round = 1; round <= 3; round += 1) {
    appendFileSync(join(pod, "0.log"), cri(`a${round}`) + cri(`b${round}`));
    await eventually(
      () => Promise.resolve([...seen]),
      (lines) => lines.length >= round * 2,
      60_000,
    );
    if (round === 2) {
      await store.kill();
      await store.start();
    }
  }
  stop.abort();
  await reading.catch(() => undefined);
  expect(seen).toEqual(["a1", "b1", "a2", "b2", "a3", "b3"]);
}, 300_000);

test("a collector's key opens what collectors need and nothing else; without a signature nothing", async () => {
  const asCollector = signedClient({
    keys: keyRing([COLLECTOR_KEY]),
    origin: storeUrl,
    audience: LOG_STORE_AUDIENCE,
    unavailable: "log_store_unavailable",
  });
  const post = (target: string, body: unknown): Parameters<SignedClient["send"]>[0] => ({
    method: "POST",
    target,
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const statusOf = async (call: Parameters<SignedClient["send"]>[0]): Promise<number> => {
    const reply = await asCollector.send(call);
    reply.body.resume();
    return reply.status;
  };
  const read = { filter: {}, limit: 1, order: "newest", follow: false };
  expect(await statusOf(post("/v1/read", read))).toBe(401);
  expect(await statusOf(post("/v1/pods", { uids: [] }))).toBe(200);
  expect(await statusOf(post("/v1/lines", { node: "../x", lines: [] }))).toBe(400);
  await asCollector.close();
  for (const path of ["/v1/read", "/v1/lines", "/v1/pods"]) {
    const reply = await fetch(`${storeUrl}${path}`, {
      method: "POST",
      body: "{}",
      headers: { "content-type": "application/json" },
    });
    expect(reply.status).toBe(401);
  }
});
