import type { Load, LoadBook } from "./load-book.ts";
import type { Revision } from "./revision.ts";
import { decideScale, initialScale, type ScaleState, type ScaleTarget } from "./scale-decision.ts";

/** Looks once a second at what routers report, and says how many pods each revision should have. */
export interface Scaler {
  readonly start: () => void;
  readonly close: () => void;
}

export interface ScalerOptions {
  readonly load: Pick<LoadBook, "of" | "forget">;
  readonly revisions: () => Iterable<Revision>;
  /** What the revision is scaled by; undefined = it is not scaled here. */
  readonly targetOf: (revision: Revision) => ScaleTarget | undefined;
  readonly apply: (revision: Revision, pods: number) => void;
  readonly now: () => number;
}

export const SCALE_INTERVAL_MS = 1_000;
const NO_LOAD: Load = { concurrency: 0, requestsPerSecond: 0 };

export function createScaler(options: ScalerOptions): Scaler {
  const { load, now } = options;
  let states = new Map<string, ScaleState>();
  let timer: NodeJS.Timeout | undefined;

  const look = () => {
    const kept = new Map<string, ScaleState>();
    for (const revision of options.revisions()) {
      const target = options.targetOf(revision);
      if (!target) continue;
      const before = states.get(revision.key) ?? initialScale(now());
      const decided = decideScale(before, load.of(revision.key) ?? NO_LOAD, now(), target);
      kept.set(revision.key, decided.state);
      options.apply(revision, decided.pods);
    }
    for (const key of states.keys()) if (!kept.has(key)) load.forget(key);
    states = kept;
  };

  return {
    start: () => {
      timer ??= setInterval(look, SCALE_INTERVAL_MS);
    },
    close: () => clearInterval(timer),
  };
}
