import type { Json } from "../../../workflows/core/json.ts";
import { formatDefinition } from "../../../workflows/format/format-definition.ts";

const task = (next: string) => ({ type: "Task", function: { type: "name", name: "add" }, next });
const branch = (name: string) => ({
  startAt: name,
  states: { [name]: { type: "Task", function: { type: "name", name: "add" }, end: true } },
});

/** Two steps, a durable timer, two steps at once, one step over both results. The timer is short: its worker waits for it with the run in hand. */
export const chain = formatDefinition("chain", {
  startAt: "First",
  states: {
    First: task("Second"),
    Second: task("Pause"),
    Pause: { type: "Wait", duration: "50ms", next: "Both" },
    Both: { type: "Parallel", branches: [branch("Left"), branch("Right")], next: "Last" },
    Last: { type: "Task", function: { type: "name", name: "add" }, end: true },
  },
});
export const CHAIN_STEPS = 5;
export const CHAIN_OUTPUT = { n: 7 };

/** The function behind all steps: adds one to a number, or to the sum of several. */
export function add(input: Json): Json {
  const numbers = (Array.isArray(input) ? input : [input]).map((part) => Number(Object(part).n));
  return { n: numbers.reduce((sum, n) => sum + n, 0) + 1 };
}

/** Goes round until `n` has reached 20. */
export const round = formatDefinition("round", {
  startAt: "Step",
  states: {
    Step: task("More"),
    More: {
      type: "Choice",
      choices: [{ variable: "$.n", numericLessThan: 20, next: "Step" }],
      default: "Done",
    },
    Done: { type: "Succeed" },
  },
});
export const ROUND_STEPS = 20;
