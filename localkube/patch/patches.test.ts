import { expect, test } from "vitest";
import { definition } from "../schema/schema.ts";
import { leafPaths, fieldsOf, overlay } from "./field-set.ts";
import { mergePatch } from "./merge-patch.ts";
import { strategicMerge } from "./strategic-merge.ts";

const podSpec = definition("io.k8s.api.core.v1.PodSpec");

test.each([
  [{ a: "b" }, { a: "c" }, { a: "c" }],
  [{ a: "b" }, { b: "c" }, { a: "b", b: "c" }],
  [{ a: "b" }, { a: null }, {}],
  [{ a: ["b"] }, { a: "c" }, { a: "c" }],
  [{ a: { b: "c" } }, { a: { b: "d", c: null } }, { a: { b: "d" } }],
  [{ a: [{ b: "c" }] }, { a: [1] }, { a: [1] }],
  [{ e: null }, { a: 1 }, { e: null, a: 1 }],
  [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
])("merge patch of RFC 7386: %j with %j", (target, patch, wanted) => {
  expect(mergePatch(structuredClone(target), patch)).toEqual(wanted);
});

test("a merge patch cannot reach the prototype", () => {
  mergePatch({}, JSON.parse('{"__proto__": {"polluted": true}}'));
  expect(Object.hasOwn(Object.prototype, "polluted")).toBe(false);
});

const containers = [
  { name: "a", image: "1", env: [{ name: "X", value: "1" }] },
  { name: "b", image: "1" },
];

test.each<[string, object, object]>([
  [
    "changes an item by its key",
    { containers: [{ name: "b", image: "2" }] },
    { containers: [containers[0], { name: "b", image: "2" }] },
  ],
  ["deletes an item", { containers: [{ name: "a", $patch: "delete" }] }, { containers: [containers[1]] }],
  [
    "replaces a list",
    { containers: [{ $patch: "replace" }, { name: "c", image: "3" }] },
    { containers: [{ name: "c", image: "3" }] },
  ],
  [
    "orders a list",
    { "$setElementOrder/containers": [{ name: "b" }, { name: "a" }] },
    { containers: [containers[1], containers[0]] },
  ],
  [
    "merges lists in items",
    { containers: [{ name: "a", env: [{ name: "Y", value: "2" }] }] },
    {
      containers: [
        {
          ...containers[0],
          env: [
            { name: "X", value: "1" },
            { name: "Y", value: "2" },
          ],
        },
        containers[1],
      ],
    },
  ],
])("strategic merge %s", (_name, patch, wanted) => {
  expect(strategicMerge(podSpec, structuredClone({ containers }), { ...patch })).toEqual(wanted);
});

test("strategic merge of volumes keeps only the source that is named", () => {
  const before = { volumes: [{ name: "v", emptyDir: {} }] };
  const patch = { volumes: [{ name: "v", $retainKeys: ["name", "secret"], secret: { secretName: "s" } }] };
  expect(strategicMerge(podSpec, before, patch)).toEqual({
    volumes: [{ name: "v", secret: { secretName: "s" } }],
  });
});

test("fields of lists with keys are named by them", () => {
  const set = fieldsOf(podSpec, { containers: [{ name: "a", ports: [{ containerPort: 80 }] }] });
  expect(leafPaths(set)).toEqual([
    '.containers[name="a"].name',
    '.containers[name="a"].ports[containerPort=80,protocol="TCP"].containerPort',
  ]);
});

test("an overlay merges by key and keeps what it does not name", () => {
  const merged = overlay(
    podSpec,
    { containers, hostname: "h" },
    {
      containers: [
        { name: "b", image: "2" },
        { name: "c", image: "3" },
      ],
    },
  );
  expect(merged).toEqual({
    hostname: "h",
    containers: [{ name: "b", image: "2" }, { name: "c", image: "3" }, containers[0]],
  });
});
