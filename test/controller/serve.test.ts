import { afterEach, beforeEach, expect, test } from "vitest";
import { CONFIG_MAPS, EVENTS, SECRETS } from "../../kube/core.ts";
import { createInformer } from "../../kube/informer.ts";
import { ENVIRONMENTS, FUNCTIONS, HTTP_TRIGGERS, PACKAGES } from "../../kube/kinds.ts";
import { environment, fn, literalPackage, trigger } from "./objects.ts";
import {
  condition,
  type KubeServer,
  type RunningController,
  runController,
  sha256,
  startKube,
} from "./platform.ts";
import { eventually } from "../eventually.ts";

let kube: KubeServer;
let running: RunningController;

beforeEach(async () => {
  kube = await startKube();
  running = runController(kube.client);
});
afterEach(async () => {
  await running.controller.stop();
  await kube.stop();
});

const getFunction = (name = "hello") => kube.client.get(FUNCTIONS, { namespace: "default", name });
const getPackage = (name = "pkg") => kube.client.get(PACKAGES, { namespace: "default", name });

/** Writes another literal archive into the package. */
const setArchive = (part: "source" | "deployment", text: string) =>
  kube.client.patch(
    PACKAGES,
    { namespace: "default", name: "pkg" },
    { spec: { [part]: { type: "literal", literal: Buffer.from(text).toString("base64") } } },
  );

test("a function whose package, environment, secret and config map exist serves, and each of them changes its revision", async () => {
  const { client } = kube;
  await client.create(
    FUNCTIONS,
    fn("hello", {
      secrets: [{ namespace: "default", name: "db" }],
      env: [{ name: "MODE", valueFrom: { configMapKeyRef: { name: "settings", key: "mode" } } }],
    }),
  );
  const reasons: (string | undefined)[] = [];
  const blocked = async (reason: string) => {
    const found = await eventually(
      () => getFunction(),
      (one) => condition(one, "Ready")?.reason === reason,
    );
    reasons.push(condition(found, "Ready")?.message);
    expect(found.status?.serving).toBeUndefined();
  };
  await blocked("EnvironmentNotFound");
  await client.create(ENVIRONMENTS, environment("deno"));
  await blocked("PackageNotFound");
  await client.create(PACKAGES, literalPackage("pkg", "export default () => new Response('hi')"));
  await blocked("SecretNotFound");
  await client.create(SECRETS, {
    metadata: { name: "db", namespace: "default" },
    data: { password: "cHc=" },
  });
  await blocked("ConfigMapNotFound");
  await client.create(CONFIG_MAPS, {
    metadata: { name: "settings", namespace: "default" },
    data: { mode: "fast" },
  });
  const first = await eventually(
    () => getFunction(),
    (one) => condition(one, "Ready")?.status === "True",
  );
  expect(first.status?.serving).toMatchObject({
    package: { name: "pkg", digest: sha256("export default () => new Response('hi')") },
    secrets: [{ name: "db" }],
    configMaps: [{ name: "settings", mounted: false }],
    executorType: "poolmgr",
  });
  expect(reasons[2]).toBe(
    'Secret "db" not found in namespace "default": create it with kubectl create secret generic db -n default --from-literal=KEY=VALUE',
  );

  const revisions = new Set([first.status?.serving?.revision]);
  const changed = async (what: () => Promise<unknown>) => {
    await what();
    const next = await eventually(
      () => getFunction(),
      (one) => !revisions.has(one.status?.serving?.revision),
    );
    revisions.add(next.status?.serving?.revision);
  };
  await changed(() =>
    client.patch(SECRETS, { namespace: "default", name: "db" }, { data: { password: "cHcy" } }),
  );
  await changed(() =>
    client.patch(CONFIG_MAPS, { namespace: "default", name: "settings" }, { data: { mode: "slow" } }),
  );
  await changed(() =>
    client.patch(
      ENVIRONMENTS,
      { namespace: "default", name: "deno" },
      { spec: { runtime: { image: "isotope/deno-env:2" } } },
    ),
  );
  await changed(() => setArchive("deployment", "export default () => new Response('v2')"));
  await changed(() =>
    client.patch(FUNCTIONS, { namespace: "default", name: "hello" }, { spec: { functionTimeout: 5 } }),
  );

  const last = await getFunction();
  expect(last.status?.serving?.limits.timeoutMs).toBe(5_000);
  await running.controller.stop();
  const events = await client.list(EVENTS, { namespace: "default" });
  expect(events.items.filter((event) => event.reason === "RevisionServes").length).toBe(6);
});

