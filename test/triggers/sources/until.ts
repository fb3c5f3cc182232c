import { setTimeout as sleep } from "node:timers/promises";

const DEADLINE_MS = 120_000;
const POLL_MS = 25;

/** Waits until `holds`, for as long as a busy machine may need. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  ms: number = DEADLINE_MS,
): Promise<void> {
  const deadline = performance.now() + ms;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`Not within ${ms} ms: ${what}`);
    await sleep(POLL_MS);
  }
}
