import { backoffMs } from "../../../../kube/backoff.ts";
import { sleep } from "../../../../kube/sleep.ts";
import { errorText } from "../error-text.ts";
import type { SourceState } from "../source.ts";

const AGAIN = { baseMs: 200, maxMs: 10_000 };
const LONGEST_RUN = 6;

/** Runs `follow` again and again until closed: each end by an error is told as a lost connection, and followed by a growing pause. */
export async function followForever(
  closed: AbortSignal,
  onState: (state: SourceState) => void,
  follow: () => Promise<void>,
): Promise<void> {
  for (let failures = 1; !closed.aborted; failures++) {
    try {
      await follow();
    } catch (error) {
      if (closed.aborted) return;
      onState({ connected: false, error: errorText(error) });
      await sleep(backoffMs(Math.min(failures, LONGEST_RUN), AGAIN), closed);
    }
  }
}

/** Tries `act` until it succeeds, or until closed. */
export async function untilDone(closed: AbortSignal, act: () => Promise<void>): Promise<void> {
  for (let failures = 1; !closed.aborted; failures++) {
    try {
      return await act();
    } catch {
      await sleep(backoffMs(Math.min(failures, LONGEST_RUN), AGAIN), closed);
    }
  }
}
