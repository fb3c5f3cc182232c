import type { KubernetesWatchTrigger } from "../../../api/kinds/index.ts";
import { backoffMs } from "../../../kube/backoff.ts";
import type { KubeClient } from "../../../kube/client.ts";
import { isExpired, KubeError } from "../../../kube/kube-error.ts";
import { type KubeObject, keyOf } from "../../../kube/object.ts";
import { sleep } from "../../../kube/sleep.ts";
import type { Acceptance, AcceptInvocation } from "../invocations/accept.ts";
import type { Checkpoint, WatchJournal, WatchKey } from "./watch-journal.ts";
import { listFault, type WatchedKind } from "./watched-kind.ts";
import { objectText } from "./object-text.ts";
import { changesSince, isWanted, seenOf, type WatchedChange } from "./watched-changes.ts";

/*
 * Follows the objects of one trigger from its checkpoint. Invariants:
 * 1. Changes are accepted one after the other, in the order of the API server; each before the checkpoint goes beyond it.
 * 2. When one cannot be accepted or kept, nothing later is: the watch begins again at the checkpoint.
 * 3. A version that the server does not know any more brings a list, whose difference to what was seen is told instead.
 */
export interface FollowDeps {
  readonly client: Pick<KubeClient, "list" | "watch">;
  readonly journal: Pick<WatchJournal, "checkpoint">;
  readonly accept: AcceptInvocation;
  readonly key: WatchKey;
  readonly trigger: KubernetesWatchTrigger;
  readonly kind: WatchedKind;
  /** `error` undefined: it watches. */
  readonly onState: (error: unknown) => void;
  /** A change was passed on. */
  readonly onEvent: (type: WatchedChange["type"]) => void;
  /** So many changes have come that are not dealt with. */
  readonly onLag: (changes: number) => void;
}

/** The lease is another's. */
export class LeaseLost extends Error {}

const BACKOFF = { baseMs: 100, maxMs: 5_000 };
const PAGE_SIZE = 500;
/** More than this waits in the API server, not here. */
const MOST_WAITING = 2_000;

/** Ends when the signal aborts. @throws {LeaseLost} */
export async function followObjects(deps: FollowDeps, from: Checkpoint, signal: AbortSignal): Promise<void> {
  const state: State = { version: from.version, begun: from.version !== undefined, objects: from.objects };
  let failures = 0;
  while (!signal.aborted) {
    try {
      if (state.version === undefined) await relist(deps, state, signal);
      else await watchOnce(deps, state, signal);
      failures = 0;
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof LeaseLost) throw error;
      // A list that is refused is not asked for again at once.
      if (state.version !== undefined && needsNewList(error)) state.version = undefined;
      else {
        failures++;
        deps.onState(state.version === undefined ? listFault(error, deps.kind) : error);
      }
    }
    if (failures > 0) await sleep(backoffMs(failures, BACKOFF), signal);
  }
}

interface State {
  /** Undefined: a list is needed. */
  version: string | undefined;
  /** Something was seen before: what a list has beyond it is news. */
  begun: boolean;
  readonly objects: Checkpoint["objects"];
}

const needsNewList = (error: unknown): boolean =>
  isExpired(error) || (error instanceof KubeError && (error.status === 400 || error.status === 504));

async function relist(deps: FollowDeps, state: State, signal: AbortSignal): Promise<void> {
  const { objects, version } = await listAll(deps, signal);
  const { fields = [], includeExisting = false } = deps.trigger.spec;
  const changes = changesSince(state.objects, objects, fields);
  if (state.begun || includeExisting)
    for (const [at, change] of changes.entries()) {
      deps.onLag(changes.length - at);
      await tell(deps, state, change, undefined);
    }
  else {
    for (const { name, seen } of changes) if (seen) state.objects.set(name, seen);
    await keep(deps, undefined, [...state.objects]);
  }
  await keep(deps, version, []);
  deps.onLag(0);
  state.version = version;
  state.begun = true;
}

async function listAll(
  { client, kind, trigger }: FollowDeps,
  signal: AbortSignal,
): Promise<{ objects: KubeObject[]; version: string }> {
  const { labelSelector, fieldSelector } = kind;
  const selection = {
    namespace: trigger.metadata.namespace ?? "default",
    labelSelector,
    fieldSelector,
    signal,
  };
  const objects: KubeObject[] = [];
  let next = "";
  do {
    const page = await client.list(kind.type, { ...selection, limit: PAGE_SIZE, continue: next });
    objects.push(...page.items);
    next = page.continue;
    if (next === "") return { objects, version: page.resourceVersion };
  } while (!signal.aborted);
  throw signal.reason;
}

