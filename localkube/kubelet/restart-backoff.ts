export interface BackoffSettings {
  initialMs: number;
  maxMs: number;
  /** A container that ran this long starts again without waiting. */
  resetAfterMs: number;
}

export const RESTART_BACKOFF: BackoffSettings = { initialMs: 10_000, maxMs: 300_000, resetAfterMs: 600_000 };

/** Waits between attempts: none before the first, then doubling. */
export interface RestartBackoff {
  /** How long to wait now, after a run of `ranMs` that ended. Raises the next wait. */
  next(ranMs: number): number;
}

export function makeRestartBackoff(settings: BackoffSettings): RestartBackoff {
  let waitMs = 0;
  return {
    next(ranMs) {
      if (ranMs >= settings.resetAfterMs) waitMs = 0;
      const now = waitMs;
      waitMs = waitMs === 0 ? settings.initialMs : Math.min(waitMs * 2, settings.maxMs);
      return now;
    },
  };
}

/** "10s", "1m20s", "5m0s" */
export function formatWait(ms: number): string {
  const seconds = Math.round(ms / 1000);
  return seconds < 60 ? `${seconds}s` : `${Math.floor(seconds / 60)}m${seconds % 60}s`;
}
