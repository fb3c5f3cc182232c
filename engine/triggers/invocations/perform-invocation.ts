import { PlatformError } from "../../../api/errors.ts";
import type { FunctionWorld } from "../../../kube/function-world.ts";
import type { Deliver, Outcome, Target, TriggerEvent } from "../delivery/event.ts";
import { overloaded } from "../delivery/outcome.ts";
import type { BytesInHand } from "./bytes-in-hand.ts";
import { decideNext } from "./decide-next.ts";
import type { Invocation, Settlement } from "./journal.ts";
import { keepResult } from "./keep-result.ts";
import type { Spills } from "./spills.ts";

export interface PerformDeps {
  readonly deliver: Deliver;
  readonly functions: Pick<FunctionWorld, "function">;
  readonly spills: Pick<Spills, "get" | "put">;
  /** For bodies that are read from the storage. */
  readonly inHand: BytesInHand;
  /** For a storage that is away when a result is to be kept. For tests; else as `keepResult` has it. */
  readonly resultPatienceMs?: number | undefined;
  /** By the store's clock. */
  readonly now: () => number;
  readonly random: () => number;
}

const STORAGE_PAUSE_MS = 2_000;
const DEFAULT_TIMEOUT_MS = 60_000;
/** Of a function that streams and sets no limit. */
const LONGEST_TIMEOUT_MS = 900_000;

/** Delivers an invocation once, and says what becomes of it. */
export async function performInvocation(
  deps: PerformDeps,
  invocation: Invocation,
  signal: AbortSignal,
): Promise<Settlement> {
  // What is in the record is small, and read already.
  const outcome =
    invocation.body === undefined
      ? await deps.inHand.holding(invocation.payloadBytes, signal, () => attempted(deps, invocation, signal))
      : await attempted(deps, invocation, signal);
  const settlement = decideNext(invocation, outcome, deps.now(), deps.random);
  if (settlement.kind !== "done") return settlement;
  const { spills, resultPatienceMs } = deps;
  const result = await keepResult(spills, invocation, settlement.result, signal, resultPatienceMs);
  return { ...settlement, result };
}

async function attempted(deps: PerformDeps, invocation: Invocation, signal: AbortSignal): Promise<Outcome> {
  const { spill } = invocation;
  try {
    const body = invocation.body ?? (spill === undefined ? undefined : await deps.spills.get(spill));
    return body === undefined
      ? rejected("payload_not_found", "Its body is not kept any more")
      : await delivered(deps, invocation, body, signal);
  } catch (error) {
    // The function is not to blame, and saw nothing of it.
    if (error instanceof PlatformError && error.code === "storage_unavailable")
      return overloaded(0, error.code, error.message, STORAGE_PAUSE_MS);
    throw error;
  }
}

async function delivered(
  deps: PerformDeps,
  invocation: Invocation,
  body: Uint8Array,
  signal: AbortSignal,
): Promise<Outcome> {
  const { namespace, target, pinned, tries, redrives } = invocation;
  const event = eventOf(invocation, body);
  const timeoutMs = timeoutOf(deps, namespace, target);
  const options = { attempt: tries, timeoutMs, signal, anew: redrives > 0 };
  try {
    const outcome = await deps.deliver(target, event, options);
    const gone = outcome.kind === "rejected" && outcome.failure.reason === "version_not_found";
    // Nobody asked for that very version: what the function is now will do.
    return pinned && gone ? await deps.deliver({ type: "name", name: target.name }, event, options) : outcome;
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof PlatformError && error.code === "function_not_found")
      return rejected(error.code, error.message);
    const message = error instanceof Error ? error.message : String(error);
    return { kind: "failed", failure: { status: 0, reason: "internal", message: message.slice(0, 1_024) } };
  }
}

function eventOf(invocation: Invocation, body: Uint8Array): TriggerEvent {
  const { id, event, tries, depth } = invocation;
  return {
    ...event,
    headers: {
      ...event.headers,
      "x-fission-invocation-id": id,
      "x-fission-invocation-attempt": String(tries),
      "x-fission-invocation-depth": String(depth),
    },
    body,
  };
}

function timeoutOf({ functions }: PerformDeps, namespace: string, target: Target): number {
  if (target.type === "workflow") return DEFAULT_TIMEOUT_MS;
  const fn = functions.function(namespace, target.name);
  const streaming = fn?.spec.streaming;
  if (streaming) return (streaming.maxDurationSeconds ?? 0) * 1_000 || LONGEST_TIMEOUT_MS;
  return (fn?.spec.functionTimeout ?? 0) * 1_000 || DEFAULT_TIMEOUT_MS;
}

const rejected = (reason: string, message: string): Outcome => ({
  kind: "rejected",
  failure: { status: 0, reason, message },
});
