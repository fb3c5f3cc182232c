import { defineWorkflow, duration, fn } from "@isotope/platform/workflows";
import { assign, setup } from "xstate";
import { z } from "zod";

/**
 * A newcomer over several weeks: welcomed at once, reminded after three days and after a week of doing nothing, asked how it goes two weeks after the first
 * project; whoever does nothing for thirty days is left alone, whoever leaves at any time too.
 */
const events = { PROJECT_CREATED: z.object({ project: z.string() }), ACCOUNT_CLOSED: z.object({}) };
const template = (name: string) => ({
  src: "mail" as const,
  input: ({ context }: { context: { mail: string } }) => ({ to: context.mail, template: name }),
});

const machine = setup({
  types: {
    input: {} as { mail: string },
    context: {} as { mail: string; active: boolean },
    events: {} as { type: "PROJECT_CREATED"; project: string } | { type: "ACCOUNT_CLOSED" },
    output: {} as { active: boolean },
  },
  actors: { mail: fn<{ to: string; template: string }, { sent: string }>("send-mail", { retry: 10 }) },
  delays: {
    firstReminder: duration("3d"),
    secondReminder: duration("7d"),
    patience: duration("30d"),
    survey: duration("14d"),
  },
}).createMachine({
  id: "onboarding",
  context: ({ input }) => ({ mail: input.mail, active: false }),
  initial: "new",
  on: { ACCOUNT_CLOSED: ".left" },
  states: {
    new: {
      initial: "welcoming",
      on: { PROJECT_CREATED: "active" },
      after: { patience: "left" },
      states: {
        welcoming: { invoke: { ...template("welcome"), onDone: "quiet" } },
        quiet: { after: { firstReminder: "reminding" } },
        reminding: { invoke: { ...template("first-project"), onDone: "stillQuiet" } },
        stillQuiet: { after: { secondReminder: "remindingAgain" } },
        remindingAgain: { invoke: { ...template("need-help"), onDone: "veryQuiet" } },
        veryQuiet: {},
      },
    },
    active: {
      initial: "congratulating",
      states: {
        congratulating: { invoke: { ...template("congratulations"), onDone: "working" } },
        working: { after: { survey: "surveying" } },
        surveying: { invoke: { ...template("survey"), onDone: "#onboarding.settled" } },
      },
    },
    settled: { type: "final", entry: assign({ active: true }) },
    left: { type: "final" },
  },
  output: ({ context }) => ({ active: context.active }),
});

export default defineWorkflow({ id: "onboarding", events, machine });
