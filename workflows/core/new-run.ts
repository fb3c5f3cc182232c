import type { Change } from "./change.ts";
import type { RunFacts } from "./run-record.ts";

/** A run before its first transition, which a worker makes. Times are set by the store. */
export function newRun(facts: RunFacts, deadlineAt?: number): Change {
  return {
    record: {
      facts,
      version: 1,
      status: "running",
      snapshot: "",
      states: [],
      accepts: [],
      effects: {},
      timers: {},
      transition: 0,
      startedAt: 0,
      updatedAt: 0,
      ...(deadlineAt !== undefined && { deadlineAt }),
      buffered: [],
      compensations: [],
    },
    history: [{ type: "started", transition: 0, payload: facts.input, note: facts.startedBy }],
  };
}
