import { describe, expect, test } from "vitest";
import { claimConflicts, routeClaims, type RoutedTrigger } from "./routes.ts";

const trigger = (
  name: string,
  spec: Partial<RoutedTrigger["spec"]>,
  created = "2026-01-01T00:00:00Z",
): RoutedTrigger => ({
  metadata: { name, namespace: "n", creationTimestamp: created },
  spec: { functionref: { type: "name", name: "f" }, ...spec },
});
const claimsOf = (...triggers: RoutedTrigger[]) => triggers.flatMap((one) => routeClaims(one).claims);

describe("claims", () => {
  test("one per host and path; hosts from host and routeConfig, methods from both fields", () => {
    const { claims } = routeClaims(
      trigger("t", {
        relativeurl: "/a",
        prefix: "/b",
        host: "x.example",
        routeConfig: { hostnames: ["Y.example"] },
        method: "GET",
        methods: ["post", "GET"],
      }),
    );
    expect(claims.map(({ host, path, prefix, methods }) => [host, path, prefix, methods])).toEqual([
      ["y.example", "/a", false, ["POST", "GET"]],
      ["y.example", "/b", true, ["POST", "GET"]],
      ["x.example", "/a", false, ["POST", "GET"]],
      ["x.example", "/b", true, ["POST", "GET"]],
    ]);
    expect(new Set(claims.map(({ id }) => id)).size).toBe(4);
  });

  test.each([
    [{}, "one of relativeurl and prefix is needed"],
    [{ relativeurl: "a" }, "must start with /"],
    [{ relativeurl: "/a/../b" }, "must not contain .."],
    [{ prefix: "/a b" }, "must be visible ASCII"],
    [{ relativeurl: "/a\r\nx" }, "must be visible ASCII"],
    [{ relativeurl: "/_version" }, "path of the router itself"],
    [{ prefix: "/fission-function" }, "must not lie under /fission-function/"],
    [{ prefix: "/fission-function/x" }, "must not lie under /fission-function/"],
  ])("%j claims nothing", (spec, message) => {
    const { claims, problem } = routeClaims(trigger("t", spec));
    expect(claims).toEqual([]);
    expect(problem?.message).toContain(message);
    expect(problem?.message).toContain('"n/t"');
  });
});

describe("conflicts", () => {
  const old = "2026-01-01T00:00:00Z";
  const young = "2026-02-01T00:00:00Z";
  test.each([
    [
      "the older wins",
      trigger("b", { relativeurl: "/x" }, old),
      trigger("a", { relativeurl: "/x" }, young),
      ["n/a", "n/b"],
    ],
    [
      "of the same age the smaller name",
      trigger("a", { relativeurl: "/x" }, old),
      trigger("b", { relativeurl: "/x" }, old),
      ["n/b", "n/a"],
    ],
    [
      "names of variables do not matter",
      trigger("a", { relativeurl: "/x/{id}" }, old),
      trigger("b", { relativeurl: "/x/{name}" }, young),
      ["n/b", "n/a"],
    ],
    [
      "their patterns do",
      trigger("a", { relativeurl: "/x/{id:[0-9]{2}}" }, old),
      trigger("b", { relativeurl: "/x/{id}" }, young),
      undefined,
    ],
    [
      "other methods",
      trigger("a", { relativeurl: "/x", methods: ["GET"] }, old),
      trigger("b", { relativeurl: "/x", methods: ["POST"] }, young),
      undefined,
    ],
    [
      "any method",
      trigger("a", { relativeurl: "/x" }, old),
      trigger("b", { relativeurl: "/x", methods: ["POST"] }, young),
      ["n/b", "n/a"],
    ],
    [
      "other hosts",
      trigger("a", { relativeurl: "/x", host: "h" }, old),
      trigger("b", { relativeurl: "/x" }, young),
      undefined,
    ],
    [
      "exact and prefix",
      trigger("a", { relativeurl: "/x" }, old),
      trigger("b", { prefix: "/x" }, young),
      undefined,
    ],
    [
      "one trigger with itself",
      trigger("a", { prefix: "/x", relativeurl: "/x" }, old),
      trigger("b", { prefix: "/y" }, young),
      undefined,
    ],
  ])("%s", (_what, first, second, expected) => {
    const conflicts = claimConflicts(claimsOf(second, first)).map(({ loser, winner }) => [loser, winner]);
    expect(conflicts).toEqual(expected ? [expected] : []);
  });
});
