/**
 * Sends a signal to processes found a moment ago. One that is gone since is what was wanted: the first process of a
 * container takes the others along.
 */
export function killEach(pids: readonly number[], signal: NodeJS.Signals = "SIGKILL"): void {
  for (const pid of pids)
    try {
      process.kill(pid, signal);
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
    }
}
