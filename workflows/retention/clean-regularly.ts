import { setTimeout as sleep } from "node:timers/promises";
import { parseDurationMs } from "../../api/duration.ts";
import type { Log } from "../../net/log.ts";
import { regularly } from "../../net/regularly.ts";
import {
  DEFAULT_RETENTION,
  removeEnded,
  type RetentionOptions,
  type RetentionPolicy,
} from "./remove-ended.ts";

const EVERY_MS = 600_000;
const FIRST_AFTER_MS = 60_000;
const PAGE_PAUSE_MS = 20;

/** What a Workflow says of its runs, with the platform's defaults for what it leaves open. */
export function retentionPolicy(
  spec: { readonly maxAge?: string | undefined; readonly maxCount?: number | undefined } | undefined,
): RetentionPolicy {
  return {
    maxCount: spec?.maxCount ?? DEFAULT_RETENTION.maxCount,
    maxAgeMs: spec?.maxAge === undefined ? DEFAULT_RETENTION.maxAgeMs : parseDurationMs(spec.maxAge),
  };
}

/** Cleans every ten minutes, at moments of its own, until `signal` aborts. */
export const cleanRegularly = (options: RetentionOptions, log: Log, signal: AbortSignal): Promise<void> =>
  regularly(
    { everyMs: EVERY_MS, firstAfterMs: FIRST_AFTER_MS, spread: true, signal },
    async () => {
      const removed = await removeEnded({ pause: () => sleep(PAGE_PAUSE_MS), ...options });
      if (removed > 0) log.info("Removed runs that ended long ago", { removed });
    },
    (error) => log.warn("Cannot remove runs that ended long ago; tried again later", { error }),
  );
