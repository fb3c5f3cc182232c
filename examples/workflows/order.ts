import { compensate, defineWorkflow, duration, fn } from "@isotope/platform/workflows";
import { assign, setup } from "xstate";
import { z } from "zod";

/**
 * An order as a saga: stock is reserved and the card charged; large orders wait up to three days for somebody who approves; then the order is shipped. When something
 * fails on the way, what was done is undone in reverse order: the charge is given back, the stock released.
 */
const Order = z.object({
  order: z.string(),
  items: z.array(z.string()).min(1),
  amount: z.number().positive(),
  card: z.string(),
  country: z.string(),
});
type Order = z.infer<typeof Order>;

const events = {
  APPROVE: z.object({ by: z.string() }),
  REJECT: z.object({ by: z.string(), reason: z.string() }),
};
type Approval = { type: "APPROVE"; by: string } | { type: "REJECT"; by: string; reason: string };

const APPROVAL_ABOVE = 500;

const machine = setup({
  types: {
    input: {} as Order,
    context: {} as Order & { charge?: string; tracking?: string; refused?: string },
    events: {} as Approval,
    output: {} as { order: string; charge: string; tracking: string },
  },
  actors: {
    reserve: compensate(
      fn<{ items: string[] }, { reservation: string }>("reserve-stock"),
      fn<{ output: { reservation: string } }>("release-stock", { retry: 20 }),
    ),
    charge: compensate(
      fn<{ card: string; amount: number }, { charge: string; amount: number }>("charge-card", {
        retry: { attempts: 5, base: "200ms" },
        timeout: "30s",
      }),
      fn<{ output: { charge: string; amount: number } }>("refund-card", { retry: 20 }),
    ),
    ship: fn<{ order: string; country: string }, { tracking: string }>("ship-order", { retry: 10 }),
  },
  guards: { needsApproval: ({ context }) => context.amount > APPROVAL_ABOVE },
  delays: { approvalTime: duration("3d") },
}).createMachine({
  id: "order",
  context: ({ input }) => ({ ...input }),
  initial: "reserving",
  states: {
    reserving: {
      invoke: {
        src: "reserve",
        input: ({ context }) => ({ items: context.items }),
        onDone: "charging",
      },
    },
    charging: {
      invoke: {
        src: "charge",
        input: ({ context: { card, amount } }) => ({ card, amount }),
        onDone: { target: "checking", actions: assign({ charge: ({ event }) => event.output.charge }) },
      },
    },
    checking: { always: [{ guard: "needsApproval", target: "waitingForApproval" }, { target: "shipping" }] },
    waitingForApproval: {
      on: {
        APPROVE: "shipping",
        REJECT: {
          target: "refused",
          actions: assign({ refused: ({ event }) => `rejected: ${event.reason}` }),
        },
      },
      after: { approvalTime: { target: "refused", actions: assign({ refused: "nobody approved in time" }) } },
    },
    shipping: {
      invoke: {
        src: "ship",
        input: ({ context: { order, country } }) => ({ order, country }),
        onDone: { target: "shipped", actions: assign({ tracking: ({ event }) => event.output.tracking }) },
      },
    },
    shipped: { type: "final" },
    refused: {
      // What throws fails the run, as does a step that fails without onError: what was done is undone.
      entry: ({ context }) => {
        throw new Error(`The order was refused: ${context.refused}`);
      },
    },
  },
  output: ({ context: { order, charge = "", tracking = "" } }) => ({ order, charge, tracking }),
});

export default defineWorkflow({ id: "order", input: Order, events, timeout: "7d", machine });
