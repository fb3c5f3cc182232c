import { afterAll, beforeAll, expect, test } from "vitest";
import type { FunctionAlias, FunctionVersion } from "../../api/kinds/index.ts";
import { FINALIZER_VERSION_IN_USE, LABEL_FUNCTION_UID } from "../../api/names.ts";
import {
  ENVIRONMENTS,
  FUNCTION_ALIASES,
  FUNCTION_VERSIONS,
  FUNCTIONS,
  HTTP_TRIGGERS,
  PACKAGES,
} from "../../kube/kinds.ts";
import { EVENTS } from "../../kube/core.ts";
import { NotPublishable, publishVersion } from "../../kube/publish-version.ts";
import { removeOldVersions } from "../../kube/remove-versions.ts";
import { environment, fn, literalPackage, trigger } from "../controller/objects.ts";
import {
  condition,
  type KubeServer,
  type RunningController,
  runController,
  sha256,
  startKube,
} from "../controller/platform.ts";
import { eventually } from "../eventually.ts";

let kube: KubeServer;
let running: RunningController;
beforeAll(async () => {
  kube = await startKube();
  running = runController(kube.client);
  await kube.client.create(ENVIRONMENTS, environment("deno"));
});
afterAll(async () => {
  await running.controller.stop();
  await kube.stop();
});

const at = (name: string) => ({ namespace: "default", name });
const reference = (name: string) => ({ packageref: at(name), functionName: "" });
const functionAt = (name: string) => kube.client.get(FUNCTIONS, at(name));
const versionAt = (name: string) => kube.client.find(FUNCTION_VERSIONS, at(name));
const aliasAt = (name: string) => kube.client.get(FUNCTION_ALIASES, at(name));
const served = (name: string, digest?: string) =>
  eventually(
    () => functionAt(name),
    ({ metadata, status }) =>
      status?.serving?.generation === metadata.generation &&
      (digest === undefined || status?.serving?.package.digest === digest),
  );
const versionsOf = async (name: string): Promise<FunctionVersion[]> =>
  (await kube.client.list(FUNCTION_VERSIONS, { namespace: "default" })).items
    .filter(({ spec }) => spec.functionName === name)
    .toSorted((a, b) => a.spec.sequence - b.spec.sequence);
const namesOf = async (name: string): Promise<string[]> =>
  (await versionsOf(name)).map(({ metadata }) => metadata.name);
const servingVersion = (name: string) =>
  eventually(
    () => versionAt(name),
    (version) => version?.status?.serving !== undefined,
  );

/** A function with a package of its own name. */
async function deploy(name: string, code: string, spec: Parameters<typeof fn>[1] = {}): Promise<void> {
  await kube.client.create(PACKAGES, literalPackage(name, code));
  await kube.client.create(FUNCTIONS, fn(name, { package: reference(name), ...spec }));
  await served(name, sha256(code));
}

async function redeploy(name: string, code: string): Promise<void> {
  const literal = Buffer.from(code).toString("base64");
  await kube.client.patch(PACKAGES, at(name), { spec: { deployment: { literal } } });
  await served(name, sha256(code));
}

async function publish(name: string): Promise<string> {
  const { version } = await publishVersion(kube.client, await functionAt(name), { now: new Date() });
  return version.metadata.name;
}

const alias = (name: string, spec: FunctionAlias["spec"]): FunctionAlias => ({
  apiVersion: "fission.io/v1",
  kind: "FunctionAlias",
  metadata: at(name),
  spec,
});

