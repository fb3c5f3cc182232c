import { expect, it } from "vitest";
import { StepError, testWorkflow } from "../../sdk/testing.ts";
import type { CodeDefinition } from "../../workflows/definition/code-definition.ts";
import { bundleWorkflow } from "./workflow-bundle.ts";

/** The examples in virtual time, as their authors would test them. */
async function example(name: string): Promise<CodeDefinition> {
  const code = await bundleWorkflow(`export { default } from "./examples/workflows/${name}.ts";`);
  const module = (await import(`data:text/javascript,${encodeURIComponent(code)}`)) as {
    default: CodeDefinition;
  };
  return module.default;
}

const order = { order: "1", items: ["lamp"], amount: 900, card: "4242", country: "Portugal" };
const shop = {
  "reserve-stock": () => ({ reservation: "rs" }),
  "release-stock": () => ({}),
  "charge-card": () => ({ charge: "ch", amount: 900 }),
  "refund-card": () => ({}),
  "ship-order": () => ({ tracking: "tr" }),
};

it("onboarding reminds after days and weeks, and leaves whoever does nothing for a month alone", async () => {
  const sent: string[] = [];
  const functions = { "send-mail": ({ template }: { template: string }) => sent.push(template) };
  const run = testWorkflow(await example("onboarding"), { functions });
  await run.start({ mail: "ada@example.com" });
  expect(sent).toEqual(["welcome"]);
  await run.advance("71h");
  expect(sent).toEqual(["welcome"]);
  await run.advance("1h");
  expect(sent).toEqual(["welcome", "first-project"]);
  await run.advance("7d");
  expect(sent).toEqual(["welcome", "first-project", "need-help"]);
  expect(run.states).toEqual(["new.veryQuiet"]);
  await run.advance("20d");
  expect({ status: run.status, output: run.output }).toEqual({
    status: "succeeded",
    output: { active: false },
  });
});

it("onboarding asks two weeks after the first project", async () => {
  const sent: string[] = [];
  const functions = { "send-mail": ({ template }: { template: string }) => sent.push(template) };
  const run = testWorkflow(await example("onboarding"), { functions });
  await run.start({ mail: "ada@example.com" });
  await run.advance("1d");
  await run.send({ type: "PROJECT_CREATED", project: "p1" });
  await run.advance("60d");
  expect(sent).toEqual(["welcome", "congratulations", "survey"]);
  expect(run.output).toEqual({ active: true });
});

it("order that nobody approves for three days is undone", async () => {
  const run = testWorkflow(await example("order"), { functions: shop });
  await run.start(order);
  expect(run.states).toEqual(["waitingForApproval"]);
  await run.advance("71h");
  expect(run.status).toBe("running");
  await run.advance("2h");
  expect(run.status).toBe("failed");
  expect(run.error?.message).toContain("nobody approved in time");
  expect(run.calls.map(({ function: name }) => name)).toEqual([
    "reserve-stock",
    "charge-card",
    "refund-card",
    "release-stock",
  ]);
});

it("order goes on asking a carrier that does not answer, and is undone when it never does", async () => {
  const carrier = {
    "ship-order": () => {
      throw new StepError("Fission.FunctionError", "the carrier is down");
    },
  };
  const run = testWorkflow(await example("order"), { functions: { ...shop, ...carrier } });
  await run.start({ ...order, amount: 10 });
  await run.advance("1h");
  expect(run.calls.filter(({ function: name }) => name === "ship-order")).toHaveLength(10);
  expect(run.calls.slice(-2).map(({ function: name }) => name)).toEqual(["refund-card", "release-stock"]);
});

it("export pauses longer and longer, a minute at most", async () => {
  let asked = 0;
  const run = testWorkflow(await example("export"), {
    functions: {
      "start-export": () => ({ startedAt: 0, takesMs: 1 }),
      "export-status": () =>
        ++asked < 20 ? { status: "running", percent: asked } : { status: "done", url: "u" },
    },
  });
  await run.start({ takesMs: 1 });
  await run.advance("10m");
  expect(asked).toBeLessThan(20);
  await run.advance("10m");
  expect(run.output).toEqual({ url: "u", asked: 20 });
});

it("agent gives up after twenty calls of tools", async () => {
  const run = testWorkflow(await example("agent"), {
    functions: {
      "next-step": () => ({ tool: "price", input: { article: "unicorn" } }),
      price: () => {
        throw new StepError("UnknownArticle");
      },
    },
  });
  await run.start({ question: "What does a unicorn cost?" });
  await run.advance("1d");
  expect(run.output).toEqual({ answer: "No answer was found", turns: 20 });
});
