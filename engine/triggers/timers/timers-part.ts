import type { Part, PartDeps } from "../part.ts";
import { startTimers } from "./start-timers.ts";
import { targetWarmer } from "./warm-target.ts";

/** Timers as a part of the trigger service: its fires are asynchronous invocations. */
export function timersPart(deps: PartDeps): Part {
  const { invocations } = deps;
  return startTimers({
    ...deps,
    calls: {
      isUnderWay: async (id) => {
        const status = (await invocations.get(id))?.status;
        return status === "queued" || status === "running";
      },
      cancel: async (id) => {
        await invocations.cancel(id);
      },
    },
    warm: targetWarmer(deps),
  });
}
