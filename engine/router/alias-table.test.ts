import * as fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { PlatformError } from "../../api/errors.ts";
import { type AliasSlot, AliasTable, chooseOfAlias } from "./alias-table.ts";
import { EndpointIndex } from "./endpoint-index.ts";
import { FunctionTable } from "./function-table.ts";
import type { Exchange, Upstream } from "./http/types.ts";

const serving = (revision: string) => ({
  revision,
  generation: 1,
  package: { name: "p", digest: "d", sizeBytes: 1 },
  functionName: "",
  environment: { name: "e", uid: "u", image: "i", version: 3 },
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
const version = (name: string, revision: string | undefined, functionName = "f") => ({
  metadata: { name, namespace: "n", resourceVersion: "1" },
  spec: { functionName, functionUID: "f1" },
  status: { serving: revision === undefined ? undefined : serving(revision) },
});
const alias = (spec: object, resolvedVersion?: string, annotations: Record<string, string> = {}) => ({
  metadata: { name: "prod", namespace: "n", annotations },
  spec: { functionName: "f", ...spec },
  ...(resolvedVersion ? { status: { resolvedVersion } } : {}),
});

let index: EndpointIndex;
let functions: FunctionTable;
let aliases: AliasTable;
let bound: string[];
let problems: string[];
beforeEach(start);
function start(): void {
  bound = [];
  problems = [];
  index = new EndpointIndex({
    limits: { queueLength: 1, queueWaitMs: 1, coldStartWaitMs: 1, scaleUpDelayMs: 1, scaleUpAboveMs: 1 },
    now: () => 0,
    acquire: () => Promise.resolve(false),
    upstreams: { at: (): Upstream => expect.fail("no pods here") },
    equip: () => undefined,
    podsChanged: () => undefined,
    forgotten: () => undefined,
  });
  functions = new FunctionTable({
    index,
    bind: (revision) => bound.push(revision.revision),
    onMalformed: () => undefined,
    settled: () => undefined,
    onVersions: (namespace, name) => aliases.versionsChanged(namespace, name),
  });
  aliases = new AliasTable({
    functions,
    clientAddress: () => "::1",
    onProblem: (_, message) => problems.push(message),
  });
}

const exchangeWith = (user?: string) => ({ header: () => user }) as unknown as Exchange;
/** Versions that so many requests get; "none" for those that are refused. */
function versionsOf(slot: AliasSlot, requests = 100, user?: string): Record<string, number> {
  const counts: Record<string, number> = {};
  for (let i = 0; i < requests; i += 1) {
    const chosen = chooseOfAlias(slot, exchangeWith(user), null);
    const name = chosen instanceof PlatformError || !chosen.current ? "none" : chosen.version;
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

describe("an alias", () => {
  test("may be routed to before it and its versions exist, in whatever order they come", () => {
    const slot = aliases.join("n", "f", "prod");
    expect(versionsOf(slot)).toEqual({ none: 100 });
    aliases.apply(alias({ version: "f-v1", secondaryVersion: "f-v2", weight: 30 }));
    functions.applyVersion(version("f-v2", "r2"));
    expect(versionsOf(slot)).toEqual({ "f-v2": 100 });
    functions.applyVersion(version("f-v1", "r1"));
    expect(versionsOf(slot)).toEqual({ "f-v1": 30, "f-v2": 70 });
    aliases.remove("n/prod");
    expect(versionsOf(slot)).toEqual({ none: 100 });
    expect(aliases.get("n", "f", "prod")).toBeUndefined();
  });

  test("belongs to one function, and may be given to another", () => {
    functions.applyVersion(version("f-v1", "r1"));
    functions.applyVersion(version("g-v1", "r1", "g"));
    aliases.apply(alias({ version: "f-v1" }));
    const slot = aliases.join("n", "f", "prod");
    expect(aliases.get("n", "g", "prod")).toBeUndefined();
    aliases.apply(alias({ functionName: "g", version: "g-v1" }));
    expect([versionsOf(slot), aliases.get("n", "f", "prod")]).toEqual([{ none: 100 }, undefined]);
    expect(aliases.get("n", "g", "prod")?.slot?.version).toBe("g-v1");
  });

  test("by digest leads to what the controller resolved", () => {
    functions.applyVersion(version("f-v1", "r1"));
    aliases.apply(alias({ packageDigest: "sha256:0" }));
    const slot = aliases.join("n", "f", "prod");
    expect(versionsOf(slot)).toEqual({ none: 100 });
    aliases.apply(alias({ packageDigest: "sha256:0" }, "f-v1"));
    expect(versionsOf(slot)).toEqual({ "f-v1": 100 });
  });

  test("goes on in the middle of its hundred when nothing that matters changed", () => {
    functions.applyVersion(version("f-v1", "r1"));
    functions.applyVersion(version("f-v2", "r2"));
    const given = { version: "f-v1", secondaryVersion: "f-v2", weight: 50 };
    aliases.apply(alias(given));
    const slot = aliases.join("n", "f", "prod");
    const first = versionsOf(slot, 30);
    aliases.apply(alias(given, "f-v1"));
    functions.applyVersion(version("f-v1", "r1"));
    const rest = versionsOf(slot, 70);
    expect((first["f-v1"] ?? 0) + (rest["f-v1"] ?? 0)).toBe(50);
  });

  test("whose sticky annotation is odd says so and splits without it", () => {
    aliases.apply(alias({ version: "f-v1" }, undefined, { "isotope.dev/sticky": "body:x" }));
    expect(problems).toEqual([
      'annotation isotope.dev/sticky must be one of header:NAME, cookie:NAME, query:NAME, client, got "body:x"',
    ]);
    expect(aliases.get("n", "f", "prod")?.sticky).toBeNull();
  });
});

test("a version that nothing asks for is not prepared", () => {
  functions.applyVersion(version("f-v1", "r1"));
  expect([bound, [...index.revisions()].length, functions.versions]).toEqual([[], 0, 1]);
  expect(functions.version("n", "g", "f-v1")).toBeUndefined();
  expect(functions.version("n", "f", "f-v1")?.current?.revision).toBe("r1");
  expect(bound).toEqual(["r1"]);
});

test("a revision that a function and a version share stays as long as either serves it", () => {
  const object = (revision: string) => ({
    metadata: { name: "f", namespace: "n", uid: "f1" },
    status: { serving: serving(revision) },
  });
  functions.apply(object("r1"));
  functions.applyVersion(version("f-v1", "r1"));
  const slot = functions.version("n", "f", "f-v1");
  const shared = slot?.current;
  functions.apply(object("r2"));
  expect([...index.revisions()].map(({ revision }) => revision)).toEqual(["r1", "r2"]);
  expect(slot?.current).toBe(shared);
  functions.removeVersion("n/f-v1");
  expect([...index.revisions()].map(({ revision }) => revision)).toEqual(["r2"]);
});

test("whatever comes in whatever order: only versions that exist and serve get requests, and some do when one may", () => {
  const name = fc.constantFrom("f-v1", "f-v2", "f-v3");
  const step = fc.oneof(
    fc.record({ do: fc.constant("publish" as const), name, ready: fc.boolean() }),
    fc.record({ do: fc.constant("remove" as const), name }),
    fc.record({
      do: fc.constant("switch" as const),
      name,
      secondary: fc.option(name, { nil: undefined }),
      weight: fc.integer({ min: 0, max: 100 }),
      user: fc.option(fc.string({ minLength: 1 }), { nil: undefined }),
    }),
    fc.constant({ do: "unname" as const }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      start();
      const slot = aliases.join("n", "f", "prod");
      const ready = new Map<string, boolean>();
      let named: string[] = [];
      let user: string | undefined;
      for (const act of steps) {
        if (act.do === "publish") {
          ready.set(act.name, act.ready);
          functions.applyVersion(version(act.name, act.ready ? act.name : undefined));
        } else if (act.do === "remove") {
          ready.delete(act.name);
          functions.removeVersion(`n/${act.name}`);
        } else if (act.do === "switch") {
          const { weight, secondary } = act;
          user = act.user;
          const annotations: Record<string, string> = user ? { "isotope.dev/sticky": "header:user" } : {};
          const given = { version: act.name, weight, ...(secondary ? { secondaryVersion: secondary } : {}) };
          aliases.apply(alias(given, undefined, annotations));
          named = [act.name, ...(secondary ? [secondary] : [])];
        } else {
          aliases.remove("n/prod");
          named = [];
        }
        const counts = versionsOf(slot, 100, user);
        for (const got of Object.keys(counts)) if (got !== "none") expect(ready.get(got)).toBe(true);
        if (named.some((version) => ready.get(version))) expect(counts["none"]).toBeUndefined();
      }
      aliases.remove("n/prod");
      for (const version of ["f-v1", "f-v2", "f-v3"]) functions.removeVersion(`n/${version}`);
      expect([[...index.revisions()], functions.versions, functions.size]).toEqual([[], 0, 0]);
    }),
    { numRuns: 300 },
  );
});
