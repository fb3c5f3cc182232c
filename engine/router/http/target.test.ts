import { describe, expect, it } from "vitest";
import { normalizePath, normalizeQuery, parseAuthority, splitAbsolute } from "./target.ts";

const latin1 = (text: string): string => Buffer.from(text, "utf8").toString("latin1");

describe("paths", () => {
  it.each([
    ["/a/b", "/a/b"],
    ["/%61%2D%7e", "/a-~"],
    ["/a%2fb", "/a%2Fb"],
    ["/a%5cb", "/a%5Cb"],
    ["/é", "/%C3%A9"],
    ["/%c3%a9", "/%C3%A9"],
    ['/"<>^`{}', "/%22%3C%3E%5E%60%7B%7D"],
    ["//a///b/", "//a///b/"],
    ["/a.b/..c/...", "/a.b/..c/..."],
    ["/%20", "/%20"],
  ])("normalises %s", (path, normal) => {
    expect(normalizePath(latin1(path))).toBe(normal);
  });

  it.each([
    "/.",
    "/..",
    "/a/../b",
    "/a/./b",
    "/%2e",
    "/%2E%2e/",
    "/a%2f..%2fb",
    "/..%5Ca",
    "/\\",
    "/%00",
    "/%0a",
    "/%7f",
    "/%",
    "/%4",
    "/%4g",
    "/a b",
    "/a#b",
  ])("refuses %s", (path) => {
    expect(normalizePath(latin1(path))).toBeUndefined();
  });

  it("escapes a query beyond ASCII and nothing else", () => {
    expect(normalizeQuery(latin1('?a=é&b="%zz"'))).toBe('?a=%C3%A9&b="%zz"');
  });
});

describe("authorities", () => {
  it.each([
    ["A.Example", "a.example", "a.example"],
    ["a.example.:80", "a.example.:80", "a.example"],
    ["127.0.0.1:8888", "127.0.0.1:8888", "127.0.0.1"],
    ["[::1]:65535", "[::1]:65535", "[::1]"],
    ["under_score-1", "under_score-1", "under_score-1"],
  ])("reads %s", (value, host, hostname) => {
    expect(parseAuthority(value)).toEqual({ host, hostname });
  });

  it.each([
    "",
    "a b",
    "a/b",
    "u@a",
    "a:",
    "a:x",
    "a:65536",
    "a:123456",
    ".a",
    "a..b",
    "[::1",
    "[1]",
    "::1",
    "[::1]x",
    "[fe80::1%25e]",
    "a,b",
    "a%41",
    "é",
    "a".repeat(300),
  ])("refuses %s", (value) => {
    expect(parseAuthority(value)).toBeUndefined();
  });

  it("splits absolute targets", () => {
    expect(splitAbsolute("http://a:80/x?y")).toEqual({
      authority: { host: "a:80", hostname: "a" },
      rest: "/x?y",
    });
    expect(splitAbsolute("HTTPS://a?y")).toEqual({ authority: { host: "a", hostname: "a" }, rest: "/?y" });
    for (const target of ["ftp://a/", "http:///", "http://u@a/", "http:/a", "a"])
      expect(splitAbsolute(target)).toBeUndefined();
  });
});
