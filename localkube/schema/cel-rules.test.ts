import { expect, test } from "vitest";
import type { KubeObject } from "../store/kube-object.ts";
import { checkRules, compileRules } from "./cel-rules.ts";
import type { Schema } from "./schema.ts";

const schemaWith = (rule: string, extra: object = {}): Schema => ({
  type: "object",
  properties: {
    spec: {
      type: "object",
      "x-kubernetes-validations": [{ rule, ...extra }],
      properties: {
        count: { type: "integer" },
        ratio: { type: "number" },
        text: { type: "string" },
        namespace: { type: "string" },
        "with-dash": { type: "string" },
        when: { type: "string", format: "date-time" },
        list: { type: "array", items: { type: "integer" } },
        names: { type: "array", items: { type: "string" } },
        map: { type: "object", additionalProperties: { type: "string" } },
      },
    },
  },
});

const objectWith = (spec: object): KubeObject => ({
  apiVersion: "x/v1",
  kind: "X",
  metadata: { name: "x", uid: "u", resourceVersion: "1", creationTimestamp: "" },
  spec: { ...spec },
});

test.each<[string, object, boolean]>([
  ["self.count >= 1 && self.count % 2 == 0", { count: 4 }, true],
  ["self.count >= 1", { count: 0 }, false],
  ["self.ratio > 0.5", { ratio: 1 }, true],
  ["has(self.text) ? self.text.size() > 1 : true", {}, true],
  ["self.text.matches('^[a-z]+$') && self.text.contains('b')", { text: "abc" }, true],
  ["self.text.lowerAscii() == 'abc' && self.text.replace('A', 'x') == 'xBC'", { text: "ABC" }, true],
  ["self.text.split(',').size() == 2 && self.text.find('b') == 'b'", { text: "a,b" }, true],
  ["self.__namespace__ == 'n' && self.with__dash__dash == 'd'", { namespace: "n", "with-dash": "d" }, true],
  ["self.when > timestamp('2020-01-01T00:00:00Z')", { when: "2021-01-01T00:00:00Z" }, true],
  [
    "self.list.all(x, x > 0) && self.list.exists(x, x == 2) && self.list.sum() == 3 && self.list.isSorted()",
    { list: [1, 2] },
    true,
  ],
  ["self.list.max() - self.list.min() == 4 && self.list.indexOf(5) == 1", { list: [1, 5] }, true],
  ["self.names.filter(n, n.startsWith('a')).map(n, n + '!') == ['ab!']", { names: ["ab", "c"] }, true],
  ["self.map.all(k, self.map[k] != '') && 'a' in self.map", { map: { a: "1" } }, true],
  ["quantity(self.text).isGreaterThan(quantity('100Mi')) && isQuantity(self.text)", { text: "1Gi" }, true],
  [
    "isURL(self.text) && url(self.text).getHost() == 'a.example:80'",
    { text: "http://a.example:80/x" },
    false,
  ],
  [
    "isURL(self.text) && url(self.text).getHostname() == 'a.example'",
    { text: "http://a.example:81/x" },
    true,
  ],
  ["isIP(self.text)", { text: "10.0.0.1" }, true],
  ["self.missing == 1", {}, false],
])("%s on %j is %s", (rule, spec, holds) => {
  expect(checkRules(schemaWith(rule), objectWith(spec), undefined).length === 0).toBe(holds);
});

test("transition rules need an old value, unless it is optional", () => {
  const fixed = schemaWith("self.count == oldSelf.count", { message: "fixed" });
  expect(checkRules(fixed, objectWith({ count: 1 }), undefined)).toEqual([]);
  expect(checkRules(fixed, objectWith({ count: 1 }), objectWith({ count: 1 }))).toEqual([]);
  expect(checkRules(fixed, objectWith({ count: 2 }), objectWith({ count: 1 }))[0]).toMatchObject({
    field: "spec",
    message: 'Invalid value: "object": fixed',
  });
  const optional = schemaWith("!oldSelf.hasValue() || oldSelf.value().count <= self.count", {
    optionalOldSelf: true,
  });
  expect(checkRules(optional, objectWith({ count: 1 }), undefined)).toEqual([]);
  expect(checkRules(optional, objectWith({ count: 0 }), objectWith({ count: 1 })).length).toBe(1);
});

test("a message is made, or the fixed one stands in", () => {
  const made = schemaWith("self.count > 9", {
    message: "fixed",
    messageExpression: "'count is ' + string(self.count)",
  });
  expect(checkRules(made, objectWith({ count: 1 }), undefined)[0]?.message).toContain("count is 1");
  const failing = schemaWith("self.count > 9", { message: "fixed", messageExpression: "self.missing" });
  expect(checkRules(failing, objectWith({ count: 1 }), undefined)[0]?.message).toContain("fixed");
});

test.each(["self.count >", "nothing(self)", "self.count + 1 == 'a' &&", "1 + 1"])(
  "%s does not compile",
  (rule) => {
    expect(() => compileRules({ type: "object", "x-kubernetes-validations": [{ rule }] })).toThrow();
  },
);
