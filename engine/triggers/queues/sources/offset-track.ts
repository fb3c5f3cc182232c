/**
 * Which offsets of one partition are settled.
 *
 * Invariants
 * T1. `uncommitted` never goes past an offset that was taken and is not settled.
 * T2. An offset that is in hand, or settled and not committed, is not taken again.
 */
export interface OffsetTrack {
  /** A batch starts here. A start before what was committed means that the partition begins anew: nothing of the former one counts. */
  begin(first: bigint): void;
  /** False: it is in hand, or settled. */
  take(offset: bigint): boolean;
  settle(offset: bigint): void;
  /** They are not in hand any more, and not settled: they will be taken again. */
  drop(offsets: ReadonlySet<bigint>): void;
  /** All below is behind us, once what is in hand of it is settled: also what carried no message. */
  reached(next: bigint): void;
  /** The offset to go on from, if it is past what was committed. */
  uncommitted(): bigint | undefined;
  committed(next: bigint): void;
  /** In hand. */
  readonly size: number;
}

export function createOffsetTrack(): OffsetTrack {
  const open = new Set<bigint>();
  /** Offsets that were taken and not passed by `done`, ascending. */
  let line: bigint[] = [];
  const settled = new Set<bigint>();
  let end = -1n;
  let written = -1n;
  return {
    begin: (first) => {
      if (first >= written || open.size > 0) return;
      line = [];
      settled.clear();
      end = written = first;
    },
    take: (offset) => {
      if (open.has(offset) || settled.has(offset)) return false;
      open.add(offset);
      const last = line.at(-1);
      line.push(offset);
      if (last !== undefined && offset < last) line.sort((a, b) => (a < b ? -1 : 1));
      return true;
    },
    settle: (offset) => {
      if (open.delete(offset)) settled.add(offset);
    },
    drop: (offsets) => {
      line = line.filter((offset) => !offsets.has(offset));
      for (const offset of offsets) if (open.delete(offset) && offset < end) end = offset;
    },
    reached: (next) => {
      end = next;
    },
    uncommitted: () => {
      let at = 0;
      while (at < line.length && !open.has(line[at] ?? -1n)) at++;
      if (at > 0) line = line.slice(at);
      const [first] = line;
      const next = first !== undefined && first < end ? first : end;
      return next > written ? next : undefined;
    },
    committed: (next) => {
      written = next;
      for (const offset of settled) if (offset < next) settled.delete(offset);
    },
    get size() {
      return open.size;
    },
  };
}
