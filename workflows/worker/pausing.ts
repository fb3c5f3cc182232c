import type { RunKey } from "../core/run-record.ts";
import type { WorkerPorts } from "./ports.ts";

const FIRST_PAUSE_MS = 50;
const LAST_PAUSE_MS = 2_000;

/** What is tried is not wanted any more. */
export class Unwanted extends Error {}

/** Tries until it works, with pauses that grow, as long as it is `wanted`. @throws Unwanted */
export async function pausing<T>(
  ports: Pick<WorkerPorts, "clock" | "random" | "onFault">,
  key: RunKey,
  what: string,
  wanted: () => boolean,
  act: () => Promise<T>,
): Promise<T> {
  for (let tries = 0; ; tries++) {
    if (!wanted()) throw new Unwanted();
    try {
      return await act();
    } catch (error) {
      if (error instanceof Unwanted) throw error;
      ports.onFault(key, what, error);
      const whole = Math.min(LAST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(tries, 10));
      await new Promise<void>((wake) => {
        ports.clock.after(whole * (0.5 + 0.5 * ports.random()), wake);
      });
    }
  }
}
