import { type ErrorEntry, errorEntry as entry } from "./error-entry.ts";

/** What the trigger service refuses: a part of the table of errors. */
export const EVENT_ERRORS = {
  invocation_not_found: entry(
    404,
    "triggers",
    "caller",
    false,
    "The invocation does not exist, or is not kept any more.",
    "List them with `isotope invocation list`.",
  ),
  triggers_unavailable: entry(
    503,
    "triggers",
    "platform",
    true,
    "The trigger service cannot be reached.",
    "Retry; what was accepted goes on where it is as soon as it is back.",
  ),
} as const satisfies Record<string, ErrorEntry>;

/** Where a platform was installed without one, on a cluster. */
export const NO_TRIGGER_SERVICE =
  "There is no trigger service: it needs a Redis (redis.enabled or redis.url of the chart) and triggers.enabled";
