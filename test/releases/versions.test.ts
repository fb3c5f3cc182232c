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
import { NotPublishable, publishVersion } from "../../kube/publish-version.ts";
import { removeOldVersions } from "../../kube/remove-versions.ts";
import { environment, fn, literalPackage, trigger } from "../controller/objects.ts";
import {
  condition,
  eventually,
  type KubeServer,
  type RunningController,
  runController,
  sha256,
  startKube,
} from "../controller/platform.ts";

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
  await kube.client.patch(FUNCTION_VERSIONS, at("foreign-v7"), {
    spec: { snapshot: { functionTimeout: 5 } },
  });
  const changed = await eventually(
    () => versionAt("foreign-v7"),
    (version) => condition(version, "Ready")?.status === "False",
  );
  expect(condition(changed, "Ready")?.reason).toBe("SnapshotChanged");
  expect(changed?.status?.serving?.limits.timeoutMs).toBe(60_000);
  await kube.client.patch(FUNCTIONS, at("foreign"), { spec: { functionTimeout: 7 } });
  await served("foreign");
  expect(await publish("foreign")).toBe("foreign-v8");
});
