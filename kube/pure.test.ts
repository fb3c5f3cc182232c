import { assert, constantFrom, dictionary, jsonValue, property, string } from "fast-check";
import { expect, test } from "vitest";
import { backoffMs } from "./backoff.ts";
import { setConditions } from "./conditions.ts";
import { kubeErrorOf } from "./kube-error.ts";
import { mergePatch, sameJson } from "./merge-patch.ts";
import { keyOf, refOfKey } from "./object.ts";
import { ObjectCache } from "./object-cache.ts";
import { createOwnWrites } from "./own-writes.ts";
import { objectPath, resourceType } from "./resource.ts";

/** RFC 7386, as in its text. */
function applyMergePatch(target: unknown, patch: unknown): unknown {
  if (typeof patch !== "object" || patch === null || Array.isArray(patch)) return patch;
  const result: Record<string, unknown> =
    typeof target === "object" && target !== null && !Array.isArray(target) ? { ...target } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete result[name];
    else result[name] = applyMergePatch(result[name], value);
  }
  return result;
}

/** A merge patch can set no null, so values with null inside objects are left out. */
const withoutNull = (value: unknown): unknown =>
  Array.isArray(value)
    ? value
    : typeof value === "object" && value !== null
      ? Object.fromEntries(
          Object.entries(value)
            .filter(([name, item]) => item !== null && name !== "__proto__")
            .map(([name, item]) => [name, withoutNull(item)]),
        )
      : value;

test("property: the merge patch between two objects turns the one into the other, and is nothing when they are equal", () => {
  const object = dictionary(constantFrom("a", "b", "c", "d"), jsonValue({ maxDepth: 3 }));
  assert(
    property(object, object, (first, second) => {
      const before = withoutNull(first);
      const after = withoutNull(second);
      const patch = mergePatch(before, after);
      expect(patch === undefined).toBe(sameJson(before, after));
      if (patch !== undefined) expect(applyMergePatch(before, patch)).toEqual(after);
    }),
  );
});

test("a merge patch treats names of Object's own methods as any other", () => {
  expect(mergePatch({ constructor: "a", b: 1 }, { b: 1 })).toEqual({ constructor: null });
  expect(mergePatch({}, { toString: "x" })).toEqual({ toString: "x" });
  expect(sameJson({}, { valueOf: undefined })).toBe(true);
});

test("conditions: the transition time moves with the status only, and nothing changes for nothing", () => {
  const at = (second: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, second));
  const no = { type: "Ready", status: "False", reason: "Missing", message: "m" } as const;
  const first = setConditions(undefined, [no], { generation: 1, now: at(1) });
  expect(first).toEqual([{ ...no, lastTransitionTime: "2026-01-01T00:00:01Z", observedGeneration: 1 }]);
  expect(setConditions(first, [no], { generation: 1, now: at(2) })).toBe(first);
  const reworded = setConditions(first, [{ ...no, message: "n" }], { generation: 2, now: at(3) });
  expect(reworded[0]).toMatchObject({
    message: "n",
    lastTransitionTime: "2026-01-01T00:00:01Z",
    observedGeneration: 2,
  });
  const other = { type: "Other", status: "True", reason: "R", message: "" } as const;
  const yes = setConditions(reworded, [{ ...no, status: "True" }, other], { generation: 2, now: at(4) });
  expect(yes.map(({ type, lastTransitionTime }) => [type, lastTransitionTime])).toEqual([
    ["Ready", "2026-01-01T00:00:04Z"],
    ["Other", "2026-01-01T00:00:04Z"],
  ]);
});

