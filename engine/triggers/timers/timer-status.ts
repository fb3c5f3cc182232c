import { SHOWN_FIRES, type TimeTrigger, type TimeTriggerStatus } from "../../../api/kinds/index.ts";
import type { KubeClient } from "../../../kube/client.ts";
import { isNotFound } from "../../../kube/kube-error.ts";
import { TIME_TRIGGERS } from "../../../kube/kinds.ts";
import { mergePatch } from "../../../kube/merge-patch.ts";
import { after, createReconciler, done, type Reconciler } from "../../../kube/reconcile.ts";
import type { Log } from "../../../net/log.ts";
import { upcoming } from "../../../net/calendar/schedule.ts";
import type { FireJournal } from "./fire-journal.ts";
import { madeAt, timerCalendar } from "./timer-calendar.ts";

export interface TimerStatusDeps {
  readonly client: Pick<KubeClient, "patchStatus">;
  readonly journal: Pick<FireJournal, "shown">;
  readonly find: (timer: string) => TimeTrigger | undefined;
  readonly log: Log;
  readonly now: () => number;
  /** Between two writes to one trigger, as things are now. */
  readonly pauseMs: () => number;
}

const WRITERS = 4;

/** Shows in a trigger's status what the journal knows of it: the latest fires and the next ones. Its conditions are the controller's. */
export function timerStatusWriter(deps: TimerStatusDeps): Reconciler {
  const writtenAt = new Map<string, number>();
  return createReconciler({
    name: "TimeTrigger status",
    concurrency: WRITERS,
    reconcile: async (key) => {
      const timer = deps.find(key);
      if (!timer) {
        writtenAt.delete(key);
        return done;
      }
      const waitMs = (writtenAt.get(key) ?? -Infinity) + deps.pauseMs() - performance.now();
      if (waitMs > 0) return after(waitMs);
      const { conditions: _, observedGeneration: _generation, ...shown } = timer.status ?? {};
      const patch = mergePatch(shown, await statusOf(deps, key, timer));
      if (patch === undefined) return done;
      writtenAt.set(key, performance.now());
      try {
        await deps.client.patchStatus(TIME_TRIGGERS, timer.metadata, patch);
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
      return done;
    },
    onError: (timer, error) =>
      deps.log.warn("Cannot write the status of a timer; trying again", { timer, error }),
  });
}

async function statusOf(
  { journal, now }: TimerStatusDeps,
  key: string,
  timer: TimeTrigger,
): Promise<Pick<TimeTriggerStatus, "lastScheduleTime" | "nextFires" | "recentFires">> {
  const { lastMs, fires } = await journal.shown(key, SHOWN_FIRES);
  const calendar = timerCalendar(timer);
  const afterMs = Math.max(lastMs ?? madeAt(timer), now());
  const shownMs = lastMs ?? (Date.parse(timer.status?.lastScheduleTime ?? "") || undefined);
  return {
    ...(shownMs === undefined ? {} : { lastScheduleTime: new Date(shownMs).toISOString() }),
    nextFires: calendar
      ? upcoming(calendar.schedule, afterMs, SHOWN_FIRES).map((at) => new Date(at).toISOString())
      : [],
    // A store that was lost takes no history from those who can still read it.
    recentFires: fires.length > 0 ? fires : timer.status?.recentFires,
  };
}
