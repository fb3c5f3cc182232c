/**
 * Follows one kind (or a selection of it) at the API server, for as long as it runs.
 *
 * Invariants
 * L1. One loop: list, then watch from the list's version, again and again until the signal aborts. Nothing else ends it:
 *     refused, reset, silent and rejected connections are retried with back-off, for ever.
 * L2. A watch resumes from the last version seen; only 410 (or a version that the server does not know) forces a new list.
 * L3. Nothing is reported after the signal aborted.
 */
import { backoffMs } from "./backoff.ts";
import type { KubeClient } from "./client.ts";
import { isExpired, KubeError } from "./kube-error.ts";
import type { KubeObject } from "./object.ts";
import type { ResourceType } from "./resource.ts";
import { sleep } from "./sleep.ts";

export interface ListWatchOptions<T extends KubeObject> {
  client: Pick<KubeClient, "list" | "watch" | "scope">;
  type: ResourceType<T>;
  namespace?: string | undefined;
  labelSelector?: string | undefined;
  fieldSelector?: string | undefined;
  /** A watch without any sign of life for so long is opened anew. */
  silenceMs?: number;
  pageSize?: number;
  backoff?: { baseMs: number; maxMs: number };
  random?: () => number;
}

/** Where the loop reports to. `keep` is applied to each object as it arrives, so that a long list is never held whole. */
export interface ListWatchSink<T> {
  keep: (object: T) => T;
  onList: (objects: T[]) => void;
  onEvent: (type: "ADDED" | "MODIFIED" | "DELETED", object: T) => void;
  onError: (error: unknown, failuresInARow: number) => void;
}

export interface ListWatch {
  /** Resolves once the loop has ended. */
  readonly ended: Promise<void>;
  /** Milliseconds since the server was last heard; 0 while a watch is open. Infinity before the first list. */
  stalenessMs(): number;
}

const DEFAULT_BACKOFF = { baseMs: 50, maxMs: 5_000 };
const DEFAULT_PAGE_SIZE = 500;
/** A watch that lived shorter and brought nothing counts as a failure, else a broken proxy would be hammered. */
const MIN_GOOD_WATCH_MS = 1_000;

export function runListWatch<T extends KubeObject>(
  options: ListWatchOptions<T>,
  sink: ListWatchSink<T>,
  signal: AbortSignal,
): ListWatch {
  const state = {
    failures: 0,
    heardAt: -Infinity,
    watching: false,
    version: undefined as string | undefined,
  };

  const heard = () => {
    state.heardAt = performance.now();
  };

  const list = async (): Promise<void> => {
    const { objects, resourceVersion } = await listAll(options, sink.keep, signal);
    if (signal.aborted) return;
    heard();
    state.version = resourceVersion;
    sink.onList(objects);
  };

  const watch = async (): Promise<void> => {
    const from = state.version;
    const openedAt = performance.now();
    try {
      await options.client.watch(options.type, {
        namespace: options.namespace,
        labelSelector: options.labelSelector,
        fieldSelector: options.fieldSelector,
        resourceVersion: from,
        signal,
        ...(options.silenceMs === undefined ? {} : { silenceMs: options.silenceMs }),
        onOpen: () => {
          state.watching = true;
          heard();
        },
        onContact: () => {
          state.failures = 0;
          heard();
        },
        onEvent: (type, object) => {
          state.version = object.metadata.resourceVersion ?? state.version;
          if (type !== "BOOKMARK") sink.onEvent(type, type === "DELETED" ? object : sink.keep(object));
        },
      });
      const fruitless = state.version === from && performance.now() - openedAt < MIN_GOOD_WATCH_MS;
      state.failures = fruitless ? state.failures + 1 : 0;
    } finally {
      if (state.watching) heard();
      state.watching = false;
    }
  };

  const run = async (): Promise<void> => {
    while (!signal.aborted) {
      try {
        if (state.version === undefined) await list();
        else await watch();
      } catch (error) {
        if (signal.aborted) return;
        state.failures++;
        if (needsNewList(error)) state.version = undefined;
        sink.onError(error, state.failures);
      }
      if (state.failures > 0) {
        await sleep(backoffMs(state.failures, options.backoff ?? DEFAULT_BACKOFF, options.random), signal);
      }
    }
  };

  return {
    ended: run(),
    stalenessMs: () => (state.watching ? 0 : performance.now() - state.heardAt),
  };
}

/** 410 says so; a 400 comes from a server that cannot read the version, a 504 from one that has not reached it. */
function needsNewList(error: unknown): boolean {
  return isExpired(error) || (error instanceof KubeError && (error.status === 400 || error.status === 504));
}

/** All pages. When the snapshot expires half-way, everything is read again in one piece. */
async function listAll<T extends KubeObject>(
  options: ListWatchOptions<T>,
  keep: (object: T) => T,
  signal: AbortSignal,
): Promise<{ objects: T[]; resourceVersion: string }> {
  const selection = {
    namespace: options.namespace,
    labelSelector: options.labelSelector,
    fieldSelector: options.fieldSelector,
    signal,
  };
  const objects: T[] = [];
  let token = "";
  for (;;) {
    try {
      const page = await options.client.list(options.type, {
        ...selection,
        limit: options.pageSize ?? DEFAULT_PAGE_SIZE,
        continue: token,
      });
      for (const object of page.items) objects.push(keep(object));
      token = page.continue;
      if (token === "") return { objects, resourceVersion: page.resourceVersion };
    } catch (error) {
      if (!isExpired(error) || token === "") throw error;
      const whole = await options.client.list(options.type, selection);
      return { objects: whole.items.map(keep), resourceVersion: whole.resourceVersion };
    }
  }
}
