import type { Schema } from "./schema.ts";

/** A schema with a rule over fields of many types, each bounded, as an API server wants it of what a rule reads. */
export const schemaWith = (rule: string, extra: object = {}): Schema => ({
  type: "object",
  properties: { spec: specWith(rule, extra) },
});

const text = { type: "string", maxLength: 30 } as const;

export const specWith = (rule: string, extra: object = {}): Schema => ({
  type: "object",
  "x-kubernetes-validations": [{ rule, ...extra }],
  properties: {
    count: { type: "integer" },
    ratio: { type: "number" },
    text,
    namespace: text,
    "with-dash": text,
    when: { type: "string", format: "date-time" },
    list: { type: "array", maxItems: 5, items: { type: "integer" } },
    names: { type: "array", maxItems: 5, items: text },
    map: { type: "object", maxProperties: 5, additionalProperties: text },
  },
});

/** Rules, a value, and whether the rule holds for it: the same on localkube and on Kubernetes. */
export const CEL_CASES: readonly (readonly [rule: string, spec: object, holds: boolean])[] = [
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
    "isURL(self.text) && url(self.text).getHost() == 'a.example:80' && url(self.text).getPort() == '80'",
    { text: "http://a.example:80/x" },
    true,
  ],
  [
    "url(self.text).getHost() == 'a.example' && url(self.text).getPort() == ''",
    { text: "http://a.example/x" },
    true,
  ],
  [
    "url(self.text).getEscapedPath() == '' && url(self.text).getScheme() == 'http'",
    { text: "http://a.example" },
    true,
  ],
  ["isURL(self.text) && url(self.text).getEscapedPath() == '/x'", { text: "/x" }, true],
  [
    "url(self.text).getHostname() == '::1' && url(self.text).getPort() == '8'",
    { text: "http://[::1]:8/" },
    true,
  ],
  [
    "isURL(self.text) && url(self.text).getHostname() == 'a.example'",
    { text: "http://a.example:81/x" },
    true,
  ],
  ["isIP(self.text)", { text: "10.0.0.1" }, true],
  ["self.missing == 1", {}, false],
];

/** Rules that a definition may not have. */
export const CEL_REFUSED: readonly string[] = [
  "self.count >",
  "nothing(self)",
  "self.count + 1 == 'a' &&",
  "1 + 1",
];
