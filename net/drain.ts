import type { Log } from "./log.ts";

interface DrainStep {
  readonly name: string;
  /** Stops one part; resolves when nothing of it runs any more. */
  readonly stop: () => Promise<void> | void;
}

export interface DrainOptions {
  /** The parts in the order in which they stop: listeners first, connections to others last. */
  readonly steps: readonly DrainStep[];
  /** The whole drain takes at most this long; then the process exits with 1. */
  readonly deadlineMs: number;
  readonly log: Log;
  /** For tests; default `process.exit`. */
  readonly exit?: (code: number) => void;
}

/**
 * Runs all steps in order; a step that throws is logged and does not keep the others from stopping.
 * Resolves with the exit code: 0 when everything stopped in time, else 1.
 */
export async function drain(options: Omit<DrainOptions, "exit">): Promise<0 | 1> {
  const { log, steps, deadlineMs } = options;
  let failed = false;
  let current = "";
  const all = async () => {
    for (const step of steps) {
      current = step.name;
      try {
        await step.stop();
      } catch (error) {
        failed = true;
        log.error("Cannot stop a part cleanly", { part: step.name, error });
      }
    }
    return "stopped" as const;
  };
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<"late">((resolve) => {
    timer = setTimeout(() => resolve("late"), deadlineMs);
  });
  const outcome = await Promise.race([all(), late]);
  clearTimeout(timer);
  if (outcome === "late") log.error("The drain took too long", { part: current, deadlineMs });
  return outcome === "late" || failed ? 1 : 0;
}

/** Drains and exits on the first SIGTERM or SIGINT; a second signal exits at once. Returns a function that takes the handlers away. */
export function drainOnSignal(options: DrainOptions): () => void {
  const exit = options.exit ?? ((code: number) => process.exit(code));
  let draining = false;
  const onSignal = (signal: NodeJS.Signals) => {
    if (draining) return exit(1);
    draining = true;
    options.log.info("Draining", { signal, deadlineMs: options.deadlineMs });
    void drain(options).then(exit);
  };
  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);
  return () => {
    process.off("SIGTERM", onSignal);
    process.off("SIGINT", onSignal);
  };
}
