import type { Pin, RunKey } from "../core/run-record.ts";
import type { FunctionActor } from "../definition/definition.ts";
import type { CallFunction } from "./call-function.ts";
import type { CallbackTokens } from "./callback-token.ts";
import type { StartChild } from "./child-runs.ts";
import type { Payloads, WorkerClock, WorkerPorts } from "./ports.ts";

/** What performing effects takes. */
export interface PerformerDeps {
  readonly journal: WorkerPorts["journal"];
  readonly payloads: Payloads;
  readonly clock: Pick<WorkerClock, "now" | "after">;
  readonly random: () => number;
  readonly call: CallFunction;
  readonly tokens: Pick<CallbackTokens, "make">;
  readonly startChild: StartChild;
  /** Asks a run to end, if it is there and has not. */
  readonly cancel: (run: RunKey, reason: string) => Promise<unknown>;
}

/** The pinned function. @throws {Error} when the run has no pin for the actor: its definition is another one than it started with */
export function functionOf(
  pin: Pin | undefined,
  actor: string,
): { readonly functionName: string; readonly version: string } {
  if (pin?.kind === "function") return { functionName: pin.name, version: pin.version };
  throw new Error(`Cannot call "${actor}": the run pins no function for it`);
}

export const targetOf = ({ method, path }: FunctionActor): { method?: string; path?: string } => ({
  ...(method === undefined ? {} : { method }),
  ...(path === undefined ? {} : { path }),
});

/** Those who were refused together do not come back together. */
export const jittered = (ms: number, random: () => number): number => Math.ceil(ms * (1 + random() / 2));
