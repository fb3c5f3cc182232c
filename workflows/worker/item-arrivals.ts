/**
 * What has come for the items of a map while it is performed: whose, not what, which lies in the journal by then. Nobody who looks after `told` misses it,
 * in whatever order the two happen.
 */
export interface ItemArrivals {
  told(item: number): void;
  /** Something has come that nobody has looked for since. */
  pending(): boolean;
  /** Whether something has come for this item; it is looked for now. */
  take(item: number): boolean;
  /** Called whenever something comes. Gives what ends it. */
  listen(call: (item: number) => void): () => void;
}

export function itemArrivals(): ItemArrivals {
  const arrived = new Set<number>();
  const listeners = new Set<(item: number) => void>();
  return {
    told: (item) => {
      arrived.add(item);
      for (const listener of listeners) listener(item);
    },
    pending: () => arrived.size > 0,
    take: (item) => arrived.delete(item),
    listen: (call) => {
      listeners.add(call);
      return () => void listeners.delete(call);
    },
  };
}