test("a version serves the revision that its function had when it was published, whatever becomes of both", async () => {
  await deploy("hello", "one");
  expect(await publish("hello")).toBe("hello-v1");
  expect(await publish("hello")).toBe("hello-v1");
  const first = await servingVersion("hello-v1");
  const before = await functionAt("hello");
  expect(first?.status?.serving?.revision).toBe(before.status?.serving?.revision);
  expect(first?.metadata).toMatchObject({
    labels: { [LABEL_FUNCTION_UID]: before.metadata.uid },
    finalizers: [FINALIZER_VERSION_IN_USE],
  });
  expect(condition(first, "Ready")).toMatchObject({ status: "True" });
  expect(condition(first, "EnvDrift")).toMatchObject({ status: "False" });

  await redeploy("hello", "two");
  expect(await publish("hello")).toBe("hello-v2");
  const second = await servingVersion("hello-v2");
  expect(second?.status?.serving?.revision).not.toBe(first?.status?.serving?.revision);
  expect((await versionAt("hello-v1"))?.status?.serving?.revision).toBe(first?.status?.serving?.revision);

  await kube.client.patch(ENVIRONMENTS, at("deno"), { spec: { runtime: { image: "isotope/deno-env:2" } } });
  const drifted = await eventually(
    () => versionAt("hello-v2"),
    (version) => condition(version, "EnvDrift")?.status === "True",
  );
  expect(drifted?.status?.serving).toMatchObject({
    revision: second?.status?.serving?.revision,
    environment: { image: "isotope/deno-env:1" },
  });
  expect(condition(drifted, "EnvDrift")?.message).toContain('has image "isotope/deno-env:2" now');
  await kube.client.patch(ENVIRONMENTS, at("deno"), { spec: { runtime: { image: "isotope/deno-env:1" } } });
});

test("a version is immutable, and one of another tool serves as well", async () => {
  await deploy("foreign", "code");
  const { metadata, spec } = await functionAt("foreign");
  await kube.client.create(FUNCTION_VERSIONS, {
    apiVersion: "fission.io/v1",
    kind: "FunctionVersion",
    metadata: at("foreign-v7"),
    spec: {
      functionName: "foreign",
      functionUID: metadata.uid ?? "",
      functionGeneration: 1,
      sequence: 7,
      snapshot: spec,
      packageDigest: `sha256:${sha256("code")}`,
      publishedAt: "2026-01-01T00:00:00Z",
    },
  });
  await servingVersion("foreign-v7");
  const adopted = await eventually(
    () => versionAt("foreign-v7"),
    (version) => version?.metadata.labels?.[LABEL_FUNCTION_UID] === metadata.uid,
  );
  expect(adopted?.metadata.finalizers).toEqual([FINALIZER_VERSION_IN_USE]);
  await expect(
    kube.client.patch(FUNCTION_VERSIONS, at("foreign-v7"), { spec: { packageDigest: "sha256:other" } }),
  ).rejects.toThrow("a version is immutable");
  await expect(
    kube.client.patch(FUNCTION_VERSIONS, at("foreign-v7"), { spec: { snapshot: { functionTimeout: 5 } } }),
  ).rejects.toThrow("a version is immutable");
  await kube.client.patch(FUNCTIONS, at("foreign"), { spec: { functionTimeout: 7 } });
  await served("foreign");
  expect(await publish("foreign")).toBe("foreign-v8");
});

test("nothing is published that does not serve, and publishers at the same time make one version", async () => {
  await kube.client.create(FUNCTIONS, fn("waiting", { package: reference("absent") }));
  const waiting = await eventually(
    () => functionAt("waiting"),
    (one) => condition(one, "Ready") !== undefined,
  );
  const refused = publishVersion(kube.client, waiting, { now: new Date() });
  await expect(refused).rejects.toThrow(NotPublishable);
  await expect(refused).rejects.toThrow(
    /^Cannot publish function "waiting": it does not serve yet: Package "absent" not found/,
  );

  await deploy("crowd", "code");
  const names = await Promise.all(Array.from({ length: 8 }, () => publish("crowd")));
  expect(new Set(names)).toEqual(new Set(["crowd-v1"]));
  expect(await namesOf("crowd")).toEqual(["crowd-v1"]);
});

