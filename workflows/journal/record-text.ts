import type { RunFacts, RunRecord, RunStatus } from "../core/run-record.ts";

/**
 * A record as the store keeps it: facts, which never change and are written once; the state, which each commit writes anew; and what the store itself
 * reads or sets (version, status, times), which is in neither text.
 */
type State = Omit<RunRecord, "facts" | "version" | "status" | "startedAt" | "updatedAt" | "finishedAt">;

export interface StoredRecord {
  readonly version: string;
  readonly status: string;
  readonly startedAt: string;
  readonly updatedAt: string;
  /** Empty while it runs. */
  readonly finishedAt: string;
  readonly facts: string;
  readonly state: string;
}

export function stateText(record: RunRecord): string {
  const {
    facts: _f,
    version: _v,
    status: _s,
    startedAt: _a,
    updatedAt: _u,
    finishedAt: _e,
    ...state
  } = record;
  return JSON.stringify(state);
}

export function readRecord(stored: StoredRecord): RunRecord {
  return {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- written by this code alone
    ...(JSON.parse(stored.state) as State),
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- written by this code alone
    facts: JSON.parse(stored.facts) as RunFacts,
    version: Number(stored.version),
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- written by this code alone
    status: stored.status as RunStatus,
    startedAt: Number(stored.startedAt),
    updatedAt: Number(stored.updatedAt),
    ...(stored.finishedAt !== "" && { finishedAt: Number(stored.finishedAt) }),
  };
}

/** Open tokens as the scripts look for them: `;e<effect>;t<timer>;`, and `a<effect>#<attempt>;` for each that is not at its first attempt. */
export function openText(record: Pick<RunRecord, "effects" | "timers">): string {
  const tokens = [
    ...Object.keys(record.effects).map((token) => `e${token}`),
    ...Object.values(record.effects).flatMap(({ token, attempt }) =>
      attempt === 1 ? [] : [`a${token}#${attempt}`],
    ),
    ...Object.keys(record.timers).map((token) => `t${token}`),
  ];
  return tokens.length === 0 ? "" : `;${tokens.join(";")};`;
}

/** Events that it takes now, one a line: any before the first transition, none once its end is settled. The same rule as `unacceptable` in core. */
export function acceptsText(record: Pick<RunRecord, "accepts" | "ending" | "snapshot">): string {
  if (record.snapshot === "") return "*";
  return record.ending === undefined ? record.accepts.join("\n") : "";
}
