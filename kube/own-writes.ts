import type { KubeObject } from "./object.ts";

/**
 * Remembers what this process wrote last, so that a reconciler does not act on a cached object that is older than its own write:
 * the watch event of the write comes a moment later and brings the key back to the queue.
 */
export interface OwnWrites {
  note(key: string, written: KubeObject): void;
  /** Whether the cache has not caught up yet. Forgets the write when it has. */
  isStale(key: string, cached: KubeObject): boolean;
  forget(key: string): void;
}

export function createOwnWrites(): OwnWrites {
  const written = new Map<string, KubeObject["metadata"]>();
  return {
    note: (key, object) => {
      written.set(key, object.metadata);
    },
    isStale: (key, cached) => {
      const last = written.get(key);
      if (!last) return false;
      if (last.uid === cached.metadata.uid && isOlder(cached.metadata.resourceVersion, last.resourceVersion))
        return true;
      written.delete(key);
      return false;
    },
    forget: (key) => {
      written.delete(key);
    },
  };
}

/** Resource versions are comparable as whole numbers (documented since Kubernetes 1.35, true of every server with etcd before). */
function isOlder(version: string | undefined, than: string | undefined): boolean {
  if (!/^\d+$/.test(version ?? "") || !/^\d+$/.test(than ?? "")) return false;
  return BigInt(version ?? "0") < BigInt(than ?? "0");
}
