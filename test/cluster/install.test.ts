import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { createKubeClient, type KubeClient } from "../../kube/client.ts";
import { DEPLOYMENTS, PODS, SECRETS } from "../../kube/core.ts";
import { FUNCTIONS, TIME_TRIGGERS } from "../../kube/kinds.ts";
import { isNotFound } from "../../kube/kube-error.ts";
import { NAMESPACES } from "../../kube/namespace-scope.ts";
import type { InstalledPlatform } from "../e2e/installed-platform.ts";
import { runCli } from "../e2e/run-cli.ts";
import { currentCluster } from "./cluster.ts";
import { helm, installPlatform, uninstallPlatform } from "./install-platform.ts";
import { type OutsideRedis, outsideRedis } from "./outside-redis.ts";
import { platformImages } from "./platform-images.ts";
import { redisValues } from "./redis-image.ts";
import { eventually } from "../eventually.ts";

/** A whole life of a release of its own beside the shared platform: install without Redis, upgrade to one, to another outside, rotation of the key, uninstall. */
const PLATFORM = "chart-life";
const FUNCTION_NAMESPACE = "chart-life-functions";
const LABEL = { "chart.test/life": "yes" };
const VALUES = [
  "fullnameOverride=chartlife",
  "crds.install=false",
  "functionNamespaces.labels={chart.test/life=yes}",
  "functionNamespaces.environment.poolSize=1",
];
const GREET = {
  apiVersion: "fission.io/v1",
  kind: "Workflow",
  metadata: { name: "greet" },
  spec: { startAt: "hello", states: { hello: { type: "Task", function: { name: "hello" }, end: true } } },
};
/** For one run of helm, and what is waited for besides. */
const LONG_MS = 900_000;
const cluster = currentCluster();
let kube: KubeClient;
let installed: InstalledPlatform;
let images: Awaited<ReturnType<typeof platformImages>>;
let redis: string[] = [];
let outside: OutsideRedis | undefined;
const folder = mkdtempSync(join(tmpdir(), "isotope-chart-"));

beforeAll(async () => {
  kube = await createKubeClient({ kubeconfig: cluster.kubeconfig });
  images = await platformImages(cluster, () => undefined);
  redis = await redisValues(cluster);
  await kube.create(NAMESPACES, { metadata: { name: FUNCTION_NAMESPACE, labels: LABEL } });
}, 300_000);
afterAll(async () => {
  await uninstallPlatform(cluster, kube, PLATFORM, [FUNCTION_NAMESPACE]);
  await kube.close();
  outside?.stop();
  rmSync(folder, { recursive: true });
});

const cli = (args: string[]) =>
  runCli([...args, "--kubeconfig", cluster.kubeconfig, "--namespace", FUNCTION_NAMESPACE], {
    cwd: folder,
    env: { ISOTOPE_PLATFORM_NAMESPACE: PLATFORM, ISOTOPE_ROUTER_URL: installed.routerUrl },
  });
/** Sent again when the kept connection that it was sent on had ended, as HTTP clients do with a GET (RFC 9110, 9.2.2). */
const hello = async (): Promise<string> => {
  const get = () => fetch(`${installed.routerUrl}/hello/Ada`);
  const reply = await get().catch((error: unknown) => {
    if (/UND_ERR_SOCKET|ECONNRESET|EPIPE/.test(inspect(error))) return get();
    throw error;
  });
  return `${reply.status} ${await reply.text()}`;
};
const later = () =>
  fetch(`${installed.routerUrl}/hello/Ada`, { headers: { "x-fission-invoke-mode": "async" } });
const install = (values: readonly string[] = []) =>
  installPlatform(cluster, { images, namespace: PLATFORM, values: [...VALUES, ...values] });
