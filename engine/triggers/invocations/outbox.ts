import type { Log } from "../../../net/log.ts";
import type { InvocationJournal } from "./journal.ts";
import { NotToldYet } from "./tell-destination.ts";

/** Tells the destinations of invocations that have ended. */
export interface Outbox {
  /** Begins to tell those; what is being told already is left alone. */
  tell(ids: readonly string[]): void;
}

export interface OutboxDeps {
  readonly journal: Pick<InvocationJournal, "get" | "putOff">;
  readonly tell: (id: string) => Promise<void>;
  readonly log: Log;
}

const MOST_AT_ONCE = 256;
const SHORTEST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 60_000;
/** The longer ago an invocation ended, the longer the pause before the next attempt. */
const SHARE_OF_AGE = 1 / 4;

/*
 * Invariants:
 * O1. One destination that takes long keeps no other waiting: they are told side by side, and what failed goes behind what has not been tried.
 * O2. Nothing leaves the outbox but by being told, or with its record.
 */
export function outbox({ journal, tell, log }: OutboxDeps): Outbox {
  const busy = new Set<string>();

  const attempt = async (id: string): Promise<void> => {
    try {
      await tell(id);
    } catch (error) {
      log.debug("Cannot tell the destination of an invocation; tried again", { id, error });
      const { endedAt = Date.now() } = (await journal.get(id)) ?? {};
      const age = Math.max(0, Date.now() - endedAt);
      const pauseMs = Math.min(Math.max(age * SHARE_OF_AGE, SHORTEST_PAUSE_MS), LONGEST_PAUSE_MS);
      await journal.putOff(id, pauseMs, error instanceof NotToldYet ? error.report : undefined);
    }
  };

  return {
    tell: (ids) => {
      for (const id of ids) {
        if (busy.size >= MOST_AT_ONCE) return;
        if (busy.has(id)) continue;
        busy.add(id);
        attempt(id)
          .catch((error: unknown) =>
            log.debug("Cannot put off an invocation that was not told", { id, error }),
          )
          .finally(() => busy.delete(id));
      }
    },
  };
}