test("what is taken away keeps the last revision serving, and the condition says so", async () => {
  const { client } = kube;
  await client.create(ENVIRONMENTS, environment("deno"));
  await client.create(PACKAGES, literalPackage("pkg", "one"));
  await client.create(SECRETS, { metadata: { name: "db", namespace: "default" }, data: {} });
  await client.create(
    FUNCTIONS,
    fn("hello", { secrets: [{ namespace: "default", name: "db" }], streaming: { protocol: "auto" } }),
  );
  const before = await eventually(
    () => getFunction(),
    (one) => one.status?.serving !== undefined,
  );
  await client.delete(SECRETS, { namespace: "default", name: "db" });
  const after = await eventually(
    () => getFunction(),
    (one) => condition(one, "Ready")?.status === "False",
  );
  expect(condition(after, "Ready")?.message).toContain(
    `revision ${before.status?.serving?.revision ?? ""} still serves`,
  );
  expect(after.status?.serving).toEqual(before.status?.serving);

  await client.patch(
    FUNCTIONS,
    { namespace: "default", name: "hello" },
    { spec: { secrets: null, streaming: null } },
  );
  const healed = await eventually(
    () => getFunction(),
    (one) => condition(one, "Ready")?.status === "True",
  );
  expect(healed.status?.serving?.secrets).toEqual([]);
  expect(healed.status?.serving?.limits).not.toHaveProperty("streaming");
});

test("source is built, the log streams into the status, and functions follow; a failing build leaves what served", async () => {
  const { client } = kube;
  const gate = Promise.withResolvers<void>();
  running.builder.answer = async (input, hooks) => {
    hooks.onLog("bundling index.ts");
    await gate.promise;
    return { outcome: "succeeded", artifact: input.source.bytes, sha256: input.source.sha256 };
  };
  await client.create(ENVIRONMENTS, environment("deno"));
  await client.create(PACKAGES, literalPackage("pkg", "source one", "source"));
  await client.create(FUNCTIONS, fn("hello"));
  const building = await eventually(
    () => getPackage(),
    (pkg) => pkg.status?.buildlog === "bundling index.ts\n",
  );
  expect(building.status?.buildstatus).toBe("running");
  // The function was reconciled before as well: by then the build had not begun.
  await eventually(
    () => getFunction(),
    (one) => condition(one, "Ready")?.message === 'Package "pkg" is not built yet: running',
  );
  gate.resolve();
  const built = await eventually(
    () => getPackage(),
    (pkg) => condition(pkg, "Ready")?.status === "True",
  );
  const digest = sha256("source one");
  expect(built.status).toMatchObject({
    buildstatus: "succeeded",
    contentHash: digest,
    sourceDigest: digest,
    sizeBytes: 10,
  });
  expect(built.spec.deployment).toMatchObject({ type: "url", checksum: { type: "sha256", sum: digest } });
  expect(built.spec.deployment?.url).toContain(digest);
  const serving = await eventually(
    () => getFunction(),
    (one) => one.status?.serving?.package.digest === digest,
  );

  running.builder.answer = () =>
    Promise.resolve({ outcome: "failed", fault: "user", message: 'index.ts:3:7: Unexpected "}"' });
  await setArchive("source", "broken");
  const failed = await eventually(
    () => getPackage(),
    (pkg) => pkg.status?.buildstatus === "failed",
  );
  expect(condition(failed, "BuildSucceeded")).toMatchObject({
    status: "False",
    reason: "BuildFailed",
    message: 'index.ts:3:7: Unexpected "}"',
  });
  expect(failed.spec.deployment?.checksum?.sum).toBe(digest);
  const kept = await eventually(
    () => getFunction(),
    (one) => condition(one, "Ready")?.message.includes('index.ts:3:7: Unexpected "}"; revision') === true,
  );
  expect(condition(kept, "Ready")?.status).toBe("False");
  expect(kept.status?.serving).toEqual(serving.status?.serving);

  const builds = running.builder.builds.length;
  running.builder.answer = (input) =>
    Promise.resolve({ outcome: "succeeded", artifact: input.source.bytes, sha256: input.source.sha256 });
  await client.patchStatus(PACKAGES, { namespace: "default", name: "pkg" }, { buildstatus: "pending" });
  await eventually(
    () => getFunction(),
    (one) => one.status?.serving?.package.digest === sha256("broken"),
  );
  expect(running.builder.builds.length).toBe(builds + 1);
});

