import { array, assert, constantFrom, integer, option, property, record } from "fast-check";
import { expect, test } from "vitest";
import type { FunctionAlias, FunctionVersion } from "../../api/kinds/index.ts";
import { previousVersion } from "../../api/releases/alias.ts";
import { findCondition } from "../../kube/conditions.ts";
import { nextAliasStatus } from "./alias-status.ts";

const digestOf = (sequence: number): string => `sha256:${String(sequence % 2).repeat(64)}`;
const version = (sequence: number, status: FunctionVersion["status"] = {}): FunctionVersion => ({
  apiVersion: "fission.io/v1",
  kind: "FunctionVersion",
  metadata: { name: `hello-v${sequence}`, namespace: "default" },
  spec: {
    functionName: "hello",
    functionUID: "uid",
    functionGeneration: sequence,
    sequence,
    snapshot: { environment: { namespace: "default", name: "deno" }, package: {}, InvokeStrategy: {} },
    packageDigest: digestOf(sequence),
    publishedAt: "2026-01-01T00:00:00Z",
  },
  status,
});
const VERSIONS = [1, 2, 3, 4].map((sequence) => version(sequence));
const alias = (
  spec: Partial<FunctionAlias["spec"]>,
  status: FunctionAlias["status"] = {},
): FunctionAlias => ({
  apiVersion: "fission.io/v1",
  kind: "FunctionAlias",
  metadata: { name: "prod", namespace: "default", generation: 1 },
  spec: { functionName: "hello", ...spec },
  status,
});
const at = (second: number): Date => new Date(1_767_225_600_000 + second * 1000);

const NAMES = ["hello-v1", "hello-v2", "hello-v3", "hello-v4", "hello-v9"];
const anySpec = record({
  version: option(constantFrom(...NAMES), { nil: undefined }),
  packageDigest: option(constantFrom(digestOf(0), digestOf(1), `sha256:${"f".repeat(64)}`), {
    nil: undefined,
  }),
  secondaryVersion: option(constantFrom(...NAMES), { nil: undefined }),
  weight: option(integer({ min: 0, max: 100 }), { nil: undefined }),
}).map(({ version: named, packageDigest, secondaryVersion, weight }) => ({
  functionName: "hello",
  ...(packageDigest ? { packageDigest } : named ? { version: named } : {}),
  ...(secondaryVersion ? { secondaryVersion } : {}),
  ...(weight === undefined ? {} : { weight }),
}));
/** Somebody changes the alias; or one of two controllers looks at it, or writes what it made of what it saw when it looked. */
const anyStep = record({
  kind: constantFrom("change", "look", "write", "write"),
  by: constantFrom(0, 1),
  spec: anySpec,
});

test("however changes and two controllers meet, each switch is remembered once and the alias ends where it points", () => {
  assert(
    property(array(anyStep, { maxLength: 60 }), (steps) => {
      let stored = alias({ version: "hello-v1" });
      let revision = 0;
      const seen: { object: FunctionAlias; revision: number }[] = [
        { object: stored, revision },
        { object: stored, revision },
      ];
      const reconcile = (by: number, second: number): void => {
        const copy = seen[by];
        if (!copy) return;
        const { status } = nextAliasStatus(copy.object, VERSIONS, at(second));
        // The API server refuses what was made of an older state.
        if (copy.revision !== revision) return;
        revision++;
        const before = stored.status?.history?.[0]?.version;
        stored = { ...stored, status };
        const [first] = status.history ?? [];
        if (first && status.resolvedVersion !== before) expect(first.version).toBe(status.resolvedVersion);
      };
      for (const [second, { kind, by, spec }] of steps.entries()) {
        if (kind === "change") {
          revision++;
          const generation = (stored.metadata.generation ?? 0) + 1;
          stored = { ...stored, metadata: { ...stored.metadata, generation }, spec };
        } else if (kind === "look") seen[by] = { object: stored, revision };
        else reconcile(by, second);
      }
      seen[0] = { object: stored, revision };
      reconcile(0, 1000);
      seen[1] = { object: stored, revision };
      const settled = stored;
      reconcile(1, 2000);
      expect(stored.status).toEqual(settled.status);
      const history = stored.status?.history ?? [];
      expect(history.length).toBeLessThanOrEqual(10);
      expect(history.filter((one, index) => one.version === history[index + 1]?.version)).toEqual([]);
      expect(history.map(({ switchedAt }) => switchedAt)).toEqual(
        history
          .map(({ switchedAt }) => switchedAt)
          .toSorted()
          .toReversed(),
      );
      expect(history[0]?.version).toBe(stored.status?.resolvedVersion);
      const names = VERSIONS.map(({ metadata }) => metadata.name);
      if (names.includes(stored.spec.version ?? ""))
        expect(stored.status?.resolvedVersion).toBe(stored.spec.version);
    }),
    { numRuns: 500 },
  );
});

test.each<[string, string, Partial<FunctionAlias["spec"]>]>([
  ["NoVersion", "names no version", {}],
  ["VersionNotFound", "there are hello-v4, hello-v3, hello-v2, hello-v1", { version: "hello-v9" }],
  ["VersionNotFound", "(spec.secondaryVersion)", { version: "hello-v1", secondaryVersion: "hello-v9" }],
  ["DigestUnmatched", "(spec.packageDigest)", { packageDigest: `sha256:${"f".repeat(64)}` }],
])("an alias that leads nowhere says %s", (reason, message, spec) => {
  const { status, events } = nextAliasStatus(
    alias(spec, { resolvedVersion: "hello-v3", history: [] }),
    VERSIONS,
    at(1),
  );
  expect(findCondition(status.conditions, "Resolved")).toMatchObject({ status: "False", reason });
  expect(findCondition(status.conditions, "Resolved")?.message).toContain(message);
  expect(findCondition(status.conditions, "Ready")).toMatchObject({ status: "False", reason });
  expect(events.map((event) => event.reason)).toContain(reason);
  if (spec.version !== "hello-v1") expect(status.resolvedVersion).toBe("hello-v3");
});

test("a switch back is a switch: the version before it is the one that a rollback goes to", () => {
  let current = alias({ version: "hello-v1" });
  for (const [second, named] of ["hello-v2", "hello-v3", "hello-v2"].entries()) {
    current = { ...current, spec: { ...current.spec, version: named } };
    current = { ...current, status: nextAliasStatus(current, VERSIONS, at(second)).status };
  }
  expect(current.status?.history?.map((one) => one.version)).toEqual(["hello-v2", "hello-v3", "hello-v2"]);
  expect(previousVersion(current)).toBe("hello-v3");
});

test("an alias is ready when its versions serve, and tells of an environment that moved on", () => {
  const drift = {
    type: "EnvDrift",
    status: "True" as const,
    reason: "ImageChanged",
    message: "it moved on",
    lastTransitionTime: "2026-01-01T00:00:00Z",
  };
  const { status } = nextAliasStatus(
    alias({ version: "hello-v1" }),
    [version(1, { conditions: [drift] })],
    at(1),
  );
  expect(findCondition(status.conditions, "Ready")).toMatchObject({
    status: "False",
    reason: "VersionNotReady",
  });
  expect(findCondition(status.conditions, "EnvDrift")).toMatchObject({
    status: "True",
    reason: "ImageChanged",
    message: 'Version "hello-v1": it moved on',
  });
});
