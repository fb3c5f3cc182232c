const RETRY_MS = 500;
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Runs one step at a time; whatever is asked for during a step leads to one more. */
export interface StepLoop {
  request: () => void;
  /** Requests a step after `ms`; a later call takes the place of an earlier one. */
  requestIn: (ms: number) => void;
  /** Whether a step was requested since the present one began. */
  requested: () => boolean;
  stop: () => void;
}

/** `step` may throw: it is told to `onError` and tried again after half a second. */
export function makeStepLoop(step: () => Promise<void>, onError: (error: unknown) => void): StepLoop {
  const flags = { asked: false, stepping: false, stopped: false };
  let timer: NodeJS.Timeout | undefined;
  const run = async (): Promise<void> => {
    flags.stepping = true;
    while (flags.asked && !flags.stopped) {
      flags.asked = false;
      try {
        await step();
      } catch (error) {
        onError(error);
        requestIn(RETRY_MS);
      }
    }
    flags.stepping = false;
  };
  const request = (): void => {
    flags.asked = true;
    if (!flags.stepping && !flags.stopped) void run();
  };
  const requestIn = (ms: number): void => {
    clearTimeout(timer);
    if (!flags.stopped) timer = setTimeout(request, Math.min(Math.max(ms, 0), MAX_TIMER_MS));
  };
  return {
    request,
    requestIn,
    requested: () => flags.asked,
    stop() {
      flags.stopped = true;
      clearTimeout(timer);
    },
  };
}
