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

interface Seen {
  readonly state: ScaleState;
  readonly pods: number;
}

export function createScaler(options: ScalerOptions): Scaler {
  const { load, now } = options;
  let seen = new Map<string, Seen>();
  let timer: NodeJS.Timeout | undefined;

  /** A revision that never had a pod is idle; one that has got another one was asked for, though no report may have said so. */
  const stateOf = (revision: Revision): ScaleState => {
    const before = seen.get(revision.key) ?? { state: initialScale(Number.NEGATIVE_INFINITY), pods: 0 };
    return revision.pods().size > before.pods ? { ...before.state, lastActiveMs: now() } : before.state;
  };

  const look = () => {
    const kept = new Map<string, Seen>();
    for (const revision of options.revisions()) {
      const target = options.targetOf(revision);
      if (!target) continue;
      const decided = decideScale(stateOf(revision), load.of(revision.key) ?? NO_LOAD, now(), target);
      kept.set(revision.key, { state: decided.state, pods: revision.pods().size });
      options.apply(revision, decided.pods);
    }
    for (const key of seen.keys()) if (!kept.has(key)) load.forget(key);
    seen = kept;
  };

  return {
    start: () => {
      timer ??= setInterval(look, SCALE_INTERVAL_MS);
    },
    close: () => clearInterval(timer),
  };
}
