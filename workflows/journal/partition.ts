import type { RunKey } from "../core/run-record.ts";
import { PARTITIONS } from "./journal.ts";

/** Where a run's keys lie, 0..255: FNV-1a of its address. Never changes, since stored runs are found by it. */
export function partitionOf(key: RunKey): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(`${key.namespace}/${key.id}`)) hash = Math.imul(hash ^ byte, 0x01000193);
  return (hash >>> 0) % PARTITIONS;
}
