import { describe, expect, test } from "vitest";
import { LABEL_FUNCTION_UID, LABEL_REVISION } from "../../api/names.ts";
import { ANNOTATION_REQUESTS_PER_POD } from "../../api/wire/executor.ts";
import type { EndpointSlice } from "../../kube/core.ts";
import { compileCors } from "./cors.ts";
import { readyPods } from "./endpoint-index.ts";
import { requestIdOf, traceIdOf, traceparentOf } from "./request-identity.ts";
import { cutSegments, paramLines, paramPrefixes } from "./request-lines.ts";
import { type Queued, WaitQueue } from "./wait-queue.ts";

describe("path parts", () => {
  test.each([
    ["/api/x/y", 1, "/x/y"],
    ["/api", 1, "/"],
    ["/api/", 1, "/"],
    ["/a/b", 2, "/"],
    ["/a/b/c/", 2, "/c/"],
    ["/a//b", 1, "//b"],
    ["/a", 0, "/a"],
  ])("%s without its first %i segments is %s", (path, count, rest) => {
    expect(cutSegments(path, count)).toBe(rest);
  });

  test.each([
    ["a", "a"],
    ["a%20b", "a b"],
    ["%C3%A4", Buffer.from("ä", "utf8").toString("latin1")],
    ["a%0d%0aX-Evil:1", "a%0d%0aX-Evil:1"],
    ["%00", "%00"],
    ["100%", "100%"],
    ["%ff", "%ff"],
  ])("the value of a path variable, %s, becomes a header value that ends no line", (raw, value) => {
    expect(paramLines(paramPrefixes(["id"]), [raw])).toBe(`x-fission-params-id: ${value}\r\n`);
  });

  test("a variable whose name is no header name makes no header", () => {
    expect(paramLines(paramPrefixes(["a b", "ok"]), ["1", "2"])).toBe("x-fission-params-ok: 2\r\n");
  });
});

describe("identity", () => {
  test.each([
    ["a", "a"],
    ["x".repeat(192), "x".repeat(192)],
    ["x".repeat(193), undefined],
    ["with space", undefined],
    ["", undefined],
    ["ä", undefined],
    [undefined, undefined],
  ])("request id %j", (given, kept) => {
    const id = requestIdOf(given);
    if (kept === undefined) expect(id).toMatch(/^[0-9a-f-]{36}$/);
    else expect(id).toBe(kept);
  });

  test.each([
    ["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", true],
    ["cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", true],
    ["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", false],
    ["ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false],
    ["00-00000000000000000000000000000000-b7ad6b7169203331-01", false],
    ["00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false],
    ["00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", false],
    ["", false],
  ])("traceparent %s is valid: %s", (given, valid) => {
    const made = traceparentOf(given, "id");
    if (valid) expect(made).toBe(given);
    else expect(made).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
  });

  test("a new trace takes the id of a request that is a UUID", () => {
    const id = requestIdOf(undefined);
    expect(traceIdOf(traceparentOf(undefined, id))).toBe(id.replaceAll("-", ""));
    expect(traceparentOf(undefined, id)).not.toBe(traceparentOf(undefined, id));
  });
});

describe("CORS compilation", () => {
  test.each([
    [{ allowOrigins: ["*"], allowCredentials: true }, "allowCredentials does not go with the origin *"],
    [{ allowOrigins: ["https://*.*.example"] }, "an origin may hold one *"],
    [{ allowOrigins: ["*"], maxAge: "soon" }, 'duration "soon"'],
  ])("%j is refused", (config, message) => {
    expect(() => compileCors(config, [])).toThrow(message);
  });

  test("methods default to the trigger's own; seconds are a max age too", () => {
    const cors = compileCors({ allowOrigins: ["https://a.example"], maxAge: "600" }, ["GET"]);
    expect(cors.preflight("https://a.example", "GET", undefined)).toContain(
      "access-control-max-age: 600\r\n",
    );
    expect(cors.preflight("https://a.example", "POST", undefined)).toBeUndefined();
    expect(cors.preflight("HTTPS://A.example", "GET", undefined)).toBeDefined();
  });
});

describe("slices", () => {
  const slice = (changes: Partial<EndpointSlice> = {}): EndpointSlice => ({
    metadata: {
      name: "s",
      namespace: "n",
      labels: { [LABEL_FUNCTION_UID]: "u", [LABEL_REVISION]: "r" },
      annotations: { [ANNOTATION_REQUESTS_PER_POD]: "5" },
    },
    addressType: "IPv4",
    ports: [{ name: "http", port: 8888 }],
    endpoints: [
      { addresses: ["10.0.0.1"], conditions: { ready: true }, targetRef: { uid: "p1", name: "pod" } },
    ],
    ...changes,
  });

  test("a ready pod counts, with the slice's capacity", () => {
    expect(readyPods(slice())).toEqual([
      {
        podUid: "p1",
        podName: "pod",
        namespace: "n",
        revision: "r",
        address: "10.0.0.1:8888",
        capacity: 5,
        contract: "direct",
      },
    ]);
    expect(
      readyPods(slice({ endpoints: [{ addresses: ["fd00::1"], targetRef: { uid: "p1" } }] }))[0]?.address,
    ).toBe("[fd00::1]:8888");
  });

  test.each([
    [
      "not ready",
      slice({
        endpoints: [{ addresses: ["10.0.0.1"], conditions: { ready: false }, targetRef: { uid: "p" } }],
      }),
    ],
    [
      "terminating",
      slice({
        endpoints: [
          {
            addresses: ["10.0.0.1"],
            conditions: { ready: true, terminating: true },
            targetRef: { uid: "p" },
          },
        ],
      }),
    ],
    ["without pod", slice({ endpoints: [{ addresses: ["10.0.0.1"] }] })],
    ["without address", slice({ endpoints: [{ addresses: [], targetRef: { uid: "p" } }] })],
    ["without port", slice({ ports: [] })],
    ["without revision", slice({ metadata: { name: "s", labels: { [LABEL_FUNCTION_UID]: "u" } } })],
  ])("a slice or pod %s counts for nothing", (_what, given) => {
    expect(readyPods(given)).toEqual([]);
  });
});

test("a wait queue keeps its order through removals anywhere", () => {
  interface Item extends Queued<Item> {
    id: number;
  }
  const queue = new WaitQueue<Item>();
  const items = Array.from(
    { length: 6 },
    (_, id): Item => ({ id, previous: undefined, next: undefined, queued: false }),
  );
  for (const item of items.slice(0, 5)) queue.push(item);
  const [zero, , two, , four, five] = items;
  for (const item of [two, zero, four, two]) if (item) queue.remove(item);
  if (five) queue.pushFront(five);
  const order: number[] = [];
  for (let item = queue.shift(); item; item = queue.shift()) order.push(item.id);
  expect(order).toEqual([5, 1, 3]);
  expect(queue.length).toBe(0);
});
