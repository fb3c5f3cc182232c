import type { TimeTrigger } from "../../../api/kinds/index.ts";
import type { Acceptance } from "../invocations/accept.ts";
import { type Fire, fireId } from "./fire-journal.ts";

/** The call of a fire, as the trigger is now. Its name deduplicates it: however often it is accepted, it is one call. */
export function timerAcceptance({ metadata, spec }: TimeTrigger, fire: Fire): Acceptance {
  const id = fireId(fire);
  const namespace = metadata.namespace ?? "default";
  const scheduledTime = new Date(fire.scheduledMs).toISOString();
  return {
    source: `timer/${metadata.name}`,
    dedupKey: id,
    target: spec.functionref,
    event: {
      id,
      namespace,
      method: spec.method || "POST",
      path: spec.subpath || "/",
      headers: {
        ...lowerCase(spec.headers ?? {}),
        "x-fission-timer-name": metadata.name,
        "x-fission-timer-scheduled-time": scheduledTime,
        "ce-type": "dev.isotope.timer.fired",
        "ce-source": `/isotope/${namespace}/timetriggers/${metadata.name}`,
        "ce-time": scheduledTime,
      },
      body: Buffer.from(spec.body ?? ""),
    },
  };
}

const lowerCase = (headers: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