test("mode auto publishes each state once and keeps what is needed; the rest goes", async () => {
  await deploy("auto", "1", { versioning: { mode: "auto", retain: 2 } });
  const published = (name: string) => eventually(() => versionAt(name), Boolean);
  await published("auto-v1");
  await kube.client.create(
    FUNCTION_ALIASES,
    alias("auto-prod", { functionName: "auto", version: "auto-v1" }),
  );
  await eventually(
    () => aliasAt("auto-prod"),
    (one) => one.status?.resolvedVersion === "auto-v1",
  );
  await redeploy("auto", "2");
  await published("auto-v2");
  const route = { functionref: { type: "name" as const, name: "auto", version: "auto-v2" } };
  await kube.client.create(HTTP_TRIGGERS, trigger("auto", "/auto", route));
  for (const code of ["3", "4", "5"]) {
    await redeploy("auto", code);
    await published(`auto-v${code}`);
  }
  await eventually(
    () => namesOf("auto"),
    (names) => names.join() === "auto-v1,auto-v2,auto-v4,auto-v5",
  );
  // The policy itself is no new state.
  await kube.client.patch(FUNCTIONS, at("auto"), { spec: { versioning: { retain: 1 } } });
  await kube.client.delete(HTTP_TRIGGERS, at("auto"));
  await eventually(
    () => namesOf("auto"),
    (names) => names.join() === "auto-v1,auto-v5",
  );
});

test("a hold keeps a version from being collected by hand, and only the surplus goes", async () => {
  await deploy("held", "1");
  await publish("held");
  for (const code of ["2", "3", "4"]) {
    await redeploy("held", code);
    await publish("held");
  }
  const annotations = { "isotope.dev/hold.run-7": "a run is pinned to it" };
  await kube.client.patch(FUNCTION_VERSIONS, at("held-v1"), { metadata: { annotations } });
  expect(await removeOldVersions(kube.client, await functionAt("held"), 2)).toEqual(["held-v2"]);
  expect(await removeOldVersions(kube.client, await functionAt("held"), 2)).toEqual([]);
  await eventually(
    () => namesOf("held"),
    (names) => names.join() === "held-v1,held-v3,held-v4",
  );
});

test("a deleted version serves until nobody refers to it; with its function all go", async () => {
  await deploy("leaving", "1");
  await publish("leaving");
  await redeploy("leaving", "2");
  await publish("leaving");
  await servingVersion("leaving-v1");
  await kube.client.create(
    FUNCTION_ALIASES,
    alias("stay", { functionName: "leaving", version: "leaving-v1" }),
  );
  await eventually(
    () => aliasAt("stay"),
    (one) => condition(one, "Ready")?.status === "True",
  );
  await kube.client.delete(FUNCTION_VERSIONS, at("leaving-v1"));
  const kept = await eventually(
    () => versionAt("leaving-v1"),
    (version) => condition(version, "Ready")?.message.includes("kept") ?? false,
  );
  expect(kept?.metadata.deletionTimestamp).toBeDefined();
  expect(kept?.status?.serving).toBeDefined();
  expect(condition(kept, "Ready")?.message).toContain('FunctionAlias "stay"');
  expect((await aliasAt("stay")).status?.resolvedVersion).toBe("leaving-v1");

  await kube.client.patch(FUNCTION_ALIASES, at("stay"), { spec: { version: "leaving-v2" } });
  await eventually(
    () => versionAt("leaving-v1"),
    (version) => version === undefined,
  );
  await kube.client.delete(FUNCTIONS, at("leaving"));
  await eventually(
    () => namesOf("leaving"),
    (names) => names.length === 0,
  );
  const dangling = await eventually(
    () => aliasAt("stay"),
    (one) => condition(one, "Resolved")?.status === "False",
  );
  expect(condition(dangling, "Resolved")).toMatchObject({
    reason: "VersionNotFound",
    message: expect.stringContaining('Version "leaving-v2" (spec.version) of function "leaving"') as string,
  });
});

