import { createHash } from "node:crypto";
import type { KubeClient } from "./client.ts";
import { rfc3339 } from "./conditions.ts";
import { EVENTS, type KubeEvent } from "./core.ts";
import { isNotFound } from "./kube-error.ts";
import type { KubeObject } from "./object.ts";

export interface EventRecorder {
  /**
   * Records what happened to an object; never throws and never waits. The same event again within ten minutes raises the count
   * of the first one; an object that causes too many different ones is cut short.
   */
  record(object: KubeObject, type: "Normal" | "Warning", reason: string, message: string): void;
  /** Resolves when all that was recorded is written or given up. */
  flush(): Promise<void>;
}

const AGGREGATE_MS = 600_000;
const MAX_TRACKED = 4_096;
const MAX_MESSAGE = 1_024;
/** As client-go's spam filter: 25 events at once per object, then one each five minutes. */
const BURST = 25;
const REFILL_MS = 300_000;

interface Tracked {
  name: string;
  count: number;
  firstAt: Date;
  lastMs: number;
}

/** Writes Events as `component`. `now` is injected for tests. */
export function createEventRecorder(options: {
  client: Pick<KubeClient, "create" | "patch">;
  component: string;
  onError?: (error: unknown) => void;
  now?: () => Date;
}): EventRecorder {
  const now = options.now ?? (() => new Date());
  const tracked = new Map<string, Tracked>();
  const budgets = new Map<string, { tokens: number; atMs: number }>();
  let writing: Promise<void> = Promise.resolve();

  const record: EventRecorder["record"] = (object, type, reason, message) => {
    const at = now();
    const text = message.slice(0, MAX_MESSAGE);
    const key = hash([object.metadata.uid ?? "", object.kind ?? "", type, reason, text].join("\0"));
    const known = tracked.get(key);
    const fresh = known && at.getTime() - known.lastMs < AGGREGATE_MS ? known : undefined;
    if (!fresh && !takeToken(budgets, object.metadata.uid ?? "", at.getTime())) return;
    const entry: Tracked = fresh ?? {
      name: `${object.metadata.name.slice(0, 200)}.${key}${at.getTime().toString(16)}`,
      count: 0,
      firstAt: at,
      lastMs: 0,
    };
    entry.count++;
    entry.lastMs = at.getTime();
    tracked.delete(key);
    tracked.set(key, entry);
    trim(tracked);
    trim(budgets);
    const count = entry.count;
    writing = writing
      .then(() =>
        write(options.client, describe(object, type, reason, text, entry, count, at, options.component)),
      )
      .catch((error: unknown) => options.onError?.(error));
  };
  return { record, flush: () => writing };
}

function describe(
  object: KubeObject,
  type: string,
  reason: string,
  message: string,
  entry: Tracked,
  count: number,
  at: Date,
  component: string,
): KubeEvent {
  const { namespace, name, uid, resourceVersion } = object.metadata;
  return {
    metadata: { namespace: namespace ?? "default", name: entry.name },
    involvedObject: {
      apiVersion: object.apiVersion,
      kind: object.kind,
      namespace,
      name,
      uid,
      resourceVersion,
    },
    type,
    reason,
    message,
    count,
    firstTimestamp: rfc3339(entry.firstAt),
    lastTimestamp: rfc3339(at),
    source: { component },
    reportingComponent: component,
    reportingInstance: "",
  };
}

async function write(client: Pick<KubeClient, "create" | "patch">, event: KubeEvent): Promise<void> {
  if ((event.count ?? 1) > 1) {
    try {
      await client.patch(EVENTS, event.metadata, { count: event.count, lastTimestamp: event.lastTimestamp });
      return;
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }
  await client.create(EVENTS, event);
}

function takeToken(
  budgets: Map<string, { tokens: number; atMs: number }>,
  uid: string,
  nowMs: number,
): boolean {
  const budget = budgets.get(uid) ?? { tokens: BURST, atMs: nowMs };
  const refilled = Math.min(BURST, budget.tokens + (nowMs - budget.atMs) / REFILL_MS);
  const granted = refilled >= 1;
  budgets.delete(uid);
  budgets.set(uid, { tokens: granted ? refilled - 1 : refilled, atMs: nowMs });
  return granted;
}

function trim(map: Map<string, unknown>): void {
  for (const key of map.keys()) {
    if (map.size <= MAX_TRACKED) return;
    map.delete(key);
  }
}

function hash(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 10);
}
