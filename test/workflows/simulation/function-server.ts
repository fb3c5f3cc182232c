import type { Json } from "../../../workflows/core/json.ts";
import type { RunKey } from "../../../workflows/core/run-record.ts";
import type { CallResult, FunctionCall } from "../../../workflows/worker/call-function.ts";

/**
 * The functions as the world sees them: what each effect was asked, how often. Whether an attempt fails follows from the run, the function, its input and
 * the attempt alone, so that a run comes to the same end whatever happens around it.
 */
export interface FunctionServer {
  call(call: FunctionCall): CallResult;
  /** By `<run>/<token>`: numbers of the attempts that reached the function, in order. */
  readonly attempts: ReadonlyMap<string, readonly number[]>;
}

/** Shares of steps that fail for good, that fail before they work, and that are done by a callback, per function. */
const FAILS_FOR_GOOD: Readonly<Record<string, number>> = { ship: 0.2, confirm: 0.2, a: 0.03, work: 0.01 };
const FAILS_AT_FIRST = 0.3;
const NEVER_FAIL = new Set(["refund", "recall"]);

export function functionServer(
  seed: number,
  onCallback: (run: RunKey, token: string, attempt: number, output: Json) => void,
): FunctionServer {
  const attempts = new Map<string, number[]>();
  return {
    attempts,
    call: ({ run, token, attempt, functionName, input }) => {
      const address = `${run.id}/${token}`;
      attempts.set(address, [...(attempts.get(address) ?? []), attempt]);
      const chance = (what: string): number =>
        hash(`${seed}/${run.id}/${functionName}/${JSON.stringify(input)}/${what}`);
      if (!NEVER_FAIL.has(functionName)) {
        if (chance("good") < (FAILS_FOR_GOOD[functionName] ?? 0))
          return failed("Fission.PermanentError", `${functionName} refuses`);
        const tries = chance("tries") < FAILS_AT_FIRST ? 1 + Math.floor(chance("how often") * 3) : 0;
        if (attempt <= tries)
          return failed("Fission.FunctionError", `${functionName} fails at attempt ${attempt}`);
      }
      const output = { by: functionName };
      if (functionName !== "sign") return { kind: "done", output };
      onCallback(run, token, attempt, output);
      return { kind: "accepted" };
    },
  };
}

const failed = (type: string, message: string): CallResult => ({ kind: "failed", error: { type, message } });

/** FNV-1a as a share, 0..1. */
export function hash(text: string): number {
  let state = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) state = Math.imul(state ^ text.charCodeAt(at), 0x01000193);
  state = Math.imul(state ^ (state >>> 16), 0x45d9f3b);
  return ((state ^ (state >>> 15)) >>> 0) / 2 ** 32;
}
