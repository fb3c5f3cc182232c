import { beforeEach, describe, expect, it } from "vitest";
import { setup } from "xstate";
import { machineDefinition } from "../../test/workflows/machine-definition.ts";
import { runFacts } from "../../test/workflows/run-facts.ts";
import { newRun } from "../core/new-run.ts";
import type { RunKey, RunRecord } from "../core/run-record.ts";
import { type Definition, DefinitionError } from "../definition/definition.ts";
import type { Journal } from "../journal/journal.ts";
import { memoryJournal } from "../journal/memory-journal.ts";
import { type Runs, runsOf } from "./runs.ts";

const definition = machineDefinition(
  setup({ types: { context: {} as { limit: number } } }).createMachine({
    id: "order",
    context: { limit: 10 },
    initial: "waiting",
    states: {
      waiting: {
        on: {
          approve: { guard: ({ context, event }) => Number(event["amount"]) < context.limit, target: "end" },
          throw: {
            guard: () => {
              throw new TypeError("no such field");
            },
            target: "end",
          },
        },
      },
      end: { type: "final" },
    },
  }),
  {},
);
const KEY: RunKey = { namespace: "shop", id: "r" };

describe("events to runs", () => {
  let journal: Journal;
  let runs: Runs;
  const definitions: { get: () => Promise<Definition> } = { get: async () => definition };
  beforeEach(async () => {
    journal = memoryJournal({ now: () => 1_700_000_000_000 });
    definitions.get = async () => definition;
    runs = runsOf({
      journal,
      definitions: { get: () => definitions.get() },
      deliver: (key, message) => journal.deliver(key, message),
      wake: () => {},
    });
    await journal.create(newRun(runFacts("r")).record, []);
    const { snapshot, states, accepts } = await definition.start(null);
    await change({ snapshot, states, accepts });
  });

  async function change(given: Partial<RunRecord>): Promise<void> {
    // A message makes it due.
    await journal.deliver(KEY, { kind: "cancel", reason: "" });
    const claim = await journal.claim(KEY, "w", 1_000);
    if (claim.kind !== "claimed") throw new Error(claim.kind);
    const { record, lease, inbox } = claim;
    await journal.commit(lease, {
      expectedVersion: record.version,
      record: { ...record, ...given },
      history: [],
      taken: inbox.map(({ position }) => position),
      release: true,
      closedMaps: [],
    });
  }
  const send = (type: string, more: object = {}, buffered = false) =>
    runs.send(KEY, { id: `${type}-${JSON.stringify(more)}`, event: { type, ...more }, buffered });

  it("are taken when the machine would take them now", async () => {
    expect(await send("approve", { amount: 3 })).toMatchObject({ result: "accepted" });
    expect(await send("approve", { amount: 3 })).toMatchObject({ result: "duplicate" });
  });

  it("are refused (409) by name and by guard, and kept when that is asked for", async () => {
    await expect(send("ship")).rejects.toMatchObject({
      code: "event_refused",
      message: 'Run "shop/r" does not take event "ship" now: in state "waiting" it takes "approve", "throw"',
    });
    await expect(send("approve", { amount: 30 })).rejects.toMatchObject({
      code: "event_refused",
      message: 'Run "shop/r" does not take event "approve" now: in state "waiting" its guards say no to it',
    });
    expect(await send("approve", { amount: 30 }, true)).toMatchObject({ result: "accepted" });
  });

  it("that the machine's code fails on are refused (422) instead of failing the run", async () => {
    await expect(send("throw")).rejects.toMatchObject({
      code: "event_invalid",
      status: 422,
      message: expect.stringContaining("no such field"),
    });
  });

  it("to a run that ends or has ended are refused (409) with how it ends, buffered or not", async () => {
    await change({ ending: { status: "cancelled" } });
    for (const buffered of [false, true])
      await expect(send("approve", {}, buffered)).rejects.toMatchObject({
        code: "run_finished",
        message: 'Run "shop/r" is ending: it will be cancelled',
      });
    await change({ status: "timed-out" });
    for (const buffered of [false, true])
      await expect(send("approve", {}, buffered)).rejects.toMatchObject({
        code: "run_finished",
        status: 409,
        message: 'Run "shop/r" has ended: it is timed-out',
      });
  });

  it("that cannot be checked now are not sent, while cancel and terminate never ask the definition", async () => {
    definitions.get = async () => Promise.reject(new DefinitionError("definition_unavailable", "away"));
    await expect(send("approve", { amount: 3 })).rejects.toMatchObject({ code: "workflow_not_ready" });
    expect(await runs.end(KEY, "cancel", "why")).toMatchObject({ status: "running" });
    expect(await runs.end(KEY, "terminate", "why")).toMatchObject({ status: "running" });
    await change({ status: "cancelled" });
    await expect(runs.end(KEY, "cancel", "")).rejects.toMatchObject({ code: "run_finished" });
  });

  it("are refused when they are larger than what a run can hold, or keep", async () => {
    const event = { type: "approve", amount: 1, text: "x".repeat(262_144) };
    const bytes = Buffer.byteLength(JSON.stringify(event));
    await expect(runs.send(KEY, { event, buffered: true })).rejects.toMatchObject({
      code: "payload_too_large",
      message: `Cannot send event "approve" to run "shop/r": one that may be kept must be 262144 bytes of JSON at most, got ${bytes}`,
    });
    expect(await runs.send(KEY, { event, buffered: false })).toMatchObject({ result: "accepted" });
    const huge = { type: "approve", amount: 1, text: "x".repeat(50 * 1_024 * 1_024) };
    await expect(runs.send(KEY, { event: huge, buffered: false })).rejects.toMatchObject({
      code: "payload_too_large",
    });
  });
});
