/**
 * `runListWatch` over the namespaces of a scope, as they come and go.
 *
 * Invariants
 * W1. The sink sees objects of namespaces in the scope only; when one leaves it, `onGone` tells, after which nothing of it is reported.
 * W2. A kind that may be read everywhere costs one watch, whatever the number of namespaces; all others one per namespace.
 * W3. `onSynced` comes once: when every namespace of the first scope was listed, or its list was refused. A namespace that may not be read
 *     (its rights are yet to come, or were taken away) keeps no other from being served; it is tried again for ever.
 */
import { KubeError } from "./kube-error.ts";
import { type ListWatch, type ListWatchOptions, type ListWatchSink, runListWatch } from "./list-watch.ts";
import { type NamespaceScope, readEverywhere } from "./scope.ts";
import type { KubeObject } from "./object.ts";

const EXPECTED_REFUSALS = 10;

export interface ScopedSink<T> extends Omit<ListWatchSink<T>, "onList"> {
  /** `namespace`: the list is of this namespace alone. */
  onList: (objects: T[], namespace: string | undefined) => void;
  /** The namespace has left the scope. */
  onGone: (namespace: string) => void;
  onSynced: () => void;
}

export function runScopedListWatch<T extends KubeObject>(
  options: ListWatchOptions<T>,
  scope: NamespaceScope,
  sink: ScopedSink<T>,
  signal: AbortSignal,
): ListWatch {
  const run = readEverywhere(options.type) ? followEverywhere : followEach;
  return run(options, scope, sink, signal);
}

/** One watch of all namespaces; a namespace that comes into the scope means a new list. */
function followEverywhere<T extends KubeObject>(
  options: ListWatchOptions<T>,
  scope: NamespaceScope,
  sink: ScopedSink<T>,
  signal: AbortSignal,
): ListWatch {
  const inScope = (object: T) => scope.has(object.metadata.namespace ?? "");
  let current: { listWatch: ListWatch; stop: AbortController } | undefined;
  let heardAt = -Infinity;
  let due = false;
  const ended: Promise<void>[] = [];

  const restart = () => {
    due = false;
    if (signal.aborted) return;
    if (current) {
      heardAt = Math.max(heardAt, performance.now() - current.listWatch.stalenessMs());
      current.stop.abort();
    }
    const stop = new AbortController();
    const own = AbortSignal.any([signal, stop.signal]);
    const listWatch = runListWatch(
      options,
      {
        ...sink,
        onList: (objects) => {
          sink.onList(objects.filter(inScope), undefined);
          sink.onSynced();
        },
        onEvent: (type, object) => {
          if (type === "DELETED" || inScope(object)) sink.onEvent(type, object);
        },
      },
      own,
    );
    current = { listWatch, stop };
  };
  const begin = async (): Promise<void> => {
    await scope.synced;
    if (signal.aborted) return;
    const leave = scope.subscribe({
      onAdd: () => {
        if (due) return;
        due = true;
        queueMicrotask(restart);
      },
      onRemove: sink.onGone,
    });
    // With an empty scope there is nothing to wait for, but the watch is opened all the same: it tells whether the server is there.
    if (!due) restart();
    await aborted(signal);
    leave();
    if (current) ended.push(current.listWatch.ended);
    await Promise.all(ended);
  };
  return {
    ended: begin(),
    stalenessMs: () =>
      Math.min(current?.listWatch.stalenessMs() ?? Infinity, Math.max(0, performance.now() - heardAt)),
  };
}

/** One watch per namespace. */
function followEach<T extends KubeObject>(
  options: ListWatchOptions<T>,
  scope: NamespaceScope,
  sink: ScopedSink<T>,
  signal: AbortSignal,
): ListWatch {
  const followed = new Map<string, { listWatch: ListWatch; stop: AbortController }>();
  let waitedFor: Set<string> | undefined;

  const settled = (namespace: string) => {
    if (!waitedFor?.delete(namespace) || waitedFor.size > 0) return;
    waitedFor = undefined;
    sink.onSynced();
  };
  const follow = (namespace: string) => {
    const stop = new AbortController();
    const own = AbortSignal.any([signal, stop.signal]);
    let listed = false;
    const listWatch = runListWatch(
      { ...options, namespace },
      {
        ...sink,
        onList: (objects) => {
          listed = true;
          sink.onList(objects, namespace);
          settled(namespace);
        },
        onError: (error, failures) => {
          const refused = isRefused(error);
          if (refused) settled(namespace);
          // The rights of a new namespace come a moment after its label.
          if (!refused || listed || failures >= EXPECTED_REFUSALS) sink.onError(error, failures);
        },
      },
      own,
    );
    followed.set(namespace, { listWatch, stop });
  };
  const leave = (namespace: string) => {
    followed.get(namespace)?.stop.abort();
    followed.delete(namespace);
    sink.onGone(namespace);
    settled(namespace);
  };
  const begin = async (): Promise<void> => {
    await scope.synced;
    if (signal.aborted) return;
    const first = scope.list();
    waitedFor = new Set(first);
    const unsubscribe = scope.subscribe({ onAdd: follow, onRemove: leave });
    if (first.length === 0) sink.onSynced();
    await aborted(signal);
    unsubscribe();
    await Promise.all([...followed.values()].map(({ listWatch }) => listWatch.ended));
  };
  return {
    ended: begin(),
    stalenessMs: () => {
      if (!scope.hasSynced()) return Infinity;
      // A namespace that may not be read tells nothing about the server.
      const ages = [...followed.values()]
        .map(({ listWatch }) => listWatch.stalenessMs())
        .filter((age) => age !== Infinity);
      return ages.length > 0 ? Math.max(...ages) : 0;
    },
  };
}

function isRefused(error: unknown): boolean {
  return error instanceof KubeError && (error.status === 401 || error.status === 403 || error.status === 404);
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