/** Waits until every part is of the newest release: what is called before may still be one that ends. */
const settled = () =>
  eventually(
    async () => {
      const { items } = await kube.list(DEPLOYMENTS, { namespace: PLATFORM });
      const pods = (await kube.list(PODS, { namespace: PLATFORM })).items;
      return [
        ...items.filter((deployment) => {
          const { status } = Rollout.parse(deployment);
          const wanted = deployment.spec.replicas ?? 1;
          const whole = status.replicas === wanted && status.updatedReplicas === wanted;
          return !whole || status.observedGeneration !== deployment.metadata.generation;
        }),
        ...pods.filter(({ metadata }) => metadata.deletionTimestamp !== undefined),
      ].map(({ metadata }) => metadata.name);
    },
    (unsettled) => unsettled.length === 0,
    180_000,
  );
const Rollout = z.looseObject({
  status: z.looseObject({
    observedGeneration: z.number().optional(),
    replicas: z.number().default(0),
    updatedReplicas: z.number().default(0),
  }),
});
const keys = async (): Promise<string[]> => {
  const secret = await kube.get(SECRETS, { namespace: PLATFORM, name: "chartlife-signing-key" });
  return Buffer.from(secret.data?.["keys"] ?? "", "base64")
    .toString()
    .split("\n");
};

test("after helm install a deployed example answers through the router", { timeout: LONG_MS }, async () => {
  installed = await install(["redis.enabled=false"]);
  expect((await cli(["init", "."])).code).toBe(0);
  await eventually(
    async () => (await kube.list(PODS, { namespace: FUNCTION_NAMESPACE })).items.length,
    (count) => count > 0,
    180_000,
  );
  const { code, err } = await cli(["deploy", "."]);
  expect(`${code} ${err}`).toMatch(/^0 /);
  expect(await eventually(hello, (answer) => answer.startsWith("200"), 60_000)).toContain("Hello Ada");
});

test("without Redis workflows are checked as objects, and everything about runs says what is missing", async () => {
  writeFileSync(join(folder, "greet.json"), JSON.stringify(GREET));
  const created = await cli(["workflow", "create", "-f", "greet.json"]);
  expect(created.code, created.err).toBe(0);
  const { code, err } = await cli(["workflow", "run", "greet", "--input", "{}"]);
  expect(code).not.toBe(0);
  expect(err).toMatch(/no workflow service/i);
});

test("without Redis an asynchronous call and a question about one say what is missing, and timers wait", async () => {
  const reply = await later();
  expect([reply.status, await reply.text()]).toEqual([503, expect.stringContaining("triggers_unavailable")]);
  expect((await cli(["invocation", "list"])).err).toMatch(/no trigger service/i);
  const timer = ["timer", "create", "--name", "tick", "--function", "hello", "--cron", "@every 2s"];
  const { code, err } = await cli(timer);
  expect(code, err).toBe(0);
});

