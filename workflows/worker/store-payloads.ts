import { itemsOf } from "../core/advance.ts";
import type { Change } from "../core/change.ts";
import type { Effect, Payload, RunKey, RunRecord } from "../core/run-record.ts";
import type { Journal, Lease } from "../journal/journal.ts";
import type { Payloads } from "./ports.ts";

/** Items of a map are stored this many at a time. */
const ITEMS_AT_ONCE = 500;
/** A map's input lies outside the record from this size on, in bytes: it is read once, the record is written at every commit. */
const MAP_INPUT_BYTES = 4_096;

/** Values that are known to be small, so that they are not measured again at every commit. */
const small = new WeakSet<Payload>();

/** The change with its large payloads stored outside, ready to be committed. */
export async function storePayloads(change: Change, payloads: Payloads): Promise<Change> {
  if (payloadsOf(change).every((payload) => isSmall(payload, payloads.inlineBytes))) return change;
  const { record } = change;
  const { key } = record.facts;
  const outside = (payload: Payload): Promise<Payload> =>
    stored(key, payload, payloads, payloads.inlineBytes);
  const effects = await eachValue(record.effects, async (effect) => {
    const input = await stored(
      key,
      effect.input,
      payloads,
      effect.map ? MAP_INPUT_BYTES : payloads.inlineBytes,
    );
    return input === effect.input ? effect : { ...effect, input };
  });
  const compensations = await Promise.all(
    record.compensations.map(async (compensation) => ({
      ...compensation,
      input: await outside(compensation.input),
      output: await outside(compensation.output),
    })),
  );
  const output = record.output && (await outside(record.output));
  const history = await Promise.all(
    change.history.map(async (entry) =>
      entry.payload ? { ...entry, payload: await outside(entry.payload) } : entry,
    ),
  );
  return { record: { ...record, effects, compensations, ...(output && { output }) }, history };
}

/** Those that a commit would write; of a map's input nothing is known without a look at its own limit. */
function payloadsOf({ record, history }: Change): (Payload | "unknown")[] {
  return [
    ...Object.values(record.effects).map(({ input, map }) => (map && "value" in input ? "unknown" : input)),
    ...record.compensations.flatMap(({ input, output }) => [input, output]),
    ...history.flatMap(({ payload }) => payload ?? []),
    ...(record.output ? [record.output] : []),
  ];
}

/** Whether a value may lie in the record; one that may is remembered. */
function isSmall(payload: Payload | "unknown", inlineBytes: number): boolean {
  if (payload === "unknown") return false;
  if (!("value" in payload) || small.has(payload)) return true;
  if (Buffer.byteLength(JSON.stringify(payload.value)) > inlineBytes) return false;
  small.add(payload);
  return true;
}

async function stored(run: RunKey, payload: Payload, payloads: Payloads, limit: number): Promise<Payload> {
  if (!("value" in payload) || (limit === payloads.inlineBytes && small.has(payload))) return payload;
  const json = JSON.stringify(payload.value);
  if (Buffer.byteLength(json) > limit) return payloads.store(run, json);
  if (limit === payloads.inlineBytes) small.add(payload);
  return payload;
}

async function eachValue<T>(
  table: Readonly<Record<string, T>>,
  change: (value: T) => Promise<T>,
): Promise<Record<string, T>> {
  return Object.fromEntries(
    await Promise.all(Object.entries(table).map(async ([key, value]) => [key, await change(value)] as const)),
  );
}

/** Stores the items of the maps that a change opens. `conflict`: the lease is lost. */
export async function storeItems(
  before: RunRecord,
  after: RunRecord,
  lease: Lease,
  journal: Journal,
  payloads: Payloads,
): Promise<"stored" | "conflict"> {
  for (const effect of Object.values(after.effects)) {
    if (effect.map === undefined || effect.token in before.effects) continue;
    if ((await storeItemsOf(effect, lease, journal, payloads)) === "conflict") return "conflict";
  }
  return "stored";
}

async function storeItemsOf(
  effect: Effect,
  lease: Lease,
  journal: Journal,
  payloads: Payloads,
): Promise<"stored" | "conflict"> {
  const input = "value" in effect.input ? effect.input.value : await payloads.load(effect.input.ref);
  const items = itemsOf(input) ?? [];
  for (let from = 0; from < items.length; from += ITEMS_AT_ONCE) {
    const texts = items.slice(from, from + ITEMS_AT_ONCE).map((item) => JSON.stringify(item ?? null));
    if ((await journal.putItems(lease, effect.token, from, texts)) === "conflict") return "conflict";
  }
  return "stored";
}

/** Map effects that a change closes. */
export const closedMaps = (before: RunRecord, after: RunRecord): string[] =>
  Object.values(before.effects)
    .filter(({ token, map }) => map !== undefined && !(token in after.effects))
    .map(({ token }) => token);
