import { describe, expect, it } from "vitest";
import { parseTemplate } from "./route-template.ts";
import { createRouteTable } from "./routes.ts";
import type { Route } from "./types.ts";

type Shape = Partial<Route<string>> & { path: string };

function route(shape: Shape, index: number): Route<string> {
  return {
    id: `r${index}`,
    host: undefined,
    methods: [],
    prefix: false,
    order: index,
    payload: shape.path,
    ...shape,
  };
}

function table(...shapes: Shape[]) {
  const routes = createRouteTable<string>();
  expect(routes.replace(shapes.map(route))).toEqual([]);
  return routes;
}

/** Payload and variables of the route that matches, or the kind of the miss. */
function hit(routes: ReturnType<typeof table>, path: string, method = "GET", host = "h"): unknown {
  const match = routes.match(method, host, path);
  if (match.kind === "method") return `405 ${match.allow}`;
  if (match.kind === "none") return "404";
  if (match.names.length === 0) return match.route.payload;
  return [
    match.route.payload,
    Object.fromEntries(match.names.map((name, index) => [name, match.params[index]])),
  ];
}

describe("matching", () => {
  it("serves exact paths only, slash and case included", () => {
    const routes = table({ path: "/a/b" }, { path: "/" });
    expect(["/a/b", "/a/b/", "/A/b", "/a", "/", "//"].map((path) => hit(routes, path))).toEqual([
      "/a/b",
      "404",
      "404",
      "404",
      "/",
      "404",
    ]);
  });

  it("takes variables, patterns and what spans segments", () => {
    const routes = table(
      { path: "/u/{id}" },
      { path: "/n/{id:[0-9]+}" },
      { path: "/v{major}-{minor:[a-z]{2,20}}/x" },
      { path: "/files/{rest:.*}" },
      { path: "/day/{y:[0-9]{4}}-{m:[0-9]{2}}" },
      { path: "/alt/{k:(a|b)}/{z:(c)|(d)}" },
    );
    expect(hit(routes, "/u/7")).toEqual(["/u/{id}", { id: "7" }]);
    expect(hit(routes, "/u/")).toBe("404");
    expect(hit(routes, "/u/7/8")).toBe("404");
    expect(hit(routes, "/n/42")).toEqual(["/n/{id:[0-9]+}", { id: "42" }]);
    expect(hit(routes, "/n/4x")).toBe("404");
    expect(hit(routes, "/v1-beta/x")).toEqual([
      "/v{major}-{minor:[a-z]{2,20}}/x",
      { major: "1", minor: "beta" },
    ]);
    expect(hit(routes, "/files/a/b.txt")).toEqual(["/files/{rest:.*}", { rest: "a/b.txt" }]);
    expect(hit(routes, "/files/")).toEqual(["/files/{rest:.*}", { rest: "" }]);
    expect(hit(routes, "/day/2026-11")).toEqual(["/day/{y:[0-9]{4}}-{m:[0-9]{2}}", { y: "2026", m: "11" }]);
    expect(hit(routes, "/alt/b/d")).toEqual(["/alt/{k:(a|b)}/{z:(c)|(d)}", { k: "b", z: "d" }]);
  });

  it("prefers exact, then literal, pattern, variable, rest, then the longer prefix", () => {
    const routes = table(
      { path: "/p", prefix: true },
      { path: "/p/q", prefix: true },
      { path: "/p/{any:.*}" },
      { path: "/p/{one}" },
      { path: "/p/{n:[0-9]+}" },
      { path: "/p/lit/{x}" },
      { path: "/p/{a}/end" },
      { path: "/p/exact" },
    );
    expect(hit(routes, "/p/exact")).toBe("/p/exact");
    expect(hit(routes, "/p/12")).toEqual(["/p/{n:[0-9]+}", { n: "12" }]);
    expect(hit(routes, "/p/zz")).toEqual(["/p/{one}", { one: "zz" }]);
    expect(hit(routes, "/p/lit/end")).toEqual(["/p/lit/{x}", { x: "end" }]);
    expect(hit(routes, "/p/q/end")).toEqual(["/p/{a}/end", { a: "q" }]);
    expect(hit(routes, "/p/q/else")).toEqual(["/p/{any:.*}", { any: "q/else" }]);
    expect(hit(routes, "/p")).toBe("/p");
    const prefixes = table(
      { path: "/", prefix: true },
      { path: "/a", prefix: true },
      { path: "/a/b/", prefix: true },
    );
    expect(
      ["/", "/x", "/a", "/a/", "/ab", "/a/x", "/a/b", "/a/b/c"].map((path) => hit(prefixes, path)),
    ).toEqual(["/", "/", "/a", "/a", "/", "/a", "/a/b/", "/a/b/"]);
  });

  it("prefers a host's routes and falls through by method", () => {
    const routes = table(
      { path: "/x", methods: ["GET"] },
      { path: "/x", methods: ["POST"], host: "h", payload: "h post" },
      { path: "/x", methods: ["PUT"] },
      { path: "/{y}", methods: ["DELETE"] },
      { path: "/", prefix: true, methods: ["PATCH"], host: "h", payload: "h prefix" },
    );
    expect(hit(routes, "/x")).toBe("/x");
    expect(hit(routes, "/x", "POST")).toBe("h post");
    expect(hit(routes, "/x", "POST", "other")).toBe("405 GET, PUT, DELETE");
    expect(hit(routes, "/x", "DELETE")).toEqual(["/{y}", { y: "x" }]);
    expect(hit(routes, "/x", "PATCH")).toBe("h prefix");
    expect(hit(routes, "/x", "OPTIONS")).toBe("405 POST, PATCH, GET, PUT, DELETE");
  });

  it("matches what people write beyond ASCII in its escaped form", () => {
    expect(hit(table({ path: "/héllo" }), "/h%C3%A9llo")).toBe("/héllo");
  });

  it("is not slowed down by a tenant's pattern", () => {
    const routes = table({ path: "/{x:(a+)+}" });
    // Backtracking would take longer than the universe has existed.
    expect(hit(routes, `/${"a".repeat(4000)}b`)).toBe("404");
  });
});

