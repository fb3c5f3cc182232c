import { array, assert, constantFrom, integer, option, property, record, subarray } from "fast-check";
import { expect, test } from "vitest";
import type { Function as FunctionObject, FunctionAlias, FunctionVersion, Serving } from "../kinds/index.ts";
import { ANNOTATION_HOLD_PREFIX } from "../names.ts";
import { aliasTargets, previousVersion, versionOfDigest } from "./alias.ts";
import { planPublish, publishProblem, versionOf, versionServed } from "./publish.ts";
import { type ReferringObject, versionsToRemove, versionUses } from "./retention.ts";

const NOW = new Date("2026-02-03T04:05:06.789Z");
const DIGEST = "a".repeat(64);

const serving = (generation: number, digest = DIGEST): Serving => ({
  revision: digest.slice(0, 16),
  generation,
  package: { name: "pkg", digest, sizeBytes: 5 },
  functionName: "",
  environment: { name: "deno", uid: "env", image: "deno:1", version: 3 },
  executorType: "poolmgr",
  env: [],
  envFrom: [],
  secrets: [],
  configMaps: [],
  limits: {
    concurrency: 1,
    requestsPerPod: 1,
    onceOnly: false,
    retainPods: 0,
    timeoutMs: 1,
    idleTimeoutMs: 1,
    specializationTimeoutMs: 1,
    maxBodyBytes: 1,
  },
  since: "",
});
const fn = (spec: Partial<FunctionObject["spec"]> = {}, served = serving(2)): FunctionObject => ({
  apiVersion: "fission.io/v1",
  kind: "Function",
  metadata: { name: "hello", namespace: "default", uid: "uid", generation: 2 },
  spec: {
    environment: { namespace: "default", name: "deno" },
    package: { packageref: { namespace: "default", name: "pkg" } },
    InvokeStrategy: {},
    ...spec,
  },
  status: { serving: served },
});
const version = (sequence: number, metadata: Partial<FunctionVersion["metadata"]> = {}): FunctionVersion => {
  const made = versionOf(fn(), {}, sequence, NOW);
  return { ...made, metadata: { ...made.metadata, ...metadata } };
};
const alias = (
  spec: Partial<FunctionAlias["spec"]>,
  status: FunctionAlias["status"] = {},
): FunctionAlias => ({
  apiVersion: "fission.io/v1",
  kind: "FunctionAlias",
  metadata: { name: "prod", namespace: "default" },
  spec: { functionName: "hello", ...spec },
  status,
});

test("a version is what its function serves, frozen", () => {
  const made = versionOf(fn(), { description: "first" }, 3, NOW);
  expect(made.metadata).toMatchObject({
    name: "hello-v3",
    namespace: "default",
    annotations: { "isotope.dev/description": "first" },
    ownerReferences: [{ kind: "Function", name: "hello", uid: "uid" }],
  });
  expect(made.spec).toMatchObject({
    functionGeneration: 2,
    packageDigest: `sha256:${DIGEST}`,
    envRuntimeImage: "deno:1",
    publishedAt: "2026-02-03T04:05:06Z",
  });
});

test.each<[string, FunctionObject]>([
  ["it does not serve yet", { ...fn(), status: {} }],
  ["its newest state (generation 2) does not serve yet", fn({}, serving(1))],
  ["it is being deleted", { ...fn(), metadata: { ...fn().metadata, deletionTimestamp: "2026" } }],
])("nothing is published while %s", (problem, given) => {
  expect(publishProblem(given)).toBe(problem);
  expect(() => versionOf(given, {}, 1, NOW)).toThrow(`Cannot publish function "hello": ${problem}`);
});

test("the same state is published once, whatever the policy; another state makes the next version", () => {
  const versions = [version(1)];
  const plan = (given: FunctionObject) => planPublish(given, versions, {}, NOW);
  expect(plan(fn())).toEqual({ kind: "published", version: versions[0] });
  expect(plan(fn({ versioning: { mode: "manual", retain: 3 } })).kind).toBe("published");
  const bumped = { packageref: { namespace: "default", name: "pkg", resourceversion: "7" } };
  expect(plan(fn({ package: bumped })).kind).toBe("published");
  for (const changed of [fn({ functionTimeout: 3 }), fn({}, serving(2, "b".repeat(64)))]) {
    const next = plan(changed);
    expect(next.kind).toBe("create");
    expect(next.version.metadata.name).toBe("hello-v2");
  }
});

