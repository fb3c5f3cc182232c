import { vi } from "vitest";

/** Tries assertions again until they hold; what they give, or the error of the last time. */
export const asserted = <T>(check: () => T | Promise<T>, timeout = 120_000): Promise<T> =>
  vi.waitFor(check, { timeout, interval: 25 });