describe("change", () => {
  it("adds, replaces and removes without a trace", () => {
    const routes = table({ path: "/a/{x}" }, { path: "/b", prefix: true });
    expect(routes.set(route({ path: "/a/{y}/c", id: "r0" }, 0))).toBeUndefined();
    expect(hit(routes, "/a/1")).toBe("404");
    expect(hit(routes, "/a/1/c")).toEqual(["/a/{y}/c", { y: "1" }]);
    expect([routes.remove("r0"), routes.remove("r0"), routes.remove("r1"), routes.size]).toEqual([
      true,
      false,
      true,
      0,
    ]);
    expect(hit(routes, "/a/1/c")).toBe("404");
    expect(hit(routes, "/b/1")).toBe("404");
  });

  it("gives the older route what two claim, and says so", () => {
    const routes = table(
      { path: "/a/{x}", methods: ["GET", "PUT"] },
      { path: "/a/{y}", methods: ["GET", "POST"] },
    );
    expect(hit(routes, "/a/1")).toEqual(["/a/{x}", { x: "1" }]);
    expect(routes.conflicts()).toEqual([{ id: "r1", winner: "r0", methods: ["GET"] }]);
    routes.remove("r0");
    expect(hit(routes, "/a/1")).toEqual(["/a/{y}", { y: "1" }]);
    expect(routes.conflicts()).toEqual([]);
  });

  it("keeps the others when one cannot be compiled", () => {
    const routes = createRouteTable<string>();
    const problems = routes.replace([route({ path: "/a/{id" }, 0), route({ path: "/b" }, 1)]);
    expect(problems).toEqual([
      { id: "r0", message: 'Cannot compile path "/a/{id": variable is not closed, expected "}"' },
    ]);
    expect(routes.size).toBe(1);
  });
});

describe("templates", () => {
  it.each([
    ["a", 'it must start with "/"'],
    ["/a}", 'a "}" has no "{"'],
    ["/{}", 'variable "" must be letters'],
    ["/{1a}", 'variable "1a" must be letters'],
    ["/{a}/{a}", "occurs twice"],
    ["/{a:}", "empty pattern"],
    ["/{a:(}", "must be a regular expression"],
    ["/{a:x)|(y}", "must be a regular expression"],
    [String.raw`/{a:(x)\1}`, "without backreferences"],
    ["/{a:(?=x)y}", "look-around"],
    ["/{a:x{2000}}", "repetitions above 256"],
    ["/../a", "dot segment"],
    ["/%2e%2e/a", "dot segment"],
    ["/a b", "a space"],
    ["/a?b", '"?"'],
    ["/a%zz", "invalid escape"],
    ["/a%00", "invalid escape"],
    [`/${"a".repeat(3000)}`, "at most 2048"],
  ])("refuses %s", (path, problem) => {
    expect(parseTemplate(path)).toContain(problem);
  });

  it("writes long repetitions out for the linear-time engine", () => {
    const routes = table(
      { path: "/{id:[a-z]{1,63}}" },
      { path: "/x/{h:[0-9a-f]{64}}" },
      { path: String.raw`/y/{d:\d{20,}}` },
    );
    expect(hit(routes, `/${"a".repeat(63)}`)).toEqual(["/{id:[a-z]{1,63}}", { id: "a".repeat(63) }]);
    expect(hit(routes, `/${"a".repeat(64)}`)).toBe("404");
    expect(hit(routes, `/x/${"f".repeat(63)}`)).toBe("404");
    expect(hit(routes, `/x/${"f".repeat(64)}`)).not.toBe("404");
    expect(hit(routes, `/y/${"1".repeat(19)}`)).toBe("404");
    expect(hit(routes, `/y/${"1".repeat(30)}`)).not.toBe("404");
  });
});