test("of the versions, the newest that is what the function serves now counts, if any is", () => {
  const [one, two] = [version(1), version(2)];
  const other = { ...version(3), spec: { ...version(3).spec, packageDigest: `sha256:${"b".repeat(64)}` } };
  expect(versionServed(fn(), [one, two, other])).toBe(two);
  expect(versionServed(fn(), [other])).toBeUndefined();
  expect(versionServed(fn({ functionTimeout: 3 }), [one, two])).toBeUndefined();
  expect(versionServed(fn({}, serving(1)), [one, two])).toBeUndefined();
  const older = { ...one, spec: { ...one.spec, functionUID: "older" } };
  expect(versionServed(fn(), [older])).toBeUndefined();
});

test("versions of a deleted function of the same name are not its own, but their names are taken", () => {
  const of = { ...version(4), spec: { ...version(4).spec, functionUID: "older" } };
  expect(planPublish(fn(), [of], {}, NOW)).toMatchObject({
    kind: "create",
    version: { metadata: { name: "hello-v5" } },
  });
  const going = version(4, { deletionTimestamp: "2026" });
  expect(planPublish(fn(), [going], {}, NOW).kind).toBe("create");
});

const NAMES = Array.from({ length: 14 }, (_, at) => `hello-v${at + 1}`);
const someVersion = option(constantFrom(...NAMES), { nil: undefined });
const anyAlias = record({
  version: someVersion,
  secondaryVersion: someVersion,
  resolvedVersion: someVersion,
  history: array(constantFrom(...NAMES), { maxLength: 4 }),
}).map(({ version: named, secondaryVersion, resolvedVersion, history }) =>
  alias(
    { ...(named ? { version: named } : {}), ...(secondaryVersion ? { secondaryVersion } : {}) },
    {
      ...(resolvedVersion ? { resolvedVersion } : {}),
      history: history.map((one) => ({ version: one, switchedAt: "2026-01-01T00:00:00Z" })),
    },
  ),
);
const anyOther = record({
  version: someVersion,
  newfunction: someVersion,
  oldfunction: someVersion,
}).map(
  ({ version: named, ...sides }): ReferringObject => ({
    kind: "HTTPTrigger",
    metadata: { name: "t" },
    spec: { functionref: { version: named }, ...sides },
  }),
);

test("retention never removes what anybody names, nor one of the newest, nor more than there are too many", () => {
  assert(
    property(
      subarray(NAMES),
      subarray(NAMES, { maxLength: 3 }),
      subarray(NAMES, { maxLength: 2 }),
      array(anyAlias, { maxLength: 3 }),
      array(anyOther, { maxLength: 3 }),
      integer({ min: 0, max: 12 }),
      (present, held, going, aliases, others, keep) => {
        const versions = present.map((name) =>
          version(Number(name.slice("hello-v".length)), {
            ...(held.includes(name) ? { annotations: { [`${ANNOTATION_HOLD_PREFIX}run-1`]: "" } } : {}),
            ...(going.includes(name) ? { deletionTimestamp: "2026" } : {}),
          }),
        );
        const uses = versionUses({ aliases, functions: [], versions, others });
        const removed = versionsToRemove(versions, uses, keep).map(({ metadata }) => metadata.name);
        const needed = new Set([
          ...held,
          ...aliases.flatMap(({ spec, status }) => [
            spec.version,
            spec.secondaryVersion,
            status?.resolvedVersion,
            ...(status?.history ?? []).map((one) => one.version),
          ]),
          ...others.flatMap(({ spec }) => [spec?.functionref?.version, spec?.newfunction, spec?.oldfunction]),
        ]);
        const living = versions
          .filter(({ metadata }) => !metadata.deletionTimestamp)
          .toSorted((a, b) => b.spec.sequence - a.spec.sequence)
          .map(({ metadata }) => metadata.name);
        const newest = living.slice(0, Math.max(1, keep));
        const rest = living.slice(Math.max(1, keep));
        expect(removed.filter((name) => needed.has(name) || newest.includes(name))).toEqual([]);
        expect(removed.toSorted()).toEqual(rest.filter((name) => !needed.has(name)).toSorted());
      },
    ),
    { numRuns: 400 },
  );
});

