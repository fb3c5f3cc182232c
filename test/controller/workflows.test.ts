import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Workflow } from "../../api/kinds/index.ts";
import { ENVIRONMENTS, FUNCTIONS, HTTP_TRIGGERS, PACKAGES, WORKFLOWS } from "../../kube/kinds.ts";
import { localArchives } from "../../workflows/definitions/definition-archives.ts";
import { definitionService } from "../../workflows/definitions/definition-service.ts";
import { childHosts } from "../../workflows/host/child-host.ts";
import { definitionHost } from "../../workflows/host/definition-host.ts";
import { bundleWorkflow, DENO } from "../workflows/workflow-bundle.ts";
import { environment, fn, literalPackage } from "./objects.ts";
import {
  condition,
  type KubeServer,
  MemoryArchives,
  type RunningController,
  runController,
  startKube,
} from "./platform.ts";
import { eventually } from "../eventually.ts";

const denoDir = mkdtempSync(join(tmpdir(), "isotope-deno-"));
const archives = new MemoryArchives();
const service = definitionService({
  archives: localArchives(archives, 10_000_000),
  openHost: () => definitionHost({ start: childHosts({ deno: DENO, denoDir }), deadlineMs: 2_000 }),
});
let kube: KubeServer;
let running: RunningController;
beforeAll(async () => {
  kube = await startKube();
  running = runController(kube.client, { archives, checkDefinition: (request) => service.check(request) });
  await kube.client.create(ENVIRONMENTS, environment("deno"));
});
afterAll(async () => {
  await running.controller.stop();
  await kube.stop();
  service.close();
  rmSync(denoDir, { recursive: true, force: true });
});

const workflow = (name: string, spec: Workflow["spec"]): Workflow => ({
  apiVersion: "fission.io/v1",
  kind: "Workflow",
  metadata: { name, namespace: "default" },
  spec,
});
const ref = (name: string) => ({ namespace: "default", name });
const settled = (name: string, reason: string) =>
  eventually(
    () => kube.client.get(WORKFLOWS, ref(name)),
    (found) => condition(found, "Ready")?.reason === reason,
    90_000,
  );

const source = (body: string): string => `
  import { setup } from "xstate";
  import { defineWorkflow, fn } from "@isotope/platform/workflows";
  const machine = setup({ actors: { charge: fn("charge-card") } }).createMachine(${body});
  export const order = defineWorkflow({ machine });
`;
const GOOD = `{ id: "order", initial: "a", states: { a: { invoke: { src: "charge", onDone: "b", onError: "b" } }, b: { type: "final" } } }`;

test("a workflow of startAt and states is checked, and ready when its functions are there", async () => {
  const states = {
    a: { type: "Task" as const, function: { type: "name" as const, name: "later" }, end: true },
  };
  await kube.client.create(WORKFLOWS, workflow("states", { startAt: "a", states }));
  const waiting = await settled("states", "ReferenceNotFound");
  expect(condition(waiting, "Validated")).toMatchObject({ status: "True" });
  expect(condition(waiting, "Ready")?.message).toContain('names Function "later", which does not exist');
  await kube.client.create(FUNCTIONS, fn("later"));
  const ready = await settled("states", "Ready");
  expect(ready.status?.definition).toMatchObject({ generation: 1, functions: ["later"] });
  expect(archives.held.has(ready.status?.definition?.digest ?? "")).toBe(true);
  expect((await service.current(ready)).digest).toBe(ready.status?.definition?.digest);
});

test("what is wrong with states is said with its place", async () => {
  const states = { a: { type: "Wait" as const, duration: "soon", next: "nowhere" } };
  await kube.client.create(WORKFLOWS, workflow("faulty", { startAt: "a", states }));
  const found = await settled("faulty", "Invalid");
  expect(condition(found, "Validated")).toMatchObject({ status: "False" });
  expect(condition(found, "Validated")?.message).toContain("states.a.next");
  await expect(service.current(found)).rejects.toMatchObject({ code: "workflow_not_ready" });
});

test("a workflow of a package is made of what the package holds, and a faulty one leaves the one before it", async () => {
  await kube.client.create(WORKFLOWS, workflow("order", { package: { name: "order" }, export: "order" }));
  await settled("order", "PackageNotFound");
  await kube.client.create(PACKAGES, literalPackage("order", await bundleWorkflow(source(GOOD))));
  await settled("order", "ReferenceNotFound");
  await kube.client.create(FUNCTIONS, fn("charge-card"));
  const ready = await settled("order", "Ready");
  const { digest } = ready.status?.definition ?? {};
  const definition = await service.current(ready);
  expect(definition.digest).toBe(digest);
  expect((await definition.start(null)).actions).toMatchObject([{ kind: "invoke", actor: "charge" }]);

  const faulty = literalPackage(
    "order",
    await bundleWorkflow(
      source(GOOD.replace('"b", onError', '"b", onError').replace('b: { type: "final" }', "b: {}")),
    ),
  );
  await kube.client.patch(PACKAGES, ref("order"), { spec: faulty.spec });
  const invalid = await settled("order", "Invalid");
  expect(condition(invalid, "Ready")?.message).toMatch(/cannot end.*new runs take the definition before it/);
  expect(invalid.status?.definition?.digest).toBe(digest);
});

test("exactly one of the two forms is taken", async () => {
  for (const spec of [{}, { package: { name: "x" }, startAt: "a", states: {} }, { startAt: "a" }])
    await expect(kube.client.create(WORKFLOWS, workflow("both", spec))).rejects.toThrow(
      /exactly one of package and \(startAt with states\)/,
    );
  await expect(
    kube.client.create(WORKFLOWS, workflow("both", { startAt: "a", states: {}, export: "x" })),
  ).rejects.toThrow(/export needs package/);
});

test("a route to a workflow says that the workflow is absent, faulty, there, and gone again", async () => {
  await kube.client.create(HTTP_TRIGGERS, {
    apiVersion: "fission.io/v1",
    kind: "HTTPTrigger",
    metadata: { name: "starts", namespace: "default" },
    spec: { relativeurl: "/starts", methods: ["POST"], functionref: { type: "workflow", name: "routed" } },
  });
  const says = (reason: string, text: string) =>
    eventually(
      () => kube.client.get(HTTP_TRIGGERS, ref("starts")),
      (trigger) => {
        const ready = condition(trigger, "Ready");
        return ready?.reason === reason && ready.message.includes(text);
      },
      90_000,
    );
  await says("WorkflowNotFound", 'Workflow "routed" not found in namespace "default"');
  const wait = { type: "Wait" as const, duration: "soon", end: true };
  await kube.client.create(WORKFLOWS, workflow("routed", { startAt: "a", states: { a: wait } }));
  await says("WorkflowNotReady", 'Workflow "routed" cannot start runs yet: The definition cannot be run');
  await kube.client.patch(WORKFLOWS, ref("routed"), { spec: { states: { a: { duration: "1s" } } } });
  await says("Routed", 'runs of workflow "routed"');
  await kube.client.delete(WORKFLOWS, ref("routed"));
  await says("WorkflowNotFound", "not found");
});
