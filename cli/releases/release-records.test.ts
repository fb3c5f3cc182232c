import { describe, expect, it } from "vitest";
import type { CanaryConfig, CanaryDecision } from "../../api/kinds/index.ts";
import { recordsText, releaseRecords } from "./release-records.ts";

const at = (minute: number, second = 0): string =>
  new Date(Date.UTC(2026, 4, 4, 10, minute, second)).toISOString();
const side = (name: string) => ({ name, function: "price", uid: "u", revision: name });
const decision = (
  when: string,
  action: CanaryDecision["action"],
  weight: number,
  sentence: string,
): CanaryDecision => ({ at: when, action, weight, sentence });

const status: CanaryConfig["status"] = {
  old: side("price-v2"),
  new: side("price-v4"),
  phase: "progressing",
  startedAt: at(20),
  sentence: "price-v4 gets 10 %",
  past: [
    {
      old: "price-v1",
      new: "price-v2",
      phase: "succeeded",
      startedAt: at(0),
      finishedAt: at(1, 10),
      sentence: "all good",
    },
    {
      old: "price-v2",
      new: "price-v3",
      phase: "failed",
      startedAt: at(10),
      finishedAt: at(10, 20),
      sentence: "too slow",
    },
  ],
  decisions: [
    decision(at(10), "start", 0, "begins"),
    decision(at(10, 20), "rollback", 0, "too slow"),
    decision(at(20), "start", 0, "begins again"),
    decision(at(20, 1), "weight", 10, "price-v4 gets 10 %"),
  ],
};

describe("what a release was", () => {
  it("is told of the present one and of those before, with their own decisions, the newest first", () => {
    const records = releaseRecords({ status });
    expect(records.map((record) => [record.new, record.phase, record.decisions.length])).toEqual([
      ["price-v4", "progressing", 2],
      ["price-v3", "failed", 2],
      ["price-v2", "succeeded", 0],
    ]);
    expect(recordsText(records)).toBe(`price-v4 in place of price-v2: progressing
  2026-05-04T10:20:00.000Z  start      0 %  begins again
  2026-05-04T10:20:01.000Z  weight    10 %  price-v4 gets 10 %

price-v3 in place of price-v2: failed after 20s
  2026-05-04T10:10:00.000Z  start      0 %  begins
  2026-05-04T10:10:20.000Z  rollback   0 %  too slow

price-v2 in place of price-v1: succeeded after 1m 10s
  2026-05-04T10:00:00.000Z  all good
`);
  });

  it("is nothing before it begins", () => {
    expect(releaseRecords({})).toEqual([]);
    expect(releaseRecords({ status: { phase: "waiting", sentence: "HTTPTrigger does not exist" } })).toEqual(
      [],
    );
  });
});