async function watchOnce(deps: FollowDeps, state: State, signal: AbortSignal): Promise<void> {
  const { client, kind, trigger } = deps;
  const { labelSelector, fieldSelector } = kind;
  const broken = new AbortController();
  let waiting = 0;
  let failed: unknown;
  let tail = Promise.resolve();
  const next = (work: () => Promise<void>): void => {
    if (broken.signal.aborted) return;
    if (++waiting > MOST_WAITING) broken.abort();
    deps.onLag(waiting);
    const run = async (before: Promise<void>): Promise<void> => {
      await before;
      if (failed !== undefined || signal.aborted) return;
      try {
        await work();
      } catch (error) {
        failed = error;
        broken.abort();
        return;
      }
      deps.onLag(--waiting);
    };
    tail = run(tail);
  };
  try {
    await client.watch(kind.type, {
      namespace: trigger.metadata.namespace ?? "default",
      labelSelector,
      fieldSelector,
      resourceVersion: state.version,
      signal: AbortSignal.any([signal, broken.signal]),
      onOpen: () => deps.onState(undefined),
      onEvent: (type, object) => {
        const version = object.metadata.resourceVersion;
        if (type === "BOOKMARK") next(() => reached(deps, state, version));
        else next(() => tell(deps, state, changeOf(deps, type, object), version));
      },
    });
  } catch (error) {
    // Ended here, because too many wait or because one has failed.
    if (!broken.signal.aborted) failed ??= error;
  }
  await tail;
  if (failed !== undefined) throw failed;
}

function changeOf({ trigger }: FollowDeps, type: WatchedChange["type"], object: KubeObject): WatchedChange {
  const seen = type === "DELETED" ? undefined : seenOf(object, trigger.spec.fields ?? []);
  return { type, name: keyOf(object), object, seen };
}

/** @param version that is reached with this change; undefined = not known before all of a list were told */
async function tell(
  deps: FollowDeps,
  state: State,
  change: WatchedChange,
  version: string | undefined,
): Promise<void> {
  const { events = [], fields = [] } = deps.trigger.spec;
  if (isWanted(change, state.objects.get(change.name), events, fields)) {
    await deps.accept(watchAcceptance(deps, change));
    deps.onEvent(change.type);
  }
  await keep(deps, version, [[change.name, change.seen]]);
  if (change.seen) state.objects.set(change.name, change.seen);
  else state.objects.delete(change.name);
  if (version !== undefined) state.version = version;
}

async function reached(deps: FollowDeps, state: State, version: string | undefined): Promise<void> {
  if (version === undefined) return;
  await keep(deps, version, []);
  state.version = version;
}

async function keep(
  { journal, key }: FollowDeps,
  ...what: [string | undefined, Parameters<WatchJournal["checkpoint"]>[2]]
): Promise<void> {
  if (!(await journal.checkpoint(key, ...what))) throw new LeaseLost();
}

function watchAcceptance({ trigger, kind }: FollowDeps, { type, object }: WatchedChange): Acceptance {
  const { name, namespace = "default", uid = "" } = trigger.metadata;
  const { managedFields: _, ...metadata } = { managedFields: undefined, ...object.metadata };
  const { apiVersion, kind: kindName, plural } = kind.type;
  const id = `watch/${uid}/${metadata.uid ?? ""}/${metadata.resourceVersion ?? ""}/${type}`;
  return {
    source: `watch/${name}`,
    dedupKey: id,
    target: trigger.spec.functionref,
    event: {
      id,
      namespace,
      method: "POST",
      path: "/",
      headers: {
        "content-type": "application/json",
        "x-kubernetes-event-type": type,
        "x-kubernetes-object-type": kindName,
        "ce-type": `dev.isotope.kubernetes.${type.toLowerCase()}`,
        "ce-source": `/isotope/${namespace}/kuberneteswatchtriggers/${name}`,
        "ce-subject": `${plural}/${metadata.name}`,
      },
      body: Buffer.from(objectText({ ...object, apiVersion, kind: kindName, metadata })),
    },
  };
}
