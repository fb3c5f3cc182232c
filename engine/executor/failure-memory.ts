import { PlatformError } from "../../api/errors.ts";

/** Remembers that something fails, with a pause before the next try that doubles from 1 to 30 s. */
export interface FailureMemory {
  /** The last failure, until a success clears it. */
  readonly current: PlatformError | undefined;
  /** Whether the pause still lasts. */
  readonly blocked: boolean;
  /** Milliseconds until the pause ends; 0 when there is none. */
  readonly retryAfterMs: number;
  /** The last failure with the rest of the pause as `Retry-After`. */
  error(): PlatformError | undefined;
  remember(error: PlatformError): void;
  clear(): void;
}

const PAUSE_MS = { first: 1_000, most: 30_000 };

export function failureMemory(now: () => number): FailureMemory {
  let current: PlatformError | undefined;
  let untilMs = 0;
  let pauseMs = 0;
  return {
    get current() {
      return current;
    },
    get blocked() {
      return current !== undefined && now() < untilMs;
    },
    get retryAfterMs() {
      return current === undefined ? 0 : Math.max(0, untilMs - now());
    },
    error: () =>
      current === undefined
        ? undefined
        : new PlatformError(current.code, current.message, { retryAfterMs: Math.max(1, untilMs - now()) }),
    remember: (error) => {
      current = error;
      // Several starts that fail together are one failure.
      if (now() < untilMs) return;
      pauseMs = Math.min(pauseMs === 0 ? PAUSE_MS.first : pauseMs * 2, PAUSE_MS.most);
      untilMs = now() + pauseMs;
    },
    clear: () => {
      current = undefined;
      pauseMs = 0;
      untilMs = 0;
    },
  };
}