test("who needs a version is said in words; a rollback's choice alone does not keep one that somebody deletes", () => {
  const given = {
    aliases: [
      alias(
        { version: "hello-v2" },
        { history: [{ version: "hello-v1", switchedAt: "2026-01-01T00:00:00Z" }] },
      ),
    ],
    functions: [
      fn({ invocation: { onFailure: { function: { type: "name", name: "hello", version: "hello-v3" } } } }),
    ],
    versions: [version(4, { annotations: { [`${ANNOTATION_HOLD_PREFIX}queue`]: "3 calls wait" } })],
    others: [
      {
        kind: "CanaryConfig",
        metadata: { name: "c" },
        spec: { newfunction: "hello-v2", oldfunction: "hello" },
        status: { new: { name: "hello-v2" }, old: { name: "hello-v5" } },
      },
    ],
  };
  expect([...versionUses(given)]).toEqual([
    ["hello-v2", ['FunctionAlias "prod"', 'CanaryConfig "c"']],
    ["hello-v1", ['the history of FunctionAlias "prod"']],
    ["hello-v3", ['Function "hello"']],
    ["hello-v4", ['"queue" (3 calls wait)']],
    ["hello", ['CanaryConfig "c"']],
    ["hello-v5", ['CanaryConfig "c"']],
  ]);
  expect(versionUses({ ...given, withoutHistory: true }).has("hello-v1")).toBe(false);
  expect(versionUses({ ...given, withoutHistory: true }).has("hello-v5")).toBe(false);
});

test.each<[string, FunctionAlias, string]>([
  ["one version", alias({ version: "v2" }), "v2:100"],
  ["a version without a second one, whatever the weight", alias({ version: "v2", weight: 30 }), "v2:100"],
  ["two", alias({ version: "v1", secondaryVersion: "v2", weight: 95 }), "v1:95 v2:5"],
  ["all to the first without a weight", alias({ version: "v1", secondaryVersion: "v2" }), "v1:100 v2:0"],
  ["the same twice", alias({ version: "v1", secondaryVersion: "v1", weight: 10 }), "v1:100"],
  ["a second one that is gone", alias({ version: "v1", secondaryVersion: "v9", weight: 10 }), "v1:100"],
  ["a first one that is gone", alias({ version: "v9" }, { resolvedVersion: "v1" }), "v1:100"],
  ["an archive, as it was resolved", alias({ packageDigest: DIGEST }, { resolvedVersion: "v2" }), "v2:100"],
  ["nothing", alias({ version: "v9" }, { resolvedVersion: "v8" }), ""],
])("an alias leads to %s", (_, given, expected) => {
  const found = aliasTargets(given, (name) => name === "v1" || name === "v2");
  expect(found.map((one) => `${one.version}:${one.weight}`).join(" ")).toBe(expected);
});

test("an archive stands for its newest version, and the version before the last switch is remembered", () => {
  const [first, second, other] = [version(1), version(2), version(3)];
  const renamed = { ...other, spec: { ...other.spec, packageDigest: "sha256:other" } };
  const found = versionOfDigest([first, second, renamed], `sha256:${DIGEST}`);
  expect(found?.metadata.name).toBe("hello-v2");
  const history = ["v3", "v1", "v3"].map((name) => ({ version: name, switchedAt: "2026-01-01T00:00:00Z" }));
  expect(previousVersion(alias({}, { resolvedVersion: "v3", history }))).toBe("v1");
  expect(previousVersion(alias({}, { resolvedVersion: "v3", history: history.slice(0, 1) }))).toBeUndefined();
});
