import type { CanaryConfig, CanaryDecision, CanaryPhase } from "../../api/kinds/index.ts";
import { hasEnded, span } from "./release-view.ts";

/** One release of a function, as its CanaryConfig remembers it. */
export interface ReleaseRecord {
  old: string;
  new: string;
  phase: CanaryPhase;
  startedAt?: string;
  finishedAt?: string;
  /** The last finding. */
  sentence: string;
  /** The oldest first; of releases long ago none may be left. */
  decisions: CanaryDecision[];
}

/** The present release and those before it, the newest first; nothing when none has begun. */
export function releaseRecords({ status }: Pick<CanaryConfig, "status">): ReleaseRecord[] {
  if (!status) return [];
  const { old, new: next, phase, startedAt, finishedAt, sentence = "", past = [] } = status;
  const present: Omit<ReleaseRecord, "decisions">[] =
    old && next && phase
      ? [
          {
            old: old.name,
            new: next.name,
            phase,
            ...(startedAt ? { startedAt } : {}),
            ...(finishedAt ? { finishedAt } : {}),
            sentence,
          },
        ]
      : [];
  const all = [...past, ...present];
  const begins = all.map((release) => Date.parse(release.startedAt ?? ""));
  const decisions = all.map((): CanaryDecision[] => []);
  for (const decision of status.decisions ?? [])
    decisions[begins.findLastIndex((beginMs) => beginMs <= Date.parse(decision.at))]?.push(decision);
  return all.map((release, at) => ({ ...release, decisions: decisions[at] ?? [] })).toReversed();
}

/** `price-v2 in place of price-v1: succeeded after 23s` */
export function recordTitle({ old, new: next, phase, startedAt, finishedAt }: ReleaseRecord): string {
  const took =
    hasEnded({ phase }) && startedAt && finishedAt
      ? ` after ${span(Date.parse(finishedAt) - Date.parse(startedAt))}`
      : "";
  return `${next} in place of ${old}: ${phase}${took}`;
}

const pad = (decisions: readonly CanaryDecision[], column: (decision: CanaryDecision) => string): number =>
  Math.max(0, ...decisions.map((decision) => column(decision).length));

/** For people: each release with what was decided about it and why. */
export function recordsText(records: readonly ReleaseRecord[]): string {
  const all = records.flatMap(({ decisions }) => decisions);
  const [actions, weights] = [pad(all, ({ action }) => action), pad(all, ({ weight }) => `${weight} %`)];
  return records
    .map((record) => {
      const lines = record.decisions.map(
        ({ at, action, weight, sentence }) =>
          `  ${at}  ${action.padEnd(actions)}  ${`${weight} %`.padStart(weights)}  ${sentence}`,
      );
      const told = lines.length > 0 ? lines : [`  ${record.startedAt ?? ""}  ${record.sentence}`];
      return `${[recordTitle(record), ...told].join("\n")}\n`;
    })
    .join("\n");
}
