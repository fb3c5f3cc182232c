import { runInNewContext } from "node:vm";
import { afterAll, beforeAll, expect, test } from "vitest";
import { workflowCode } from "../../workflows/host/workflow-code.ts";
import { openWorkshop, type Workshop } from "./build-source.ts";

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

test("a platform that was packed by hand is left out of the lockfile as well, and its types are the builder's", async () => {
  const packed = "file:../isotope-platform-0.1.0.tgz";
  const source = {
    "package.json": JSON.stringify({ dependencies: { "@isotope/platform": packed, ms: "^2.0.0" } }),
    "package-lock.json": JSON.stringify({
      name: "shop",
      lockfileVersion: 3,
      packages: {
        "": { name: "shop", dependencies: { "@isotope/platform": packed, ms: "^2.0.0" } },
        "node_modules/@isotope/platform": {
          version: "0.1.0",
          resolved: packed,
          integrity: "sha512-AAAA",
          dependencies: { "left-pad": "1.3.0" },
        },
        "node_modules/left-pad": {
          version: "1.3.0",
          resolved: "https://registry.npmjs.org/left-pad/-/left-pad-1.3.0.tgz",
          integrity:
            "sha512-XI5MPzVNApjAyhQzphX8BkmKsKUxD4LdyK24iZeQGinBN9yTQT3bFlCBy/aVx2HrNcqQGsdot8ghrjyrvMCoEA==",
        },
        "node_modules/ms": {
          version: "2.1.2",
          resolved: "https://registry.npmjs.org/ms/-/ms-2.1.2.tgz",
          integrity:
            "sha512-sGkPx+VjMtmA6MX27oA4FBFELFCZZ4S4XqeGOXCv68tT+jb3vk/RyaKWP0PTKyWtmLSM0b+adUTEvbs1PEaH2w==",
        },
      },
    }),
    "index.ts": `import { version } from "ms/package.json"; ${WORKFLOW} console.log(version);`,
  };
  const built = await workshop.build(source);
  expect(built.log.join("\n")).not.toContain("left-pad");
  expect(built.result).toMatchObject({ outcome: "succeeded" });
  expect(String(built.files.get("index.js"))).toContain("2.1.2");
  const typed = `import type { WorkflowConfig } from "@isotope/platform/workflows"; ${WORKFLOW}
    export const config = { rout: "/orders" } satisfies WorkflowConfig;`;
  const checked = await workshop.build({ ...source, "index.ts": typed }, { typeCheck: true });
  expect(checked.result).toMatchObject({ outcome: "failed", message: expect.stringContaining("'rout'") });
  const right = await workshop.build(
    { ...source, "index.ts": typed.replace("rout:", "route:") },
    { typeCheck: true },
  );
  expect(right.log.join("\n")).not.toContain("error");
  expect(right.result).toMatchObject({ outcome: "succeeded" });
}, 300_000);

test("the types of the platform cannot be imported as values", async () => {
  const built = await workshop.build(
    'import { Context } from "@isotope/platform"; export default () => new Response(String(Context));',
  );
  expect(built.result).toMatchObject({
    outcome: "failed",
    message: expect.stringContaining("it holds types only"),
  });
});
