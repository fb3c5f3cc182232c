import type { Log } from "./log.ts";

/** Between two warnings of a watch that fails again and again. */
const WARNED_EVERY = 20;

/** Says of watches that fail that they are tried again: of the first failure in a row, and of each twentieth. */
export const watchWarnings =
  (log: Pick<Log, "warn">) =>
  (kind: string, error: unknown, failures = 1): void => {
    if (failures === 1 || failures % WARNED_EVERY === 0)
      log.warn("Cannot watch; trying again", { kind, failures, error });
  };
