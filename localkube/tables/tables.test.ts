import { expect, test } from "vitest";
import { findDuplicateKeys } from "../http/duplicate-keys.ts";
import { humanDuration } from "./age.ts";
import { compileJsonPath } from "./json-path.ts";

test.each([
  [5_000, "5s"],
  [119_000, "119s"],
  [185_000, "3m5s"],
  [3_600_000, "60m"],
  [4 * 3_600_000 + 120_000, "4h2m"],
  [30 * 3_600_000, "30h"],
  [50 * 3_600_000, "2d2h"],
  [20 * 86_400_000, "20d"],
  [800 * 86_400_000, "2y70d"],
])("%d ms is shown as %s", (ms, text) => {
  expect(humanDuration(ms)).toBe(text);
});

test.each<[string, unknown[]]>([
  [".spec.size", [3]],
  [".spec.list[0].name", ["a"]],
  [".spec.list[*].name", ["a", "b"]],
  ['.spec.list[?(@.type=="Ready")].name', ["b"]],
  [".metadata.labels['x\\.y/z']", ["v"]],
  [".spec.none", []],
])("JSONPath %s", (path, wanted) => {
  const object = {
    metadata: { labels: { "x.y/z": "v" } },
    spec: { size: 3, list: [{ name: "a" }, { name: "b", type: "Ready" }] },
  };
  expect(compileJsonPath(path)(object)).toEqual(wanted);
});

test.each(["spec[", ".a[?(bad)]", ".a..b"])("JSONPath %s is refused", (path) => {
  expect(() => compileJsonPath(path)).toThrow("invalid JSONPath");
});

test.each<[string, string[]]>([
  ['{"a":1,"b":{"a":2}}', []],
  ['{"a":1,"a":2}', ['duplicate field "a"']],
  ['{"x":[{"k":1},{"k":1,"k":2}]}', ['duplicate field "x[1].k"']],
  ['{"a":"{\\"a\\":1}","b":"a"}', []],
])("duplicate keys of %s", (text, wanted) => {
  expect(findDuplicateKeys(text)).toEqual(wanted);
});
