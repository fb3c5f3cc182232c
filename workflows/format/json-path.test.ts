import { describe, expect, it } from "vitest";
import type { Json } from "../core/json.ts";
import { getPath, InvalidPathError, setPath } from "./json-path.ts";
import { parseJsonPath } from "./parse-json-path.ts";

const get = (path: string, document: Json): Json | undefined => getPath(parseJsonPath(path), document);
const set = (path: string, document: Json, value: Json): Json =>
  setPath(parseJsonPath(path), document, value);

const document = {
  a: { b: 1.5 },
  items: [
    { id: "x", price: 5 },
    { id: "y", price: 15, tags: ["new", "red"] },
    { id: "z", price: 25 },
  ],
  null: null,
  "odd key": "odd",
  'it\'s "quoted"': 1,
  deep: { er: { id: "found" } },
};

describe("reading a path", () => {
  it.each([
    ["$", document],
    ["$.a.b", 1.5],
    ["$.items[1].id", "y"],
    ["$.items[-1].id", "z"],
    ["$.items[*].id", "x"],
    ["$.items[1:].id", "y"],
    ["$.items[::-1].id", "z"],
    ["$.items[0:1:1].id", "x"],
    ["$['odd key']", "odd"],
    ['$["odd key"]', "odd"],
    ["$['it\\'s \\u0022quoted\\u0022']", 1],
    ["$.null", null],
    ["$.missing", undefined],
    ["$.a.b.c", undefined],
    ["$.items[7]", undefined],
    ["$.items[?(@.price > 10)].id", "y"],
    ["$.items[?@.price >= 25].id", "z"],
    ["$.items[?(@.id == 'z' || @.price == 15)].id", "y"],
    ["$.items[?(@.price > 10 && !(@.tags))].id", "z"],
    ["$.items[?(@.tags)].id", "y"],
    ["$.items[?(@.tags == $.items[1].tags)].id", "y"],
    ["$.items[?(@.id != 'x')].price", 15],
    ["$.items[?(@.missing == null)]", undefined],
    ["$..er.id", "found"],
    ["$.items[0,2].id", "x"],
    ["$['nope','a'].b", 1.5],
    ["$.items[?(@.price < 0)]", undefined],
    ["$.toString", undefined],
    ["$.constructor.name", undefined],
    ["$.items.length", undefined],
  ])("%s", (path, value) => {
    expect(get(path, document)).toEqual(value);
  });

  it.each([
    "",
    "a.b",
    "@.a",
    "$.a[?(@.b >]",
    "$[",
    "$.",
    "$..",
    "$.a b",
    "$['a",
    "$[1",
    "$[01]",
    "$.a[?()]",
    "$.a[?(1)]",
    "$[?(@.a == )]",
    "$[99999999999999999999]",
    `$${"[?(".repeat(40)}`,
    `$[?${"!".repeat(5000)}@.a]`,
  ])("refuses %s", (path) => {
    expect(() => parseJsonPath(path)).toThrow(TypeError);
  });

  it("names the place of the fault", () => {
    expect(() => parseJsonPath("$.a[?(@.b >]")).toThrow(
      'Cannot read the path "$.a[?(@.b >]": expected @, $, a string, a number, true, false or null at position 12',
    );
  });

  it("stops a path that looks at too much of a document", () => {
    let nested: Json = 1;
    for (let level = 0; level < 12; level++) nested = [nested, nested, nested, nested];
    expect(() => get("$..*..*..*..x", nested)).toThrow(InvalidPathError);
    expect(() => get("$..[?(@..[?(@..[?(@..x)])])]", nested)).toThrow(/looks at more than 200000 values/);
  });
});

describe("writing to a path", () => {
  it.each([
    ["$", { old: true }, "new", "new"],
    ["$.charge", { order: { id: 1 } }, { ok: true }, { order: { id: 1 }, charge: { ok: true } }],
    ["$.a.b.c", {}, 1, { a: { b: { c: 1 } } }],
    ["$.a.b", { a: null }, 1, { a: { b: 1 } }],
    ["$.a", null, 1, { a: 1 }],
    ["$.items[1].n", { items: [{}, {}] }, 1, { items: [{}, { n: 1 }] }],
    ["$.items[-1]", { items: [1, 2] }, 3, { items: [1, 3] }],
    ["$['odd key']", {}, 1, { "odd key": 1 }],
  ] as [string, Json, Json, Json][])("%s", (path, before, value, after) => {
    const text = JSON.stringify(before);
    expect(set(path, before, value)).toEqual(after);
    expect(JSON.stringify(before)).toBe(text);
  });

  it.each([
    ["$.a.b", { a: 5 }],
    ["$.items[*].id", { items: [{}] }],
    ["$.items[?(@.x)]", { items: [{}] }],
    ["$..x", {}],
    ["$.items[2]", { items: [1] }],
    ["$.a[0]", {}],
    ["$.items.x", { items: [] }],
    ["$['a','b']", {}],
  ] as [string, Json][])("refuses %s of %j", (path, before) => {
    expect(() => set(path, before, 1)).toThrow(InvalidPathError);
  });

  it("writes __proto__ as a field like any other", () => {
    const after = set("$.__proto__.polluted", JSON.parse("{}"), true);
    expect(JSON.stringify(after)).toBe('{"__proto__":{"polluted":true}}');
    expect(Reflect.get({}, "polluted")).toBeUndefined();
  });
});
