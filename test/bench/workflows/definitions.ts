import type { CodeSource } from "../../../workflows/host/definition-host.ts";
import { workflowCode } from "../../../workflows/host/workflow-code.ts";
import { bundleWorkflow } from "../../workflows/workflow-bundle.ts";

/** Calls `add` until it has been done `steps` times; about 1 KB of state. */
export const STEPS = `
import { assign, setup } from "xstate";
import { defineWorkflow, fn } from "@isotope/platform/workflows";
const machine = setup({
  types: { input: {} as { steps: number }, context: {} as { n: number; steps: number; order: string } },
  actors: { add: fn<{ n: number }, { n: number }>("add", { timeout: "1m", retry: { attempts: 3 } }) },
}).createMachine({
  id: "steps",
  context: ({ input }) => ({ n: 0, steps: input.steps, order: "x".repeat(800) }),
  initial: "step",
  states: {
    step: {
      invoke: {
        src: "add",
        id: "add",
        input: ({ context }) => ({ n: context.n }),
        onDone: { target: "more", actions: assign({ n: ({ event }) => event.output.n }) },
      },
    },
    more: { always: [{ guard: ({ context }) => context.n < context.steps, target: "step" }, { target: "done" }] },
    done: { type: "final" },
  },
  output: ({ context }) => ({ n: context.n }),
});
export default defineWorkflow({ machine });
`;

const TIMER = `
import { setup } from "xstate";
import { defineWorkflow } from "@isotope/platform/workflows";
const machine = setup({}).createMachine({
  id: "timer",
  initial: "pause",
  states: { pause: { after: { 6000: "done" } }, done: { type: "final" } },
});
export default defineWorkflow({ machine });
`;

/** One step over `items` numbers with 200 characters each, then their sum. */
const mapOf = (maxConcurrency: number): string => `
import { assign, setup } from "xstate";
import { defineWorkflow, fn, map } from "@isotope/platform/workflows";
const machine = setup({
  types: { input: {} as { items: number }, context: {} as { items: number; sum: number } },
  actors: { add: map(fn<{ n: number; text: string }, { n: number }>("add"), { maxConcurrency: ${maxConcurrency} }) },
}).createMachine({
  id: "map",
  context: ({ input }) => ({ items: input.items, sum: 0 }),
  initial: "all",
  states: {
    all: {
      invoke: {
        src: "add",
        id: "add",
        input: ({ context }) => Array.from({ length: context.items }, (_, n) => ({ n, text: "x".repeat(200) })),
        onDone: { target: "done", actions: assign({ sum: ({ event }) => event.output.reduce((sum, { n }) => sum + n, 0) }) },
      },
    },
    done: { type: "final" },
  },
  output: ({ context }) => ({ sum: context.sum }),
});
export default defineWorkflow({ machine });
`;

const MODULES = { steps: STEPS, timer: TIMER, map: mapOf(64), "fan-in": mapOf(1_000) };
export type BenchWorkflow = keyof typeof MODULES;

/** All of them, as the definition host takes them. */
export async function benchCode(): Promise<Record<string, CodeSource>> {
  const entries = Object.entries(MODULES).map(
    async ([name, module]) => [name, await workflowCode(await bundleWorkflow(module), "default")] as const,
  );
  return Object.fromEntries(await Promise.all(entries));
}
