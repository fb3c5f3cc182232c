import { afterAll, beforeAll } from "vitest";
import { openConnection } from "../api/api-client.ts";
import { apiConformance } from "../api/conformance.ts";
import type { Target } from "../api/suite.ts";
import { currentCluster } from "./cluster.ts";

let target: Target | undefined;

beforeAll(() => {
  target = { connection: openConnection(currentCluster().kubeconfig) };
});
afterAll(() => target?.connection.close());

apiConformance(() => {
  if (!target) throw new Error("the suite has not started");
  return target;
});
