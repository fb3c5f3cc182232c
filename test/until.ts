import { setTimeout as sleep } from "node:timers/promises";

const POLL_MS = 10;

/**
 * Waits until `holds`, for as long as a busy machine may need.
 * @param instead what there is instead, for the error
 */
export async function until(
  what: string,
  holds: () => boolean | undefined | Promise<boolean | undefined>,
  ms = 120_000,
  instead?: () => unknown,
): Promise<void> {
  const deadline = performance.now() + ms;
  while (!(await holds())) {
    if (performance.now() > deadline) {
      const found = instead ? `: ${JSON.stringify(await instead(), null, 1)}` : "";
      throw new Error(`Not within ${ms} ms: ${what}${found}`);
    }
    await sleep(POLL_MS);
  }
}
