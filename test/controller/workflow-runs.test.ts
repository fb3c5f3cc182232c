import { afterAll, beforeAll, expect, test } from "vitest";
import { PlatformError } from "../../api/errors.ts";
import type { WorkflowRun } from "../../api/kinds/index.ts";
import type { RunsClient } from "../../controller/workflow-run/reconcile.ts";
import { WORKFLOW_RUNS } from "../../kube/kinds.ts";
import { type KubeServer, type RunningController, runController, startKube } from "./platform.ts";
import { eventually } from "../eventually.ts";

/** The workflow service as far as WorkflowRuns ask it: runs that go on until they are cancelled. */
const cancelled: string[] = [];
let away = false;
const view = (id: string, status: string) => ({
  namespace: "default",
  id,
  workflow: "order",
  generation: 7,
  definition: "d",
  status,
  states: ["waiting"],
  accepts: [],
  startedBy: "object:x",
  startedAt: new Date().toISOString(),
  updatedAt: new Date().toISOString(),
  pins: {},
  steps: [],
  timers: [],
});
const idOf = (path: string): string => path.split("/")[4] ?? "";
const runs: RunsClient = {
  postJson: async (path, body, schema) => {
    if (away) throw new PlatformError("workflows_unavailable", "away");
    if (path.endsWith("/cancel")) {
      cancelled.push(idOf(path));
      return schema.parse(view(idOf(path), "running"));
    }
    return schema.parse(view((body as { id: string }).id, "running"));
  },
  getJson: async (path, schema) => {
    if (away) throw new PlatformError("workflows_unavailable", "away");
    return schema.parse(path.includes("/history") ? { entries: [] } : view(idOf(path), "running"));
  },
};

let kube: KubeServer;
let running: RunningController;
beforeAll(async () => {
  kube = await startKube();
  running = runController(kube.client, { runs });
});
afterAll(async () => {
  await running.controller.stop();
  await kube.stop();
});

const ref = (name: string) => ({ namespace: "default", name });
async function begun(name: string): Promise<WorkflowRun> {
  await kube.client.create(WORKFLOW_RUNS, {
    apiVersion: "fission.io/v1",
    kind: "WorkflowRun",
    metadata: ref(name),
    spec: { workflowRef: "order", input: { a: 1 } },
  });
  return eventually(
    () => kube.client.get(WORKFLOW_RUNS, ref(name)),
    ({ status }) => status?.phase === "Running",
    30_000,
  );
}
const gone = (name: string) =>
  eventually(
    () => kube.client.find(WORKFLOW_RUNS, ref(name)),
    (found) => found === undefined,
    30_000,
  );

test("a run's object says of which generation of the workflow it is made", async () => {
  expect((await begun("made")).status).toMatchObject({ phase: "Running", workflowGeneration: 7 });
});

test("an object that is deleted while nobody looks cancels its run all the same", async () => {
  const { metadata } = await begun("left");
  await running.controller.stop();
  await kube.client.delete(WORKFLOW_RUNS, ref("left"));
  expect((await kube.client.get(WORKFLOW_RUNS, ref("left"))).metadata.deletionTimestamp).toBeDefined();
  running = runController(kube.client, { runs });
  await gone("left");
  expect(cancelled).toContain(`left-${metadata.uid}`);
});

test("an object that is deleted while the workflow service is away stays until its run was told", async () => {
  const { metadata } = await begun("patient");
  away = true;
  await kube.client.delete(WORKFLOW_RUNS, ref("patient"));
  await new Promise((go) => setTimeout(go, 300));
  expect((await kube.client.get(WORKFLOW_RUNS, ref("patient"))).metadata.deletionTimestamp).toBeDefined();
  away = false;
  await gone("patient");
  expect(cancelled).toContain(`patient-${metadata.uid}`);
});
