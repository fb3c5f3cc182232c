import { setTimeout as sleep } from "node:timers/promises";

const POLL_MS = 10;

/** Reads until `accept` says yes; the value, or an error that shows the last one. */
export async function eventually<T>(
  read: () => Promise<T>,
  accept: (value: T) => boolean,
  withinMs = 60_000,
): Promise<T> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const value = await read();
    if (accept(value)) return value;
    if (performance.now() > deadline)
      throw new Error(`Not so within ${withinMs} ms: ${JSON.stringify(value, null, 1)}`);
    await sleep(POLL_MS);
  }
}
