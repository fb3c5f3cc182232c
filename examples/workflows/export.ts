import { defineWorkflow, fn } from "@isotope/platform/workflows";
import { assign, setup } from "xstate";

/** A poller: starts an export at a service that cannot call back, and asks for it, less and less often, until it is there. */
interface Export {
  startedAt: number;
  takesMs: number;
}
type Status = { status: "running"; percent: number } | { status: "done"; url: string };

const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 60_000;

const machine = setup({
  types: {
    input: {} as { takesMs: number },
    context: {} as { takesMs: number; asked: number; export?: Export; url?: string },
    output: {} as { url: string; asked: number },
  },
  actors: {
    start: fn<{ takesMs: number }, Export>("start-export"),
    ask: fn<Export, Status>("export-status", { retry: 10, timeout: "10s" }),
  },
  delays: { pause: ({ context }) => Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (context.asked - 1)) },
}).createMachine({
  id: "export",
  context: ({ input }) => ({ takesMs: input.takesMs, asked: 0 }),
  initial: "starting",
  states: {
    starting: {
      invoke: {
        src: "start",
        input: ({ context }) => ({ takesMs: context.takesMs }),
        onDone: { target: "asking", actions: assign({ export: ({ event }) => event.output }) },
      },
    },
    asking: {
      invoke: {
        src: "ask",
        input: ({ context }) => context.export ?? { startedAt: 0, takesMs: 0 },
        onDone: [
          {
            guard: ({ event }) => event.output.status === "done",
            target: "done",
            actions: assign({
              asked: ({ context }) => context.asked + 1,
              url: ({ event }) => (event.output.status === "done" ? event.output.url : ""),
            }),
          },
          { target: "pausing", actions: assign({ asked: ({ context }) => context.asked + 1 }) },
        ],
      },
    },
    pausing: { after: { pause: "asking" } },
    done: { type: "final" },
  },
  output: ({ context }) => ({ url: context.url ?? "", asked: context.asked }),
});

export default defineWorkflow({ id: "export", timeout: "1d", machine });
