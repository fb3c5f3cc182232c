import type { Payloads } from "../../../net/payloads.ts";

/*
 * Bodies and results that are too large for their record lie in the storage. Invariants:
 * S1. One is there before a record names it, and is removed when the record is, or needs it no more; what a crash leaves between goes by its time, which
 *     is longer than any record that names it lives. Whoever gives a record a new life (redrive) sees to that first.
 * S2. While the storage is away, what needs it waits and uses up no attempt; nothing else notices.
 */
export interface Spills extends Pick<Payloads, "open" | "remove"> {
  /** Resolves with where it is, once it is durable. @throws {PlatformError} storage_unavailable, storage_full */
  put(namespace: string, content: Uint8Array, what: SpillKind): Promise<string>;
  /** Undefined when it is gone. */
  get(spill: string): Promise<Uint8Array | undefined>;
  /** Where a body is from now on, for a life as long as a new one's; undefined when it is gone. */
  keep(spill: string): Promise<string | undefined>;
}

type SpillKind = "body" | "result";

/** Larger ones do not lie in their record. */
export const INLINE_BYTES = 256 * 2 ** 10;

/** @param keptMs longer than any record that names one */
export const storageSpills = (payloads: Payloads, keptMs: Readonly<Record<SpillKind, number>>): Spills => ({
  put: (namespace, content, what) => payloads.put(namespace, content, keptMs[what]),
  get: (spill) => payloads.read(spill),
  open: (spill) => payloads.open(spill),
  keep: (spill) => payloads.keep(spill, keptMs.body),
  remove: (spill) => payloads.remove(spill),
});
