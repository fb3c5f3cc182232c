import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openConnection } from "./api-client.ts";
import { apiConformance } from "./conformance.ts";
import { type SpawnedLocalkube, spawnLocalkube } from "./spawn-localkube.ts";
import { refused, type Target } from "./suite.ts";

let server: SpawnedLocalkube | undefined;
let target: Target | undefined;

beforeAll(async () => {
  server = await spawnLocalkube();
  target = { connection: openConnection(server.kubeconfig) };
});
afterAll(async () => {
  target?.connection.close();
  await server?.stop();
});

const connect = (): Target => {
  if (!target) throw new Error("localkube has not started");
  return target;
};

apiConformance(connect);

describe("localkube alone", () => {
  test("a namespaced logs request without a kubelet says so", async () => {
    const { connection } = connect();
    const pod = { metadata: { name: "p" }, spec: { containers: [{ name: "c", image: "x" }] } };
    expect((await connection.request("POST", "/api/v1/namespaces/default/pods", pod)).status).toBe(201);
    const answer = await connection.request("GET", "/api/v1/namespaces/default/pods/p/log");
    expect(answer.status).toBe(503);
    const choice = await connection.request("GET", "/api/v1/namespaces/default/pods/p/log?container=none");
    expect(choice.status).toBe(400);
  });

  test("a watch from a version that never was is refused: its state may have been wiped", async () => {
    const { connection } = connect();
    const path = "/api/v1/namespaces/default/configmaps";
    const now = Number((await connection.request("GET", path)).body.metadata.resourceVersion);
    const watch = await connection.watch(`${path}?watch=true&resourceVersion=${now + 1_000_000}`);
    const { object } = await watch.until((event) => event.type === "ERROR");
    expect(object).toMatchObject({ reason: "Expired", code: 410 });
    const bad = await connection.request("GET", `${path}?watch=true&resourceVersion=abc`);
    refused(bad, 400, "BadRequest");
  });

  test("refuses bodies beyond 3 MB", async () => {
    const { connection } = connect();
    const body = JSON.stringify({ metadata: { name: "big" }, data: { a: "x".repeat(3 * 1024 * 1024) } });
    const answer = await connection
      .request("POST", "/api/v1/namespaces/default/configmaps", body)
      .catch(() => undefined);
    expect(answer?.status ?? 413).toBe(413);
    expect((await connection.request("GET", "/api/v1/namespaces/default/configmaps/big")).status).toBe(404);
  });
});
