import { runInNewContext } from "node:vm";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openWorkshop, type Workshop } from "./build-source.ts";
import { workflowCode } from "../../workflows/host/workflow-code.ts";

let workshop: Workshop;
beforeAll(async () => {
  workshop = await openWorkshop();
});
afterAll(() => workshop.close());

const WORKFLOW = `
  import { setup } from "xstate";
  import { and } from "xstate/guards";
  import { defineWorkflow, fn } from "@isotope/platform/workflows";
  const machine = setup({ actors: { charge: fn("charge-card") } }).createMachine({
    id: "order", initial: "a", states: { a: { invoke: { src: "charge", onDone: { target: "b", guard: and([() => true]) } } }, b: { type: "final" } },
  });
  export default defineWorkflow({ machine });
`;

test("a workflow is bundled with XState and the workflow API, without any package.json", async () => {
  const built = await workshop.build(WORKFLOW);
  expect(built.log.join("\n")).not.toContain("error");
  expect(built.result).toMatchObject({ outcome: "succeeded" });
  const { code } = await workflowCode(String(built.files.get("index.js")), "default");
  const definition = runInNewContext(`${code}; __isotopeWorkflow`);
  expect(definition.start(null).actions).toMatchObject([{ kind: "invoke", actor: "charge" }]);
  expect(definition.problems()).toEqual([]);
});

test("what a package.json says of the platform's own package is left to the platform", async () => {
  const built = await workshop.build({
    "package.json": JSON.stringify({ dependencies: { "@isotope/platform": "^0.1.0" } }),
    "index.ts": WORKFLOW,
  });
  expect(built.result).toMatchObject({ outcome: "succeeded" });
});

test("the types of the platform cannot be imported as values", async () => {
  const built = await workshop.build(
    'import { Context } from "@isotope/platform"; export default () => new Response(String(Context));',
  );
  expect(built.result).toMatchObject({
    outcome: "failed",
    message: expect.stringContaining("it holds types only"),
  });
});
