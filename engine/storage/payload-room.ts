import { PlatformError } from "../../api/errors.ts";
import { type Payload, payloadRef } from "../../api/wire/payloads.ts";

/*
 * How many bytes payloads have. Invariants:
 * R1. What is being stored counts from before its first byte on: those at the same time do not pass the bound together.
 * R2. A count takes what it lists, but of what changed while it listed, what it became.
 */
export interface PayloadRoom {
  /**
   * Takes room; a count is made anew before it says that there is none.
   * @param maxUnderWay bytes that may be on their way at once
   * @throws {PlatformError} storage_full, storage_unavailable (too much is on its way)
   */
  take(payload: Payload, maxUnderWay?: number): Promise<void>;
  give(payload: Payload): void;
  /** It is stored by now, or will not be. */
  settled(payload: Payload): void;
  /** Counts anew. `stays` is asked of each that is listed; false = it was removed just now. */
  count(stays?: (payload: Payload, key: string) => Promise<boolean>): Promise<void>;
  readonly use: () => { readonly count: number; readonly bytes: number };
}

export interface PayloadRoomOptions {
  readonly maxBytes: number;
  readonly list: () => AsyncIterable<{ readonly key: string; readonly payload: Payload }>;
  readonly now: () => number;
}

/** Not more often a count is made because there seems to be no room. */
const COUNTED_EVERY_MS = 10_000;

const BUSY_MS = 1_000;

interface Change {
  readonly payload: Payload;
  readonly there: boolean;
}

interface Tally {
  count: number;
  bytes: number;
  readonly byNamespace: Map<string, number>;
}

export function payloadRoom({ maxBytes, list, now }: PayloadRoomOptions): PayloadRoom {
  let tally: Tally = newTally();
  const underWay = new Map<string, Payload>();
  /** While a count is made: what became of payloads since it began. */
  let changed: Map<string, Change> | undefined;
  let counting: Promise<void> = Promise.resolve();
  let countedAt = -Infinity;
  const change = (payload: Payload, there: boolean): void => {
    add(tally, payload, there ? 1 : -1);
    changed?.set(payloadRef(payload), { payload, there });
  };

  const counted = async (stays: (payload: Payload, key: string) => Promise<boolean>): Promise<void> => {
    const since = new Map<string, Change>();
    for (const [ref, payload] of underWay) since.set(ref, { payload, there: true });
    changed = since;
    const fresh = newTally();
    const seen = new Set<string>();
    try {
      for await (const { key, payload } of list())
        if (await stays(payload, key)) {
          seen.add(payloadRef(payload));
          add(fresh, payload, 1);
        }
      for (const [ref, { payload, there }] of since)
        if (there !== seen.has(ref)) add(fresh, payload, there ? 1 : -1);
      tally = fresh;
      countedAt = now();
    } finally {
      changed = undefined;
    }
  };
  /** One after the other. */
  const count: PayloadRoom["count"] = (stays = async () => true) => {
    counting = counting.catch(() => undefined).then(() => counted(stays));
    return counting;
  };
  const lacking = ({ namespace, sizeBytes }: Payload): string | undefined => {
    if (tally.bytes + sizeBytes > maxBytes)
      return `payloads have ${tally.bytes} of ${maxBytes} bytes already`;
    const own = tally.byNamespace.get(namespace) ?? 0;
    return own + sizeBytes > maxBytes / 2
      ? `those of namespace "${namespace}" have ${own} of ${Math.floor(maxBytes / 2)} bytes already`
      : undefined;
  };
  return {
    take: async (payload, maxUnderWay = Infinity) => {
      if (lacking(payload) !== undefined && now() - countedAt >= COUNTED_EVERY_MS) await count();
      const why = lacking(payload);
      if (why !== undefined)
        throw new PlatformError(
          "storage_full",
          `Cannot store a payload of ${payload.sizeBytes} bytes: ${why}`,
          { retryAfterMs: COUNTED_EVERY_MS },
        );
      let onTheirWay = payload.sizeBytes;
      for (const { sizeBytes } of underWay.values()) onTheirWay += sizeBytes;
      if (underWay.size > 0 && onTheirWay > maxUnderWay)
        throw new PlatformError("storage_unavailable", "The storage is receiving too much at once", {
          retryAfterMs: BUSY_MS,
        });
      change(payload, true);
      underWay.set(payloadRef(payload), payload);
    },
    give: (payload) => change(payload, false),
    settled: (payload) => void underWay.delete(payloadRef(payload)),
    count,
    use: () => ({ count: tally.count, bytes: tally.bytes }),
  };
}

const newTally = (): Tally => ({ count: 0, bytes: 0, byNamespace: new Map() });

function add(tally: Tally, { namespace, sizeBytes }: Payload, times: 1 | -1): void {
  // Of two that remove the same one both subtract it: the next count puts that right.
  tally.count = Math.max(0, tally.count + times);
  tally.bytes = Math.max(0, tally.bytes + times * sizeBytes);
  const own = Math.max(0, (tally.byNamespace.get(namespace) ?? 0) + times * sizeBytes);
  if (own === 0) tally.byNamespace.delete(namespace);
  else tally.byNamespace.set(namespace, own);
}
