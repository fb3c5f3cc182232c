import { afterAll, beforeAll, expect, test } from "vitest";
import { KINDS } from "../../api/kinds/index.ts";
import { ENVIRONMENTS, FUNCTIONS, PACKAGES, platformType } from "../../kube/kinds.ts";
import { environment, fn, literalPackage } from "./objects.ts";
import { condition, type KubeServer, type RunningController, runController, startKube } from "./platform.ts";
import { eventually } from "../eventually.ts";

let kube: KubeServer;
let running: RunningController;
beforeAll(async () => {
  kube = await startKube();
  running = runController(kube.client);
});
afterAll(async () => {
  await running.controller.stop();
  await kube.stop();
});

test.each<[string, object]>([["FissionTenant", { namespace: "default" }]])(
  "a %s is stored and says that its feature comes later",
  async (kind, spec) => {
    const definition = KINDS.find((known) => known.kind === kind);
    if (!definition) throw new Error(`no kind ${kind}`);
    const type = platformType(definition);
    const ref = type.namespaced ? { namespace: "default", name: "later" } : { name: "later" };
    await kube.client.create(type, { metadata: ref, spec });
    const found = await eventually(
      () => kube.client.get(type, ref),
      (object) => condition(object, "Ready") !== undefined,
    );
    expect(condition(found, "Ready")).toMatchObject({ status: "False", reason: "FeatureNotAvailable" });
  },
);

test("environments: what is kept ready, what has no effect, and images that cannot be served yet", async () => {
  const { client } = kube;
  await client.create(ENVIRONMENTS, environment("own", { poolsize: 0, keeparchive: true }));
  await client.create(ENVIRONMENTS, environment("foreign", { runtime: { image: "fission/node-env-22" } }));
  const get = (name: string) => client.get(ENVIRONMENTS, { namespace: "default", name });
  const own = await eventually(
    () => get("own"),
    (one) => condition(one, "Ready") !== undefined,
  );
  expect(condition(own, "Ready")).toMatchObject({
    status: "True",
    message: expect.stringContaining("No pods are kept ready") as string,
  });
  expect(condition(own, "Ready")?.message).toContain("keeparchive has no effect");
  const foreign = await eventually(
    () => get("foreign"),
    (one) => condition(one, "Ready") !== undefined,
  );
  expect(condition(foreign, "Ready")).toMatchObject({ status: "True", reason: "PoolConfigured" });
});

test("packages that hold nothing, cannot be built, or name an archive that is not there", async () => {
  const { client } = kube;
  const blank = {
    ...literalPackage("empty", "x"),
    spec: { environment: { namespace: "default", name: "none" } },
  };
  await client.create(PACKAGES, blank);
  await client.create(PACKAGES, literalPackage("homeless", "x", "source"));
  await client.create(ENVIRONMENTS, environment("bare", { builder: {} }));
  const source = literalPackage("unbuildable", "x", "source");
  await client.create(PACKAGES, {
    ...source,
    spec: { ...source.spec, environment: { namespace: "default", name: "bare" } },
  });
  const gone = literalPackage("gone", "x");
  await client.create(PACKAGES, {
    ...gone,
    spec: {
      ...gone.spec,
      deployment: { type: "url", url: `http://storagesvc.fission/v1/archive?id=sha256:${"d".repeat(64)}` },
    },
  });
  const hidden = literalPackage("private", "x");
  await client.create(PACKAGES, {
    ...hidden,
    spec: { ...hidden.spec, deployment: { type: "url", url: "http://127.0.0.1:1/a.zip" } },
  });
  for (const [name, reason, message] of [
    ["empty", "EmptyPackage", "neither source nor deployment"],
    ["homeless", "EnvironmentNotFound", 'Environment "deno" not found'],
    ["unbuildable", "NoBuilder", 'Environment "bare" has no builder'],
    ["gone", "ArchiveNotFound", "is not in storage"],
    ["private", "DownloadFailed", "points to a private address"],
  ] as const) {
    // The controller may hear of a package before it hears of the package's environment.
    const pkg = await eventually(
      () => client.get(PACKAGES, { namespace: "default", name }),
      (one) => condition(one, "Ready")?.reason === reason,
    );
    expect(condition(pkg, "Ready")).toMatchObject({
      status: "False",
      reason,
      message: expect.stringContaining(message) as string,
    });
  }
});

test("a function that is deleted and made anew is a new one, and its package stays", async () => {
  const { client } = kube;
  const ref = { namespace: "default", name: "again" };
  await client.create(ENVIRONMENTS, environment("deno"));
  await client.create(PACKAGES, literalPackage("pkg", "code"));
  const spec = { package: { packageref: { namespace: "default", name: "pkg" }, functionName: "" } };
  await client.create(FUNCTIONS, fn("again", spec));
  const first = await eventually(
    () => client.get(FUNCTIONS, ref),
    (one) => one.status?.serving !== undefined,
  );
  await client.delete(FUNCTIONS, ref);
  expect(await client.find(FUNCTIONS, ref)).toBeUndefined();
  await client.create(FUNCTIONS, fn("again", spec));
  const second = await eventually(
    () => client.get(FUNCTIONS, ref),
    (one) => one.status?.serving !== undefined,
  );
  expect(second.metadata.uid).not.toBe(first.metadata.uid);
  expect(second.status?.serving?.revision).toBe(first.status?.serving?.revision);
  expect(await client.find(PACKAGES, { namespace: "default", name: "pkg" })).toBeDefined();
});

test("rules on fields whose names are words of CEL hold", async () => {
  const { client } = kube;
  const topic = { messageQueueType: "kafka", topic: "t" } as const;
  const target = { type: "name", name: "hello" } as const;
  const withDestination = (name: string, onSuccess: object) =>
    client.create(FUNCTIONS, fn(name, { invocation: { onSuccess } }));
  await withDestination("by-function", { function: target });
  await withDestination("by-topic", { topic });
  await expect(withDestination("by-both", { function: target, topic })).rejects.toThrow(
    "exactly one of function and topic",
  );
  await expect(withDestination("by-none", {})).rejects.toThrow("exactly one of function and topic");
});
