import { afterAll, beforeAll, expect, test } from "vitest";
import { ENVIRONMENTS, FUNCTIONS, PACKAGES, TIME_TRIGGERS } from "../../kube/kinds.ts";
import { environment, fn, literalPackage } from "./objects.ts";
import { condition, type KubeServer, type RunningController, runController, startKube } from "./platform.ts";
import { eventually } from "../eventually.ts";

let kube: KubeServer;
let running: RunningController;
beforeAll(async () => {
  kube = await startKube();
  running = runController(kube.client);
});
afterAll(async () => {
  await running.controller.stop();
  await kube.stop();
});

const functionref = { type: "name", name: "hello" } as const;
const get = (name: string) => kube.client.get(TIME_TRIGGERS, { namespace: "default", name });
const create = (name: string, spec: object) =>
  kube.client.create(TIME_TRIGGERS, {
    apiVersion: "fission.io/v1",
    kind: "TimeTrigger",
    metadata: { namespace: "default", name },
    spec: { functionref, cron: "@every 1m", ...spec },
  });
const settled = (name: string, reason: string) =>
  eventually(
    () => get(name),
    (one) => condition(one, "Ready")?.reason === reason,
  );

test("a schedule that is none says what one may be, until it is one; then what it calls is missing, until that is there", async () => {
  const { client } = kube;
  await create("nightly", { cron: "61 * * * *" });
  const wrong = await settled("nightly", "InvalidCron");
  expect(condition(wrong, "Scheduled")).toMatchObject({
    status: "False",
    reason: "InvalidCron",
    message: expect.stringMatching(/spec\.cron must be five fields.*got "61 \* \* \* \*": .*61/) as string,
  });
  await client.patch(
    TIME_TRIGGERS,
    { namespace: "default", name: "nightly" },
    { spec: { cron: "1 * * * *" } },
  );
  const right = await settled("nightly", "FunctionNotFound");
  expect(condition(right, "Scheduled")).toMatchObject({ status: "True", message: '"1 * * * *"' });

  await client.create(ENVIRONMENTS, environment("deno"));
  await client.create(PACKAGES, literalPackage("pkg", "export default () => new Response()"));
  await client.create(FUNCTIONS, fn("hello"));
  const ready = await settled("nightly", "Scheduled");
  expect(condition(ready, "Ready")).toMatchObject({
    status: "True",
    message: '"1 * * * *" calls function "hello"',
  });
});

test.each([
  ["zone", { timeZone: "Mars/Base" }, "InvalidSchedule", 'got "Mars/Base"'],
  [
    "jitter",
    { jitter: "soon" },
    "InvalidSpec",
    'spec.jitter must be a duration of 24h at most such as 30s, got "soon"',
  ],
  [
    "header",
    { headers: { "a b": "c" } },
    "InvalidSpec",
    'spec.headers must have names of HTTP headers, got "a b"',
  ],
  ["subpath", { subpath: "x" }, "InvalidSpec", 'spec.subpath must start with "/", got "x"'],
  ["method", { method: "do it" }, "InvalidSpec", 'spec.method must be a method such as POST, got "do it"'],
  ["ended", { endTime: "2020-01-01T00:00:00Z" }, "Ended", "spec.endTime is reached"],
  ["suspended", { suspend: true }, "Suspended", "spec.suspend"],
  [
    "workflow",
    { functionref: { type: "workflow", name: "none" } },
    "WorkflowNotFound",
    'Workflow "none" not found',
  ],
])("%s: %o is not ready: %s", async (name, spec, reason, message) => {
  await create(name, spec);
  const found = await settled(name, reason);
  expect(condition(found, "Ready")).toMatchObject({
    status: "False",
    message: expect.stringContaining(message) as string,
  });
});
