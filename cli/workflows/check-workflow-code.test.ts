import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { checkWorkflowCode } from "./check-workflow-code.ts";

const folder = mkdtempSync(join(tmpdir(), "isotope-code-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const check = (source: string, exported = "default") => {
  const file = join(folder, "order.ts");
  writeFileSync(file, source);
  return checkWorkflowCode(file, exported);
};
const workflow = (states: string, before = "") => `${before}
import { setup } from "xstate";
import { defineWorkflow, fn } from "@isotope/platform/workflows";
const machine = setup({ actors: { charge: fn("charge-card") } }).createMachine({ id: "order", initial: "a", states: ${states} });
export default defineWorkflow({ machine });
`;
const GOOD = '{ a: { invoke: { src: "charge", onDone: "b" } }, b: { type: "final" } }';

it("finds nothing in a sound workflow, and which functions it calls", async () => {
  expect(await check(workflow(GOOD))).toEqual({
    problems: [],
    functions: [{ place: "actors.charge", name: "charge-card" }],
  });
});

it("names the place of what is wrong, in the machine and in the file", async () => {
  const { problems } = await check(workflow('{ a: { after: { soon: "b" } }, b: { type: "final" }, c: {} }'));
  expect(problems.map(({ place }) => place)).toEqual(["c", "a.after.soon"]);
  expect(
    (await check(workflow(GOOD, 'import { x } from "./nowhere.ts"; console.log(x);'))).problems,
  ).toMatchObject([{ place: "order.ts:1:19", message: expect.stringContaining("./nowhere.ts") }]);
  expect(
    (await check(workflow(GOOD, 'import { readFileSync } from "node:fs"; console.log(readFileSync);')))
      .problems,
  ).toMatchObject([{ message: expect.stringContaining('imports "node:fs"') }]);
  expect((await check('import pad from "left-pad"; export default pad;')).problems).toEqual([
    {
      place: "order.ts:1:17",
      message: 'there is no package "left-pad" here: install it with `npm install left-pad`',
    },
  ]);
  expect((await check(`${workflow(GOOD)} const`)).problems).toMatchObject([{ place: "order.ts:6:7" }]);
  expect((await check(workflow(GOOD.replace('"b"', '"nowhere"')))).problems).toEqual([
    {
      place: "",
      message: expect.stringMatching(
        /^Invalid transition definition for state node 'order.a': Child state 'nowhere'/,
      ),
    },
  ]);
  expect((await check(workflow(GOOD), "order")).problems).toMatchObject([
    { message: expect.stringContaining("made by defineWorkflow") },
  ]);
});