test("an alias follows its version or archive, remembers where it was, and says when there is nothing", async () => {
  await deploy("named", "1");
  await publish("named");
  await redeploy("named", "2");
  await publish("named");
  await kube.client.create(FUNCTION_ALIASES, alias("live", { functionName: "named", version: "named-v1" }));
  const resolvedTo = (version: string) =>
    eventually(
      () => aliasAt("live"),
      ({ metadata, status }) =>
        status?.resolvedVersion === version && status.observedGeneration === metadata.generation,
    );
  await resolvedTo("named-v1");
  await kube.client.patch(FUNCTION_ALIASES, at("live"), { spec: { version: "named-v2" } });
  await resolvedTo("named-v2");
  const packageDigest = `sha256:${sha256("1")}`;
  await kube.client.patch(FUNCTION_ALIASES, at("live"), { spec: { version: null, packageDigest } });
  const { status } = await resolvedTo("named-v1");
  expect(status?.history).toMatchObject([
    { version: "named-v1", packageDigest },
    { version: "named-v2", packageDigest: `sha256:${sha256("2")}` },
    { version: "named-v1", packageDigest },
  ]);
  await kube.client.patch(FUNCTION_ALIASES, at("live"), {
    spec: { packageDigest: `sha256:${sha256("none")}` },
  });
  const unmatched = await eventually(
    () => aliasAt("live"),
    (one) => condition(one, "Resolved")?.status === "False",
  );
  expect(condition(unmatched, "Resolved")).toMatchObject({ reason: "DigestUnmatched" });
  expect(unmatched.status?.resolvedVersion).toBe("named-v1");
  await kube.client.patch(FUNCTION_ALIASES, at("live"), {
    spec: { packageDigest: null, version: "named-v1", secondaryVersion: "named-v2", weight: 95 },
  });
  const split = await eventually(
    () => aliasAt("live"),
    (one) => condition(one, "Ready")?.status === "True",
  );
  expect(condition(split, "Resolved")?.message).toBe(
    '95 % of the requests go to version "named-v1", 5 % to "named-v2"',
  );
  expect(split.status?.history).toHaveLength(3);
  await eventually(
    async () => (await kube.client.list(EVENTS, { namespace: "default" })).items,
    (events) => {
      const reasons = events.filter((one) => one.involvedObject?.name === "live").map(({ reason }) => reason);
      return reasons.includes("AliasSwitched") && reasons.includes("DigestUnmatched");
    },
  );
});

test("updates of an alias at the same time: it ends as it was written last, and each switch is remembered once", async () => {
  await deploy("busy", "1");
  await publish("busy");
  for (const code of ["2", "3"]) {
    await redeploy("busy", code);
    await publish("busy");
  }
  await kube.client.create(FUNCTION_ALIASES, alias("busy", { functionName: "busy", version: "busy-v1" }));
  // A second controller that believes to lead works against the first.
  const other = runController(kube.client, { archives: running.archives });
  await other.controller.synced;
  try {
    await Promise.all(
      Array.from({ length: 40 }, (_, at_) =>
        kube.client.patch(FUNCTION_ALIASES, at("busy"), { spec: { version: `busy-v${1 + (at_ % 3)}` } }),
      ),
    );
    const wanted = (await aliasAt("busy")).spec.version ?? "";
    const { status } = await eventually(
      () => aliasAt("busy"),
      ({ status: now }) => now?.resolvedVersion === wanted,
    );
    const history = (status?.history ?? []).map(({ version }) => version);
    expect(history[0]).toBe(wanted);
    expect(history.length).toBeLessThanOrEqual(10);
    expect(history.filter((version, index) => version === history[index + 1])).toEqual([]);
  } finally {
    await other.controller.stop();
  }
}, 120_000);

