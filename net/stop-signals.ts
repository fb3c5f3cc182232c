/** One Ctrl-C reaches a process more than once: from the terminal and from each parent that passes it on. */
const SAME_STOP_MS = 500;

/**
 * Calls `onStop` for the first SIGINT, SIGTERM or SIGHUP, and `onAgain` for one that comes later than half a second after it:
 * somebody does not want to wait.
 */
export function onStopSignal(onStop: () => void, onAgain: () => void): void {
  let firstAt: number | undefined;
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      if (firstAt === undefined) {
        firstAt = performance.now();
        onStop();
      } else if (performance.now() - firstAt > SAME_STOP_MS) {
        onAgain();
      }
    });
  }
}
