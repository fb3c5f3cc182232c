import type { Json } from "../core/json.ts";
import type { Outcome, RunKey } from "../core/run-record.ts";
import type { PerformerDeps } from "./performer-deps.ts";
import type { EffectCall } from "./ports.ts";

/** Results are read this many at a time. */
const PAGE = 500;

export interface OpenItem {
  readonly index: number;
  readonly item: Json;
  /** What is noted of it. */
  readonly state: string | undefined;
}

/** Items without a result, in order, read page by page. */
export function openItems(deps: PerformerDeps, { facts, effect }: EffectCall, count: number) {
  let page: OpenItem[] = [];
  let at = 0;
  let reading: Promise<void> | undefined;
  const read = async (): Promise<void> => {
    const length = Math.min(PAGE, count - at);
    const [items, results, notes] = await Promise.all([
      deps.journal.getItems(facts.key, effect.token, at, length),
      deps.journal.getResults(facts.key, effect.token, at, length),
      deps.journal.getItemNotes(facts.key, effect.token, at, length),
    ]);
    const from = at;
    page = items.flatMap((text, offset) =>
      text === undefined || results[offset] !== undefined
        ? []
        : [{ index: from + offset, item: parsed(text), state: notes[offset]?.state }],
    );
    at += length;
  };
  return {
    over: () => at >= count && page.length === 0,
    next: async (): Promise<OpenItem | undefined> => {
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

/** As it lies in the journal: a large one is a reference there. */
export async function resultText(deps: PerformerDeps, run: RunKey, outcome: Outcome): Promise<string> {
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
export async function collect(
  deps: PerformerDeps,
  { facts, effect }: EffectCall,
  count: number,
): Promise<Json> {
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