test("an upgrade changes what it is told and loses nothing", { timeout: LONG_MS }, async () => {
  const [key] = await keys();
  const failures: string[] = [];
  let calls = 0;
  const upgraded = new AbortController();
  const traffic = (async () => {
    while (!upgraded.signal.aborted) {
      const answer = await hello().catch((error: unknown) => inspect(error));
      calls += 1;
      if (!answer.startsWith("200")) failures.push(answer);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  await install([
    ...redis,
    "router.settings.queue-length=500",
    "executor.podAnnotations.a=b",
    "controller.podAnnotations.a=b",
  ]);
  upgraded.abort();
  await traffic;
  expect(failures).toEqual([]);
  expect(calls).toBeGreaterThan(20);
  expect(await keys()).toEqual([key]);
});

test("an upgrade that brings Redis brings workflows, those that were there before among them", {
  timeout: LONG_MS,
}, async ({ skip }) => {
  skip(redis.includes("redis.enabled=false"), "no Redis is installed on this machine");
  const args = ["workflow", "run", "greet", "--input", "{}", "--wait", "--timeout", "60s", "-o", "json"];
  const run = () => cli(args);
  const { out } = await eventually(run, ({ code }) => code === 0, 90_000);
  expect(JSON.parse(out)).toMatchObject({ status: "succeeded", output: expect.stringContaining("Hello") });
});

test("an upgrade that brings Redis brings events, and timers that were there before fire", {
  timeout: LONG_MS,
}, async ({ skip }) => {
  skip(redis.includes("redis.enabled=false"), "no Redis is installed on this machine");
  const accepted = await eventually(later, ({ status }) => status === 202, 90_000);
  const address = `${installed.routerUrl}${accepted.headers.get("location")}`;
  const asked = async () => (await fetch(address)).text();
  expect(await eventually(asked, (text) => text.includes('"succeeded"'), 60_000)).toContain("Hello Ada");
  const timer = () => kube.get(TIME_TRIGGERS, { namespace: FUNCTION_NAMESPACE, name: "tick" });
  await eventually(timer, ({ status }) => status?.lastScheduleTime !== undefined, 90_000);
  expect((await cli(["timer", "delete", "tick"])).code).toBe(0);
});

test("an upgrade to a Redis Cluster outside, by TLS of an authority of its own and with a password, brings both there", {
  timeout: LONG_MS,
}, async ({ skip }) => {
  skip(!cluster.own || redis.includes("redis.enabled=false"), "no Redis is reached by pods");
  outside = await outsideRedis(3);
  const secrets = { outside: { url: outside.url }, "outside-ca": { "ca.crt": outside.ca } };
  for (const [name, stringData] of Object.entries(secrets))
    await kube.create(SECRETS, { metadata: { namespace: PLATFORM, name }, stringData });
  await install([
    "redis.existingSecret=outside",
    "redis.caSecret=outside-ca",
    `redis.ports={${outside.ports.join(",")}}`,
  ]);
  await settled();
  const run = ["workflow", "run", "greet", "--input", "{}", "--wait", "--timeout", "60s", "-o", "json"];
  const { out } = await eventually(
    () => cli(run),
    ({ code }) => code === 0,
    90_000,
  );
  expect(JSON.parse(out)).toMatchObject({ status: "succeeded" });
  const accepted = await eventually(later, ({ status }) => status === 202, 90_000);
  const address = `${installed.routerUrl}${accepted.headers.get("location")}`;
  const asked = async () => (await fetch(address)).text();
  expect(await eventually(asked, (text) => text.includes('"succeeded"'), 60_000)).toContain("Hello Ada");
  const source = ["--mqtype", "redis-streams", "--topic", "orders", "--resptopic", "answers"];
  const trigger = await cli(["mqt", "create", "--name", "orders", "--function", "hello", ...source]);
  expect(trigger.code, trigger.err).toBe(0);
  const publish = ["topic", "publish", "--topic", "orders", "--data", "{}"];
  expect(
    (
      await eventually(
        () => cli(publish),
        ({ code }) => code === 0,
        60_000,
      )
    ).code,
  ).toBe(0);
  const peek = () => cli(["topic", "peek", "--topic", "answers"]);
  expect((await eventually(peek, ({ out: said }) => said.includes("Hello"), 90_000)).out).toContain("Hello");
  expect((await cli(["mqt", "delete", "orders"])).code).toBe(0);
  expect(await outside.keys()).toBeGreaterThan(5);
  // The account that functions had on the Redis that is gone: what the kit has no longer is not looked for in namespaces.
  await kube.delete(SECRETS, { namespace: FUNCTION_NAMESPACE, name: "redis" });
});

test("the signing key is rotated step by step, and no step can be jumped", { timeout: LONG_MS }, async () => {
  const [old] = await keys();
  const chart = join(import.meta.dirname, "..", "..", "charts", "isotope");
  const rotate = (step: number) =>
    helm(cluster, [
      "upgrade",
      "isotope",
      chart,
      "--namespace",
      PLATFORM,
      "--reuse-values",
      "--set",
      `signingKey.rotation=${step}`,
    ]);
  await expect(rotate(2)).rejects.toThrow("signingKey.rotation must be 0 or 1, got 2");
  await rotate(1);
  const [first, added] = await keys();
  expect(first).toBe(old);
  expect(added).toMatch(/^[A-Za-z0-9]{64}$/);
  await rotate(1);
  expect(await keys()).toEqual([old, added]);
  await rotate(2);
  expect(await keys()).toEqual([added, old]);
  // Steps are meant to be two minutes apart, until which some processes do not know of them.
  await eventually(hello, (answer) => answer.startsWith("200"), 180_000);
  await rotate(3);
  expect(await keys()).toEqual([added]);
});

test("uninstall leaves nothing but what the values ask to keep", { timeout: LONG_MS }, async () => {
  await helm(cluster, ["uninstall", "isotope", "--namespace", PLATFORM, "--wait", "--timeout", "4m"]);
  const left = async () =>
    (await everything())
      .filter(({ text }) => text.includes("chartlife") || text.includes(`"${PLATFORM}"`))
      .map(({ id }) => id)
      .filter((id) => !/ chart-life\/(default|kube-root-ca\.crt|outside(-ca)?)$/.test(id))
      .toSorted();
  // What they owned goes a little later than Deployments and Services.
  const kept = ["chartlife-log-store", "chartlife-storage"];
  // Where no Redis can be installed, there was none.
  if (!redis.includes("redis.enabled=false")) kept.push("data-chartlife-redis-0");
  const wanted = kept.map((name) => `persistentvolumeclaims ${PLATFORM}/${name}`);
  await expect.poll(left, { timeout: 180_000, interval: 500 }).toEqual(wanted);
  const inNamespace = async () =>
    (await everything()).filter(({ id }) => id.includes(` ${FUNCTION_NAMESPACE}/`));
  // Of metrics too, which are told of pods for a while.
  const inFunctions = await eventually(
    inNamespace,
    (objects) => !objects.some(({ id }) => id.startsWith("pods ")),
    120_000,
  );
  expect(
    inFunctions
      .filter(({ text }) => text.includes('"app.kubernetes.io/component":"namespace-kit"'))
      .map(({ id }) => id),
  ).toEqual([`environments ${FUNCTION_NAMESPACE}/deno`]);
  const functions = await kube.list(FUNCTIONS, { namespace: FUNCTION_NAMESPACE });
  expect(functions.items.map(({ metadata }) => metadata.name)).toContain("hello");
  await eventually(
    async () => (await kube.find(NAMESPACES, { name: `${PLATFORM}-logs` })) === undefined,
    (gone) => gone,
    180_000,
  );
});

const Resources = z.looseObject({
  resources: z.array(z.looseObject({ name: z.string(), verbs: z.array(z.string()) })),
});
const Groups = z.looseObject({
  groups: z.array(z.looseObject({ preferredVersion: z.object({ groupVersion: z.string() }).loose() })),
});
/** What comes and goes by itself, or belongs to the namespaces that Kubernetes made. */
const UNINTERESTING = new Set([
  "events",
  "persistentvolumes",
  "namespaces",
  "endpoints",
  "podmetrics",
  "bindings",
  "componentstatuses",
]);

/** Every object of every kind that can be listed. */
async function everything(): Promise<{ id: string; text: string }[]> {
  const get = (path: string) => kube.request({ method: "GET", path });
  // Other tests make kinds of their own, which may be gone before they are asked for.
  const whileThere = (path: string, otherwise: object) =>
    get(path).catch((error: unknown) => {
      if (isNotFound(error)) return otherwise;
      throw error;
    });
  const groups = Groups.parse(await get("/apis")).groups.map(
    ({ preferredVersion }) => `/apis/${preferredVersion.groupVersion}`,
  );
  const found: { id: string; text: string }[] = [];
  for (const root of ["/api/v1", ...groups]) {
    const { resources } = Resources.parse(await whileThere(root, { resources: [] }));
    for (const { name, verbs } of resources) {
      if (!verbs.includes("list") || name.includes("/") || UNINTERESTING.has(name)) continue;
      const { items } = z
        .looseObject({
          items: z.array(
            z.looseObject({
              metadata: z.looseObject({ name: z.string(), namespace: z.string().optional() }),
            }),
          ),
        })
        .parse(await whileThere(`${root}/${name}`, { items: [] }));
      for (const item of items)
        found.push({
          id: `${name} ${item.metadata.namespace ?? ""}/${item.metadata.name}`,
          text: JSON.stringify(item),
        });
    }
  }
  return found;
}
