import { childRunKey } from "../core/child-run-key.ts";
import type { Json } from "../core/json.ts";
import { attemptEndsAt, nextAttempt } from "../core/retry.ts";
import type { Effect, Outcome, RunKey } from "../core/run-record.ts";
import type { ErrorFacts, MapActor } from "../definition/definition.ts";
import type { CallResult } from "./call-function.ts";
import { endOf } from "./child-runs.ts";
import { functionOf, jittered, type PerformerDeps, targetOf } from "./performer-deps.ts";
import type { EffectCall, Performed } from "./ports.ts";

/*
 * One step over many items. Invariants:
 * 1. At most `maxConcurrency` items are under way, and no more items than that are in memory; results lie in the journal until all are there.
 * 2. An item's first result counts: it is in the journal before the item is over, so that a crash repeats only what was under way.
 * 3. More failed items than are tolerated end the step at once, and the calls that are under way.
 */

/** Results are read this many at a time. */
const PAGE = 500;
const FIRST_LOOK_MS = 20;
const LAST_LOOK_MS = 1_000;
const DEFAULT_TIMEOUT_MS = 300_000;

class LeaseLost extends Error {}

export async function performMap(
  deps: PerformerDeps,
  call: EffectCall,
  actor: MapActor,
  signal: AbortSignal,
): Promise<Performed> {
  const count = call.effect.map?.items ?? 0;
  const tolerated =
    typeof actor.tolerated === "number" ? actor.tolerated : Math.floor(count * actor.tolerated.share);
  const { key } = call.facts;
  const { token } = call.effect;
  const stop = new AbortController();
  const stopped = AbortSignal.any([signal, stop.signal]);
  let { failed } = await deps.journal.getCounts(key, token);
  let first: FailedItem | undefined;
  const items = openItems(deps, call, count);
  const work = async (): Promise<void> => {
    for (;;) {
      if (failed > tolerated || stopped.aborted) return;
      const next = await items.next();
      if (next === undefined) return;
      const outcome = await performItem(deps, call, actor, next.index, next.item, stopped);
      if (outcome.kind === "failed") {
        failed += 1;
        first ??= { index: next.index, error: outcome.error, cause: outcome.cause };
      }
      const text = await resultText(deps, key, outcome);
      const stored = await deps.journal.putResult(
        call.lease,
        token,
        next.index,
        text,
        outcome.kind === "failed",
      );
      if (stored === "conflict") throw new LeaseLost("The lease of the run is lost");
    }
  };
  const workers = Array.from({ length: Math.min(count, Math.max(1, actor.maxConcurrency)) }, async () => {
    try {
      await work();
    } finally {
      // Whoever ends before all items are done, by a fault or by one failure too many, ends the others.
      if (failed > tolerated || !items.over()) stop.abort(new Error("The map has ended"));
    }
  });
  const ends = await Promise.allSettled(workers);
  signal.throwIfAborted();
  if (failed > tolerated) return tooManyFailed(failed, tolerated, count, first);
  const fault = ends.find((end) => end.status === "rejected");
  if (fault) throw fault.reason;
  return { kind: "done", output: { value: await collect(deps, call, count) } };
}

function tooManyFailed(
  failed: number,
  tolerated: number,
  count: number,
  first: FailedItem | undefined,
): Performed {
  const message = `${failed} of ${count} items failed, ${tolerated} are tolerated${first ? `; item ${first.index}: ${first.error.message}` : ""}`;
  const error = { type: first?.error.type ?? "Fission.BranchFailed", message };
  if (!first) return { kind: "failed", error };
  const { index, cause } = first;
  return {
    kind: "failed",
    error,
    cause: {
      index,
      type: first.error.type,
      message: first.error.message,
      ...(cause === undefined ? {} : { cause }),
    },
  };
}

/** The one that a map's error tells of. */
interface FailedItem {
  readonly index: number;
  readonly error: ErrorFacts;
  readonly cause: Json | undefined;
}

/** Items without a result, in order, read page by page. */
function openItems(deps: PerformerDeps, { facts, effect }: EffectCall, count: number) {
  let page: { index: number; item: Json }[] = [];
  let at = 0;
  let reading: Promise<void> | undefined;
  const read = async (): Promise<void> => {
    const length = Math.min(PAGE, count - at);
    const [items, results] = await Promise.all([
      deps.journal.getItems(facts.key, effect.token, at, length),
      deps.journal.getResults(facts.key, effect.token, at, length),
    ]);
    const from = at;
    page = items.flatMap((text, offset) =>
      text === undefined || results[offset] !== undefined
        ? []
        : [{ index: from + offset, item: parsed(text) }],
    );
    at += length;
  };
  return {
    over: () => at >= count && page.length === 0,
    next: async (): Promise<{ index: number; item: Json } | undefined> => {
      for (;;) {
        const first = page.shift();
        if (first) return first;
        if (at >= count && !reading) return undefined;
        reading ??= read().finally(() => (reading = undefined));
        await reading;
      }
    },
  };
}

