/** What became of a nonce: `fresh` = remembered now, `used` = seen before, `full` = no room to remember it. */
type NonceUse = "fresh" | "used" | "full";

export interface NonceMemory {
  /** Remembers `nonce` until `expiresMs` (same clock as `nowMs`). */
  use(nonce: string, expiresMs: number, nowMs: number): NonceUse;
}

const BUCKET_MS = 10_000;

/** Memory of at most `capacity` nonces, kept in buckets by expiry so that forgetting costs nothing per nonce. */
export function nonceMemory(capacity = 500_000): NonceMemory {
  const buckets = new Map<number, Set<string>>();
  let held = 0;
  return {
    use: (nonce, expiresMs, nowMs) => {
      for (const [end, bucket] of buckets) {
        if (end > nowMs) continue;
        held -= bucket.size;
        buckets.delete(end);
      }
      // A sender signs a nonce together with one time, so its bucket is always the same one.
      const end = (Math.floor(expiresMs / BUCKET_MS) + 1) * BUCKET_MS;
      let bucket = buckets.get(end);
      if (bucket?.has(nonce)) return "used";
      if (held >= capacity) return "full";
      if (!bucket) buckets.set(end, (bucket = new Set()));
      bucket.add(nonce);
      held += 1;
      return "fresh";
    },
  };
}
