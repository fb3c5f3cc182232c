import type { Change } from "./change.ts";
import type { Effect, RunRecord, Timer } from "./run-record.ts";

/**
 * A failed or timed-out run, to be taken up again where it failed: what was open then is open again as a new visit, with new tokens and all attempts.
 * Undefined: it cannot be, because it has not failed or because what it had done has been undone.
 */
export function resumed(record: RunRecord, now: number): Change | undefined {
  const { resume, finishedAt: _at, error: _error, output: _output, ...rest } = record;
  if (!resume || (record.status !== "failed" && record.status !== "timed-out")) return undefined;
  const { resume: _taken, deadlineAt, ...open } = { ...rest, resume };
  const transition = record.transition + 1;
  let index = -1;
  const token = (): string => `${transition}.${(index += 1)}`;
  const effects = Object.values(resume.effects).map((effect) => again(effect, token(), now));
  const timers = Object.values(resume.timers).map((timer): Timer => ({ ...timer, token: token() }));
  return {
    record: {
      ...open,
      ...resume,
      status: "running",
      transition,
      effects: Object.fromEntries(effects.map((effect) => [effect.token, effect])),
      timers: Object.fromEntries(timers.map((timer) => [timer.token, timer])),
      ...(deadlineAt !== undefined && { deadlineAt: now + (deadlineAt - record.startedAt) }),
    },
    history: [{ type: "resumed", transition, state: resume.states.join(",") }],
  };
}

function again(effect: Effect, token: string, now: number): Effect {
  const { notBefore: _pause, waiting: _waiting, failures: _failures, ...rest } = effect;
  return { ...rest, token, attempt: 1, startedAt: now, attemptAt: now };
}
