import { setTimeout as pause } from "node:timers/promises";
import type { Environment } from "../api/kinds/index.ts";
import type { Log } from "../net/log.ts";

export interface WarmBuilders {
  readonly environments: () => readonly Environment[];
  /** Has the environment's builder made; rejects when it cannot be. */
  readonly warm: (environment: Environment) => Promise<void>;
  /** How long to wait: the pods that answer calls start first. */
  readonly afterMs: number;
  readonly signal: AbortSignal;
  readonly log: Log;
}

/** Starts the builders of all environments that have one, one after the other, so that the first build need not wait for it. Never rejects. */
export async function warmBuilders({
  environments,
  warm,
  afterMs,
  signal,
  log,
}: WarmBuilders): Promise<void> {
  try {
    await pause(afterMs, undefined, { signal, ref: false });
  } catch {
    return;
  }
  for (const environment of environments()) {
    if (signal.aborted) return;
    if (!environment.spec.builder?.image || environment.metadata.deletionTimestamp) continue;
    try {
      await warm(environment);
    } catch (error) {
      log.warn("Cannot start a builder before its first build", {
        environment: environment.metadata.name,
        error,
      });
    }
  }
}
