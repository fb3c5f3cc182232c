import type { RunRecord } from "../../../workflows/core/run-record.ts";
import type { Journal } from "../../../workflows/journal/journal.ts";
import { effect, newRecord } from "../../workflows/journal-suite.ts";
import { cpuTime, totalMs } from "../process-usage.ts";
import { percentile, printTable } from "../report.ts";
import { benchWorld, type Fsync } from "./bench-world.ts";

/** A record as a run in the middle of an order has it: 1 KB of snapshot, one open step. */
export const middle = (record: RunRecord, transition: number): RunRecord => ({
  ...record,
  snapshot: JSON.stringify({ value: "charging", context: { order: "x".repeat(900), transition } }),
  states: ["charging"],
  effects: { [`${transition}.0`]: effect(`${transition}.0`) },
  transition,
});

/** Commits one after the other by `lanes` runs at once; gives the ms of each, and all of them. */
export async function commits(
  journal: Journal,
  lanes: number,
  each: number,
): Promise<{ times: number[]; wholeMs: number }> {
  const times: number[] = [];
  const lane = async (): Promise<void> => {
    const { record } = await journal.create(newRecord(), []);
    const claim = await journal.claim(record.facts.key, "bench", 60_000);
    if (claim.kind !== "claimed") throw new Error(claim.kind);
    for (let n = 1; n <= each; n++) {
      const history = [
        {
          type: "effect-completed" as const,
          transition: n,
          token: `${n}.0`,
          payload: { value: { ok: true } },
        },
        { type: "transition" as const, transition: n, state: "charging" },
        { type: "effect-scheduled" as const, transition: n, token: `${n + 1}.0`, actor: "charge" },
      ];
      const from = performance.now();
      const answer = await journal.commit(claim.lease, {
        expectedVersion: n,
        record: middle(record, n),
        history,
        taken: [],
        release: false,
        closedMaps: [],
      });
      if (answer.kind !== "committed") throw new Error(answer.kind);
      times.push(performance.now() - from);
    }
  };
  const from = performance.now();
  await Promise.all(Array.from({ length: lanes }, lane));
  return { times, wholeMs: performance.now() - from };
}

export async function benchCommits(fsync: Fsync): Promise<void> {
  const { journal, server, stop } = await benchWorld(fsync);
  await commits(journal, 4, 100);
  const rows = [
    ["one commit (1 KB of state, 3 lines of history)", "p50 ms", "p99 ms", "a second", "CPU of Redis µs"],
  ];
  for (const lanes of [1, 16, 64]) {
    const before = totalMs(cpuTime(server.pid()));
    const { times, wholeMs } = await commits(journal, lanes, Math.max(50, 3_000 / lanes));
    const cpuMs = totalMs(cpuTime(server.pid())) - before;
    rows.push([
      `c = ${lanes}`,
      percentile(times, 0.5).toFixed(2),
      percentile(times, 0.99).toFixed(2),
      String(Math.round((times.length * 1_000) / wholeMs)),
      String(Math.round((cpuMs * 1_000) / times.length)),
    ]);
  }
  printTable(rows);
  await stop();
}
