import { describe, expect, test } from "vitest";
import { parseSticky } from "../../api/sticky.ts";
import { cookieValue } from "./sticky-key.ts";

describe("the sticky annotation", () => {
  test.each([
    ["client", { source: "client" }],
    ["header:X-User", { source: "header", name: "x-user" }],
    ["cookie:Sid", { source: "cookie", name: "Sid" }],
    ["query:user", { source: "query", name: "user" }],
  ])("%s is a rule", (text, rule) => expect(parseSticky(text)).toEqual(rule));

  test.each([
    "",
    "header:",
    "header",
    "cookie:a b",
    "body:x",
    "Client",
    "query:a=b",
    `header:${"x".repeat(129)}`,
  ])("%j is none", (text) => expect(parseSticky(text)).toBeUndefined());
});

test.each([
  ["sid=1; other=2", "sid", "1"],
  ["xsid=0; sid = a=b ;x", "sid", "a=b"],
  ["sid=", "sid", undefined],
  ["SID=1", "sid", undefined],
  [undefined, "sid", undefined],
])("in %j the cookie %s is %j", (header, name, value) => expect(cookieValue(header, name)).toBe(value));
