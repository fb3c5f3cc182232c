import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openConnection } from "./api-client.ts";
import { apiConformance } from "./conformance.ts";
import { type SpawnedLocalkube, spawnLocalkube } from "./spawn-localkube.ts";
import type { Target } from "./suite.ts";

let server: SpawnedLocalkube | undefined;
let target: Target | undefined;

beforeAll(async () => {
  server = await spawnLocalkube();
  target = { connection: openConnection(server.kubeconfig), skips: {} };
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
