/**
 * Calls `check` until it says true; waits 20 ms, then up to 60 ms between calls.
 * @throws {Error} `what` and the last failure, after `timeoutMs`.
 */
export async function waitFor(
  what: string,
  timeoutMs: number,
  check: () => Promise<boolean>,
  signal?: AbortSignal,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  let pauseMs = 20;
  let last = "";
  while (performance.now() < deadline) {
    signal?.throwIfAborted();
    try {
      if (await check()) return;
    } catch (error) {
      last = error instanceof Error ? error.message : String(error);
    }
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
    pauseMs = Math.min(pauseMs * 1.5, 60);
  }
  throw new Error(`${what} did not become ready within ${timeoutMs / 1000} s${last ? `: ${last}` : ""}`);
}
