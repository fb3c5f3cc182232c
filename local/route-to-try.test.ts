import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { startLocalkube } from "../localkube/server.ts";
import { listRoutes, type Route, routeToTry } from "./route-to-try.ts";

const route = (spec: Route["spec"] & object, ready = "True"): Route => ({
  spec,
  status: { conditions: [{ type: "Ready", status: ready }] },
});

test.each<[string, Route[], string | undefined]>([
  ["the tutorial's", [route({ relativeurl: "/a" }), route({ relativeurl: "/hello" })], "/hello"],
  [
    "the shortest",
    [route({ relativeurl: "/longer" }), route({ prefix: "/b" }), route({ relativeurl: "/a" })],
    "/a",
  ],
  ["none without any", [], undefined],
  [
    "none that is not ready",
    [route({ relativeurl: "/a" }, "False"), { spec: { relativeurl: "/b" } }],
    undefined,
  ],
  [
    "one without variables first",
    [route({ relativeurl: "/a/{id}" }), route({ relativeurl: "/b/longer" })],
    "/b/longer",
  ],
  ["one with its variables filled in", [route({ relativeurl: "/a/{id}/{part}" })], "/a/you/you"],
  ["none whose variables are not just any text", [route({ relativeurl: "/a/{id:[0-9]+}" })], undefined],
  ["none of another host", [route({ relativeurl: "/a", host: "example.com" })], undefined],
  ["none that takes no GET", [route({ relativeurl: "/a", methods: ["POST"] })], undefined],
  ["one that takes GET too", [route({ relativeurl: "/a", methods: ["POST", "GET"] })], "/a"],
])("the route to try is %s", (_name, routes, path) => {
  expect(routeToTry(routes)).toBe(path);
});

test("routes are read from the platform's own API; none when it does not answer", async () => {
  const dataDir = mkdtempSync(join(tmpdir(), "isotope-routes-"));
  const localkube = await startLocalkube({
    dataDir,
    port: 0,
    crdDirs: [join(import.meta.dirname, "..", "charts", "isotope", "files", "crds")],
    log: () => {},
  });
  try {
    const spec = { relativeurl: "/hello", methods: ["GET"], functionref: { type: "name", name: "hello" } };
    await localkube.store.create("httptriggers.fission.io", {
      apiVersion: "fission.io/v1",
      kind: "HTTPTrigger",
      metadata: { name: "hello", namespace: "default" },
      spec,
    });
    expect((await listRoutes(localkube.kubeconfigPath)).map(({ metadata }) => metadata?.name)).toEqual([
      "hello",
    ]);
  } finally {
    await localkube.stop();
  }
  expect(await listRoutes(localkube.kubeconfigPath)).toEqual([]);
  rmSync(dataDir, { recursive: true, force: true });
});
