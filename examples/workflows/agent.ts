import { defineWorkflow, failure, fn } from "@isotope/platform/workflows";
import { assign, setup } from "xstate";

/** An agent: asks a model what to do next, calls the tool that it names, and tells it what came of it, until it has the answer or has tried for long enough. */
interface Turn {
  tool: string;
  input: unknown;
  output: unknown;
}
type Step = { tool: "calculate" | "price"; input: Record<string, unknown> } | { answer: string };

interface Memory {
  question: string;
  turns: Turn[];
  next?: Step;
}

const MOST_TURNS = 20;

/** What was done, with what came of it. */
const noted = ({ turns, next }: Memory, output: unknown): Turn[] =>
  next && "tool" in next ? [...turns, { ...next, output }] : turns;

const machine = setup({
  types: {
    input: {} as { question: string },
    context: {} as Memory,
    output: {} as { answer: string; turns: number },
  },
  actors: {
    think: fn<{ question: string; turns: Turn[] }, Step>("next-step", {
      timeout: "2m",
      retry: { attempts: 8, base: "2s", cap: "1m" },
    }),
    calculate: fn<Record<string, unknown>>("calculate"),
    price: fn<Record<string, unknown>>("price"),
  },
  guards: {
    answered: ({ context }) => context.next !== undefined && "answer" in context.next,
    tooLong: ({ context }) => context.turns.length >= MOST_TURNS,
    wants: ({ context }, { tool }: { tool: string }) =>
      context.next !== undefined && "tool" in context.next && context.next.tool === tool,
  },
}).createMachine({
  id: "agent",
  context: ({ input }) => ({ question: input.question, turns: [] }),
  initial: "thinking",
  states: {
    thinking: {
      invoke: {
        src: "think",
        input: ({ context: { question, turns } }) => ({ question, turns }),
        onDone: { target: "choosing", actions: assign({ next: ({ event }) => event.output }) },
      },
    },
    choosing: {
      always: [
        { guard: "answered", target: "done" },
        { guard: "tooLong", target: "done" },
        { guard: { type: "wants", params: { tool: "calculate" } }, target: "calculating" },
        { guard: { type: "wants", params: { tool: "price" } }, target: "pricing" },
        {
          target: "thinking",
          actions: assign({ turns: ({ context }) => noted(context, { error: "there is no such tool" }) }),
        },
      ],
    },
    calculating: {
      invoke: {
        src: "calculate",
        input: ({ context }) => (context.next && "tool" in context.next ? context.next.input : {}),
        onDone: {
          target: "thinking",
          actions: assign({ turns: ({ context, event }) => noted(context, event.output) }),
        },
        onError: {
          target: "thinking",
          actions: assign({ turns: ({ context, event }) => noted(context, { error: failure(event).type }) }),
        },
      },
    },
    pricing: {
      invoke: {
        src: "price",
        input: ({ context }) => (context.next && "tool" in context.next ? context.next.input : {}),
        onDone: {
          target: "thinking",
          actions: assign({ turns: ({ context, event }) => noted(context, event.output) }),
        },
        onError: {
          target: "thinking",
          actions: assign({ turns: ({ context, event }) => noted(context, { error: failure(event).type }) }),
        },
      },
    },
    done: { type: "final" },
  },
  output: ({ context: { next, turns } }) => ({
    answer: next && "answer" in next ? next.answer : "No answer was found",
    turns: turns.length,
  }),
});

export default defineWorkflow({ id: "agent", machine });
