import { beforeEach, describe, expect, it } from "vitest";
import { runFacts } from "../../test/workflows/run-facts.ts";
import { newRun } from "../core/new-run.ts";
import type { RunStatus } from "../core/run-record.ts";
import type { Journal } from "../journal/journal.ts";
import { memoryJournal } from "../journal/memory-journal.ts";
import { retentionPolicy } from "./clean-regularly.ts";
import { DEFAULT_RETENTION, type RetentionPolicy, removeEnded } from "./remove-ended.ts";

const HOUR_MS = 3_600_000;

describe("removing ended runs", () => {
  let now: number;
  let journal: Journal;
  beforeEach(() => {
    now = 1_700_000_000_000;
    journal = memoryJournal({ now: () => now });
  });

  async function run(id: string, status: RunStatus, workflow = "order", namespace = "shop"): Promise<void> {
    const { record } = newRun(runFacts(id, null, { workflow, key: { namespace, id } }));
    await journal.create(record, []);
    if (status === "running") return;
    const claim = await journal.claim(record.facts.key, "w", 1_000);
    if (claim.kind !== "claimed") throw new Error(claim.kind);
    await journal.commit(claim.lease, {
      expectedVersion: 1,
      record: { ...claim.record, status },
      history: [],
      taken: [],
      release: true,
      closedMaps: [],
    });
  }
  const clean = (
    policy: Partial<RetentionPolicy>,
    of: Record<string, RetentionPolicy> = {},
  ): Promise<number> =>
    removeEnded({
      journal,
      policyOf: (_, workflow) => of[workflow] ?? { ...DEFAULT_RETENTION, ...policy },
    });
  const left = async (namespace = "shop"): Promise<string[]> =>
    (await journal.list({ namespace, limit: 5_000 })).runs.map(({ key }) => key.id).toSorted();

  it("takes those older than the age, however they ended, and no running one", async () => {
    await run("old-running", "running");
    for (const status of ["succeeded", "failed", "cancelled", "timed-out", "terminated"] as const)
      await run(`old-${status}`, status);
    now += 2 * HOUR_MS;
    await run("young", "succeeded");
    expect(await clean({ maxAgeMs: HOUR_MS })).toBe(5);
    expect(await left()).toEqual(["old-running", "young"]);
  });

  it("counts the age from the end, not from the start", async () => {
    const { record } = newRun(runFacts("long"));
    await journal.create(record, []);
    now += 5 * HOUR_MS;
    await run("long", "succeeded");
    expect(await clean({ maxAgeMs: HOUR_MS })).toBe(0);
  });

  it("keeps the newest of each workflow beyond its count, over many pages", async () => {
    for (let n = 0; n < 1_200; n++) {
      now += 1;
      await run(`r${String(n).padStart(4, "0")}`, n % 2 === 0 ? "succeeded" : "failed");
    }
    for (let n = 0; n < 5; n++) await run(`other-${n}`, "succeeded", "other");
    expect(await clean({ maxCount: 700 }, { other: { ...DEFAULT_RETENTION, maxCount: 2 } })).toBe(503);
    const kept = await left();
    expect(kept.filter((id) => id.startsWith("r"))).toEqual(
      Array.from({ length: 700 }, (_, n) => `r${String(n + 500).padStart(4, "0")}`),
    );
    expect(kept.filter((id) => id.startsWith("other"))).toHaveLength(2);
  });

  it("finds what has ended in every namespace, whether or not a Workflow is left there", async () => {
    await run("a", "succeeded", "order", "elsewhere");
    await run("b", "running", "order", "elsewhere");
    now += 2 * HOUR_MS;
    expect(await clean({ maxAgeMs: HOUR_MS })).toBe(1);
    expect(await left("elsewhere")).toEqual(["b"]);
  });

  it("reads what a Workflow says", () => {
    expect(retentionPolicy(undefined)).toEqual(DEFAULT_RETENTION);
    expect(retentionPolicy({ maxAge: "36h" })).toEqual({ ...DEFAULT_RETENTION, maxAgeMs: 36 * HOUR_MS });
    expect(retentionPolicy({ maxCount: 3 })).toEqual({ ...DEFAULT_RETENTION, maxCount: 3 });
  });
});
