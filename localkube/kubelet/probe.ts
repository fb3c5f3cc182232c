/**
 * 1. A probe asks at once, then in quick steps while the container has never answered well, then every period.
 * 2. Only asks that the period is due for count towards the failure threshold; a good answer always counts.
 * 3. Nothing is reported after `stop`.
 */
import type { Answer } from "./ask-container.ts";
import type { ProbeSpec } from "./pod.ts";

export type ProbeResult = { state: "success" } | { state: "failure"; message: string };

export interface ProbeOptions {
  spec: ProbeSpec;
  /** Retry in quick steps until the first success: for readiness and startup. */
  eager: boolean;
  ask(timeoutMs: number): Promise<Answer>;
  /** Called whenever a threshold is passed: every time for failures, on the change for successes. */
  onResult(result: ProbeResult): void;
  /** Called for each failure that counts. */
  onFailedAsk(message: string): void;
}

/** Waits between quick asks, by the time since the container started. */
function eagerStepMs(sinceStartMs: number): number {
  if (sinceStartMs < 250) return 10;
  if (sinceStartMs < 2000) return 20;
  if (sinceStartMs < 5000) return 50;
  return 250;
}

const EAGER_MS = 30_000;

/** Starts asking; returns the function that stops it. */
export function startProbe(options: ProbeOptions): () => void {
  const { spec, eager } = options;
  const periodMs = (spec.periodSeconds ?? 10) * 1000;
  const timeoutMs = (spec.timeoutSeconds ?? 1) * 1000;
  const startMs = performance.now();
  let successes = 0;
  let failures = 0;
  let state: "unknown" | "success" | "failure" = "unknown";
  let everGood = false;
  let nextDueMs = startMs + (spec.initialDelaySeconds ?? 0) * 1000;
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;

  const schedule = (): void => {
    const now = performance.now();
    const untilDue = Math.max(0, nextDueMs - now);
    const quick = eager && !everGood && now - startMs < EAGER_MS && (spec.initialDelaySeconds ?? 0) === 0;
    timer = setTimeout(() => void once(), quick ? Math.min(eagerStepMs(now - startMs), untilDue) : untilDue);
  };

  const take = (answer: Answer, due: boolean): void => {
    if (answer.ok) {
      everGood = true;
      failures = 0;
      successes += 1;
      if (successes >= (spec.successThreshold ?? 1) && state !== "success") {
        state = "success";
        options.onResult({ state: "success" });
      }
      return;
    }
    if (!due) return;
    successes = 0;
    failures += 1;
    options.onFailedAsk(answer.message);
    if (!stopped && failures >= (spec.failureThreshold ?? 3)) {
      state = "failure";
      options.onResult({ state: "failure", message: answer.message });
    }
  };

  const once = async (): Promise<void> => {
    const due = performance.now() >= nextDueMs - 1;
    const first = nextDueMs - startMs < 1;
    if (due) nextDueMs = performance.now() + periodMs;
    const answer = await options.ask(timeoutMs);
    if (stopped) return;
    take(answer, due && !(eager && first));
    if (!stopped) schedule();
  };

  if ((spec.initialDelaySeconds ?? 0) > 0) schedule();
  else void once();
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}