test("a build that the platform could not run is tried again by itself", async () => {
  const { client } = kube;
  let tries = 0;
  running.builder.answer = (input) => {
    tries++;
    return tries === 1
      ? Promise.reject(new Error("builder pod died"))
      : Promise.resolve({ outcome: "succeeded", artifact: input.source.bytes, sha256: input.source.sha256 });
  };
  // By a watch, which misses nothing: what is said of the first try is gone with the second.
  const said: string[] = [];
  const packages = createInformer({ client, type: PACKAGES, namespace: "default" });
  packages.subscribe({
    onChange: (change) => {
      const ready = change.type === "delete" ? undefined : condition(change.object, "Ready");
      said.push(`${ready?.reason}: ${ready?.message}`);
    },
  });
  packages.start();
  await packages.synced;
  try {
    await client.create(ENVIRONMENTS, environment("deno"));
    await client.create(PACKAGES, literalPackage("pkg", "source", "source"));
    await eventually(
      () => Promise.resolve(said),
      (all) => all.some((text) => /^BuilderUnavailable: .*builder pod died/.test(text)),
    );
    await eventually(
      () => getPackage(),
      (pkg) => condition(pkg, "Ready")?.status === "True",
    );
    expect(tries).toBe(2);
  } finally {
    await packages.stop();
  }
});

test("a controller that dies in the middle of a build leaves it to the next one; accepted work survives a restart of the API server", async () => {
  const { client } = kube;
  running.builder.answer = () => new Promise(() => undefined);
  await client.create(ENVIRONMENTS, environment("deno"));
  await client.create(PACKAGES, literalPackage("pkg", "source", "source"));
  await client.create(FUNCTIONS, fn("hello"));
  await eventually(
    () => getPackage(),
    (pkg) => pkg.status?.buildstatus === "running",
  );
  // No orderly stop: the first controller hangs for ever while the second takes over.
  const second = runController(client, { archives: running.archives });
  try {
    await eventually(
      () => getFunction(),
      (one) => one.status?.serving?.package.digest === sha256("built source"),
    );
    await kube.restart();
    await setArchive("source", "source two");
    await eventually(
      () => getFunction(),
      (one) => one.status?.serving?.package.digest === sha256("built source two"),
    );
  } finally {
    await second.controller.stop();
  }
});

test("newer source replaces a build that is under way", async () => {
  const { client } = kube;
  const aborted: string[] = [];
  running.builder.answer = (input, hooks) => {
    const text = Buffer.from(input.source.bytes).toString("utf8");
    if (text === "two")
      return Promise.resolve({
        outcome: "succeeded",
        artifact: input.source.bytes,
        sha256: input.source.sha256,
      });
    return new Promise((_, reject) => {
      hooks.signal.addEventListener("abort", () => {
        aborted.push(text);
        reject(new Error("aborted"));
      });
    });
  };
  await client.create(ENVIRONMENTS, environment("deno"));
  await client.create(PACKAGES, literalPackage("pkg", "one", "source"));
  await eventually(
    () => Promise.resolve(running.builder.builds.length),
    (count) => count === 1,
  );
  await client.patch(
    PACKAGES,
    { namespace: "default", name: "pkg" },
    { spec: { source: literalPackage("pkg", "two", "source").spec.source } },
  );
  const pkg = await eventually(
    () => getPackage(),
    (one) => condition(one, "Ready")?.status === "True",
  );
  expect(pkg.status?.contentHash).toBe(sha256("two"));
  expect(aborted).toEqual(["one"]);
});

test("routes: admitted, conflicting, without function, and freed when the winner goes", async () => {
  const { client } = kube;
  await client.create(HTTP_TRIGGERS, trigger("first", "/a/{id}"));
  await eventually(
    () => client.get(HTTP_TRIGGERS, { namespace: "default", name: "first" }),
    (one) =>
      condition(one, "Ready")?.reason === "FunctionNotFound" &&
      condition(one, "RouteAdmitted")?.status === "True",
  );
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  await client.create(HTTP_TRIGGERS, trigger("second", "/a/{name}"));
  const lost = await eventually(
    () => client.get(HTTP_TRIGGERS, { namespace: "default", name: "second" }),
    (one) => condition(one, "RouteAdmitted")?.reason === "RouteConflict",
  );
  expect(condition(lost, "RouteAdmitted")?.message).toContain('HTTPTrigger "default/first" is older');
  await client.create(ENVIRONMENTS, environment("deno"));
  await client.create(PACKAGES, literalPackage("pkg", "one"));
  await client.create(FUNCTIONS, fn("hello"));
  await eventually(
    () => client.get(HTTP_TRIGGERS, { namespace: "default", name: "first" }),
    (one) => condition(one, "Ready")?.status === "True",
  );
  await client.delete(HTTP_TRIGGERS, { namespace: "default", name: "first" });
  await eventually(
    () => client.get(HTTP_TRIGGERS, { namespace: "default", name: "second" }),
    (one) => condition(one, "Ready")?.status === "True",
  );
});
