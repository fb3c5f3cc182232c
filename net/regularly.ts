import { setTimeout as sleep } from "node:timers/promises";

export interface Rhythm {
  /** From the end of a round to the next one. */
  readonly everyMs: number;
  /** Before the first round. Default `everyMs`. */
  readonly firstAfterMs?: number;
  /** Each pause is half to one and a half of that, so that several processes do not work at the same moment. */
  readonly spread?: boolean;
  readonly signal: AbortSignal;
}

/**
 * Does `round` again and again, one at a time, until the signal aborts; resolves after the round that is under way then. A pause does not keep the process
 * alive. A round that fails goes to `onFailure`, and the next one comes in its time.
 */
export async function regularly(
  { everyMs, firstAfterMs = everyMs, spread = false, signal }: Rhythm,
  round: () => Promise<unknown>,
  onFailure: (error: unknown) => void,
): Promise<void> {
  for (let pauseMs = firstAfterMs; ; pauseMs = everyMs) {
    const ms = spread ? pauseMs * (0.5 + Math.random()) : pauseMs;
    await sleep(ms, undefined, { signal, ref: false }).catch(() => undefined);
    if (signal.aborted) return;
    try {
      await round();
    } catch (error) {
      onFailure(error);
    }
  }
}