test("a restarted controller finds everything as it left it", async () => {
  await deploy("again", "1", { versioning: { mode: "auto" } });
  const version = await servingVersion("again-v1");
  await kube.client.create(FUNCTION_ALIASES, alias("again", { functionName: "again", version: "again-v1" }));
  const before = await eventually(
    () => aliasAt("again"),
    (one) => condition(one, "Ready")?.status === "True",
  );
  await running.controller.stop();
  running = runController(kube.client, { archives: running.archives });
  await running.controller.synced;
  await redeploy("again", "2");
  await servingVersion("again-v2");
  expect((await versionAt("again-v1"))?.metadata.resourceVersion).toBe(version?.metadata.resourceVersion);
  expect((await aliasAt("again")).metadata.resourceVersion).toBe(before.metadata.resourceVersion);
});

test("a function that is made anew takes nothing over from the versions of the old one", async () => {
  await deploy("reborn", "1");
  await publish("reborn");
  await servingVersion("reborn-v1");
  // What another tool made belongs to nobody, so that it outlives its function.
  await kube.client.patch(FUNCTION_VERSIONS, at("reborn-v1"), { metadata: { ownerReferences: null } });
  await kube.client.delete(FUNCTIONS, at("reborn"));
  const orphan = await eventually(
    () => versionAt("reborn-v1"),
    (version) => condition(version, "Ready")?.status === "False",
  );
  expect(condition(orphan, "Ready")?.reason).toBe("FunctionNotFound");
  expect(orphan?.status?.serving).toBeUndefined();
  await kube.client.create(FUNCTIONS, fn("reborn", { package: reference("reborn") }));
  await served("reborn");
  await kube.client.create(FUNCTION_ALIASES, alias("old", { functionName: "reborn", version: "reborn-v1" }));
  const unresolved = await eventually(
    () => aliasAt("old"),
    (one) => condition(one, "Resolved") !== undefined,
  );
  expect(condition(unresolved, "Resolved")).toMatchObject({
    status: "False",
    reason: "VersionNotFound",
    message: expect.stringContaining("it has none; publish one") as string,
  });
  expect(await publish("reborn")).toBe("reborn-v2");
  await kube.client.delete(FUNCTION_VERSIONS, at("reborn-v1"));
  await eventually(
    () => versionAt("reborn-v1"),
    (version) => version === undefined,
  );
});

test("a version whose archive is not there says so; a container function's has none", async () => {
  await deploy("bare", "1");
  const { metadata, spec } = await functionAt("bare");
  const made = (sequence: number, given: Partial<FunctionVersion["spec"]>): FunctionVersion => ({
    apiVersion: "fission.io/v1",
    kind: "FunctionVersion",
    metadata: at(`bare-v${sequence}`),
    spec: {
      functionName: "bare",
      functionUID: metadata.uid ?? "",
      functionGeneration: 1,
      sequence,
      snapshot: spec,
      packageDigest: "",
      publishedAt: "2026-01-01T00:00:00Z",
      ...given,
    },
  });
  const reasonOf = async (version: FunctionVersion): Promise<string | undefined> => {
    await kube.client.create(FUNCTION_VERSIONS, version);
    const found = await eventually(
      () => versionAt(version.metadata.name),
      (one) => condition(one, "Ready") !== undefined,
    );
    return condition(found, "Ready")?.reason;
  };
  expect(await reasonOf(made(1, { packageDigest: `sha256:${sha256("lost")}` }))).toBe("ArchiveNotFound");
  expect(await reasonOf(made(2, {}))).toBe("DigestMissing");
  const container = {
    ...spec,
    InvokeStrategy: { ExecutionStrategy: { ExecutorType: "container" as const } },
    podspec: { containers: [{ name: "web", image: "example/web:1" }] },
  };
  expect(await reasonOf(made(3, { snapshot: container }))).toBe("Serving");
  expect((await versionAt("bare-v3"))?.status?.serving).toMatchObject({
    executorType: "container",
    environment: { image: "example/web:1", contract: "reference" },
    package: { digest: "" },
  });
});