test("the cache keeps its indexes in step; another object of the same name is a delete and an add", () => {
  interface Item {
    metadata: { name: string; namespace: string; uid: string; resourceVersion: string };
    uses: string[];
  }
  const cache = new ObjectCache<Item>({ uses: ({ uses }) => uses });
  const item = (name: string, version: number, uses: string[], uid = name): Item => ({
    metadata: { name, namespace: "n", uid, resourceVersion: String(version) },
    uses,
  });
  cache.put(item("a", 1, ["x", "y"]));
  cache.put(item("b", 2, ["y"]));
  expect(cache.byIndex("uses", "y").map(({ metadata }) => metadata.name)).toEqual(["a", "b"]);
  expect(cache.put(item("a", 1, ["x", "y"]))).toEqual([]);
  expect(cache.put(item("a", 3, ["z"])).map(({ type }) => type)).toEqual(["update"]);
  expect(cache.byIndex("uses", "y").map(({ metadata }) => metadata.name)).toEqual(["b"]);
  expect(cache.put(item("a", 4, ["z"], "other")).map(({ type }) => type)).toEqual(["delete", "add"]);
  expect(
    cache.replaceAll([item("b", 2, ["y"]), item("c", 9, [])]).map(({ type, key }) => `${type} ${key}`),
  ).toEqual(["delete n/a", "add n/c"]);
  expect(cache.byIndex("uses", "z")).toEqual([]);
  expect(() => cache.byIndex("nope", "z")).toThrow('Cannot look up index "nope": it must be one of "uses"');
});

test("own writes: the cache is stale until it holds the write or something newer", () => {
  const own = createOwnWrites();
  const object = (version: string, uid = "u") => ({ metadata: { name: "a", uid, resourceVersion: version } });
  expect(own.isStale("a", object("1"))).toBe(false);
  own.note("a", object("10"));
  expect(own.isStale("a", object("9"))).toBe(true);
  expect(own.isStale("a", object("9", "another"))).toBe(false);
  own.note("a", object("10"));
  expect(own.isStale("a", object("10"))).toBe(false);
  expect(own.isStale("a", object("9"))).toBe(false);
  own.note("a", object("opaque"));
  expect(own.isStale("a", object("9"))).toBe(false);
});

test("paths: groups, namespaces, subresources, and names that must be given", () => {
  const pods = resourceType("v1", "Pod", "pods");
  expect(objectPath(pods, { namespace: "a", name: "b c" }, "log")).toBe(
    "/api/v1/namespaces/a/pods/b%20c/log",
  );
  expect(objectPath(resourceType("x.io/v1", "T", "ts", { namespaced: false }), { name: "t" })).toBe(
    "/apis/x.io/v1/ts/t",
  );
  expect(() => objectPath(pods, { name: "b" })).toThrow('Cannot name Pod "b": its namespace must be given');
  expect(() => objectPath(pods, { namespace: "a", name: "" })).toThrow("its name must not be empty");
  expect(refOfKey(keyOf({ metadata: { namespace: "a", name: "b" } }))).toEqual({ namespace: "a", name: "b" });
});

test("any reply makes an error that can be told apart", () => {
  expect(kubeErrorOf(409, '{"kind":"Status","reason":"AlreadyExists","message":"there"}')).toMatchObject({
    status: 409,
    reason: "AlreadyExists",
    message: "there",
  });
  expect(kubeErrorOf(502, "<html>bad gateway")).toMatchObject({
    status: 502,
    reason: "InternalError",
    message: "Kubernetes API answered 502: <html>bad gateway",
  });
  expect(kubeErrorOf(429, "{}", "3")).toMatchObject({ reason: "TooManyRequests", retryAfterMs: 3_000 });
  expect(kubeErrorOf(200, '{"code":410,"reason":"Expired","message":"old"}')).toMatchObject({
    status: 410,
    reason: "Expired",
  });
  assert(property(string(), (text) => kubeErrorOf(500, text).status === 500));
});

test("back-off stays within its bounds", () => {
  const settings = { baseMs: 10, maxMs: 100 };
  expect([1, 2, 3, 4, 5, 50].map((failures) => backoffMs(failures, settings, () => 1))).toEqual([
    10, 20, 40, 80, 100, 100,
  ]);
  expect(backoffMs(3, settings, () => 0)).toBe(20);
});