async function performItem(
  deps: PerformerDeps,
  call: EffectCall,
  { each }: MapActor,
  index: number,
  item: Json,
  signal: AbortSignal,
): Promise<Outcome> {
  const token = `${call.effect.token}.${index}`;
  const now = deps.clock.now();
  let effect: Effect = { ...call.effect, token, attempt: 1, startedAt: now, attemptAt: now };
  for (;;) {
    const result =
      each.kind === "workflow"
        ? await performChild(deps, call, token, item, signal)
        : await callItem(deps, call, each, effect, item, signal);
    if (result.kind === "done") return { kind: "done", output: { value: result.output } };
    if (result.kind === "overloaded") {
      await pause(jittered(result.retryAfterMs, deps.random), signal);
      continue;
    }
    const { error, cause } = failureOf(result);
    const next = nextAttempt(effect, each, error, deps.clock.now(), deps.random);
    if (!next) return { kind: "failed", error, ...(cause === undefined ? {} : { cause }) };
    await pause((next.notBefore ?? 0) - deps.clock.now(), signal);
    effect = next;
  }
}

const failureOf = (result: CallResult): { error: ErrorFacts; cause?: Json } =>
  result.kind === "failed"
    ? result
    : {
        error: {
          type: "Fission.PermanentError",
          message: "An item of a map cannot wait for a callback: map over a workflow that does",
        },
      };

function callItem(
  deps: PerformerDeps,
  { facts, effect: whole }: EffectCall,
  each: Extract<MapActor["each"], { kind: "function" }>,
  effect: Effect,
  item: Json,
  signal: AbortSignal,
): Promise<CallResult> | CallResult {
  if (each.waitForCallback) return { kind: "accepted" };
  const now = deps.clock.now();
  const endsAt = attemptEndsAt({ ...effect, attemptAt: now }, each) ?? now + DEFAULT_TIMEOUT_MS;
  return deps.call(
    {
      run: facts.key,
      token: effect.token,
      attempt: effect.attempt,
      ...functionOf(facts.pins[whole.actor], whole.actor),
      ...targetOf(each),
      input: item,
      timeoutMs: Math.max(1, endsAt - now),
    },
    signal,
  );
}

/** Starts the item's run, or finds it, and waits for its end. */
async function performChild(
  deps: PerformerDeps,
  { facts, effect }: EffectCall,
  token: string,
  item: Json,
  signal: AbortSignal,
): Promise<CallResult> {
  const pin = facts.pins[effect.actor];
  if (pin?.kind !== "workflow")
    throw new Error(`Cannot start "${effect.actor}": the run pins no workflow for it`);
  const parent = { key: facts.key, token, close: "cancel" as const };
  const started = await deps.startChild({ parent, workflow: pin.name, input: item, tellsParent: false });
  if (started.kind === "later")
    return { kind: "overloaded", retryAfterMs: started.afterMs, why: started.reason };
  if (started.kind !== "waiting") return resultOf(deps, started);
  const child = childRunKey(facts.key, token);
  for (let waitMs = FIRST_LOOK_MS; ; waitMs = Math.min(waitMs * 2, LAST_LOOK_MS)) {
    await deps.nextChange(child, waitMs, signal);
    signal.throwIfAborted();
    const record = await deps.journal.load(child);
    const outcome: Outcome | undefined = record
      ? endOf(record)
      : { kind: "failed", error: { type: "Fission.Failed", message: `Run "${child.id}" was removed` } };
    if (outcome) return resultOf(deps, outcome);
  }
}

const resultOf = async (deps: PerformerDeps, outcome: Outcome): Promise<CallResult> =>
  outcome.kind === "failed"
    ? outcome
    : {
        kind: "done",
        output: "ref" in outcome.output ? await deps.payloads.load(outcome.output.ref) : outcome.output.value,
      };

/** As it lies in the journal: a large one is a reference there. */
async function resultText(deps: PerformerDeps, run: RunKey, outcome: Outcome): Promise<string> {
  if (outcome.kind === "failed") return JSON.stringify({ value: { error: { ...outcome.error } } });
  if ("ref" in outcome.output) return JSON.stringify(outcome.output);
  const text = JSON.stringify(outcome.output.value);
  return JSON.stringify(
    Buffer.byteLength(text) > deps.payloads.inlineBytes
      ? await deps.payloads.store(run, text)
      : outcome.output,
  );
}

/** All results in the order of their items; a failed item's is `{error}`. */
async function collect(deps: PerformerDeps, { facts, effect }: EffectCall, count: number): Promise<Json> {
  const results: Json[] = [];
  for (let at = 0; at < count; at += PAGE) {
    const texts = await deps.journal.getResults(facts.key, effect.token, at, Math.min(PAGE, count - at));
    for (const text of texts) results.push(await valueOf(deps, parsed(text ?? '{"value":null}')));
  }
  return results;
}

function valueOf(deps: PerformerDeps, stored: Json): Promise<Json> | Json {
  if (typeof stored !== "object" || stored === null) return null;
  if ("ref" in stored && typeof stored.ref === "string") return deps.payloads.load(stored.ref);
  return "value" in stored ? (stored.value ?? null) : null;
}

const parsed = (text: string): Json => JSON.parse(text);

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  if (ms <= 0) return;
  await new Promise<void>((resolve, reject) => {
    const abort = (): void => {
      clearTimeout(timer);
      reject(signal.reason instanceof Error ? signal.reason : new Error("aborted"));
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", abort);
      resolve();
    }, ms);
    signal.addEventListener("abort", abort, { once: true });
  });
}
