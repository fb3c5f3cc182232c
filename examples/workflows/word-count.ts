import { defineWorkflow, fn, map } from "@isotope/platform/workflows";
import { assign, setup } from "xstate";

/** Map and reduce: counts the words of up to 10,000 texts, fifty at a time, then adds up. One text in a hundred may be unreadable. */
type Counts = Record<string, number>;
interface Input {
  texts: string[];
  top: number;
}

const machine = setup({
  types: {
    input: {} as Input,
    context: {} as Input & { counts: Counts[]; result?: { texts: number; words: [string, number][] } },
    output: {} as { texts: number; words: [string, number][] },
  },
  actors: {
    count: map(fn<{ text: string }, Counts>("count-words", { retry: 3 }), {
      maxConcurrency: 50,
      tolerated: "1%",
    }),
    sum: fn<{ counts: Counts[]; top: number }, { texts: number; words: [string, number][] }>("sum-counts"),
  },
}).createMachine({
  id: "word-count",
  context: ({ input }) => ({ ...input, counts: [] }),
  initial: "counting",
  states: {
    counting: {
      invoke: {
        src: "count",
        input: ({ context }) => context.texts.map((text) => ({ text })),
        onDone: {
          target: "adding",
          // The texts are not needed any more: what is not in the context is not stored with each step.
          actions: assign({
            texts: [],
            counts: ({ event }) => event.output.filter((counts): counts is Counts => !("error" in counts)),
          }),
        },
      },
    },
    adding: {
      invoke: {
        src: "sum",
        input: ({ context: { counts, top } }) => ({ counts, top }),
        onDone: { target: "done", actions: assign({ counts: [], result: ({ event }) => event.output }) },
      },
    },
    done: { type: "final" },
  },
  output: ({ context }) => context.result ?? { texts: 0, words: [] },
});

export default defineWorkflow({ id: "word-count", machine });
