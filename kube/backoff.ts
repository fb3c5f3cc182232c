/**
 * Exponential back-off: the delay before try `failures + 1`, in milliseconds. Doubles from `baseMs` up to `maxMs`; half of it is
 * random, so that many clients do not return in step.
 */
export function backoffMs(
  failures: number,
  settings: { baseMs: number; maxMs: number },
  random: () => number = Math.random,
): number {
  const full = Math.min(settings.maxMs, settings.baseMs * 2 ** Math.min(Math.max(0, failures - 1), 30));
  return full / 2 + (full / 2) * random();
}
