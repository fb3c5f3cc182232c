import { dedupeMark, unacceptable } from "../core/delivery-rules.ts";
import { nextDueAt } from "../core/next-due.ts";
import {
  type HistoryEntry,
  type Message,
  RUN_FORMAT,
  type RunKey,
  type RunRecord,
  type RunStatus,
} from "../core/run-record.ts";
import type {
  Claim,
  ClaimRefused,
  Commit,
  Committed,
  Delivered,
  ItemNote,
  Journal,
  Lease,
  NewEntry,
  RunFilter,
  RunSummary,
  StoredMessage,
} from "./journal.ts";
import { partitionOf } from "./partition.ts";

/**
 * Where a fault can strike: before an operation takes place, or after it, when only its answer is lost. The hook may wait (a slow store) or throw (a lost
 * connection, a crash of the caller).
 */
export interface JournalCall {
  readonly operation: keyof Journal;
  readonly phase: "before" | "after";
  readonly key?: RunKey;
  readonly worker?: string;
}

export interface MemoryJournalOptions {
  /** The store's clock: ms since 1970. */
  readonly now: () => number;
  readonly onCall?: (call: JournalCall) => Promise<void> | void;
  /** Shared with other journals: several clients of one store. */
  readonly store?: MemoryStore;
}

/** What lies in a journal in memory. */
export interface MemoryStore {
  readonly runs: Map<string, StoredRun>;
}
export const memoryStore = (): MemoryStore => ({ runs: new Map() });

interface MapData {
  readonly items: string[];
  readonly results: (string | undefined)[];
  readonly notes: Map<number, Partial<Record<ItemNote, string>>>;
  done: number;
  failed: number;
}

interface StoredRun {
  readonly key: RunKey;
  readonly partition: number;
  record: string;
  version: number;
  status: RunStatus;
  epoch: number;
  owner: string | undefined;
  leaseUntil: number;
  readonly history: string[];
  inbox: StoredMessage[];
  position: number;
  readonly seen: Set<string>;
  readonly maps: Map<string, MapData>;
  dueAt: number | undefined;
}

/** Runs in this process's memory, as text, so that nothing is shared with the caller: for tests, and to say what a journal does. */
export function memoryJournal(options: MemoryJournalOptions): Journal {
  const { runs } = options.store ?? memoryStore();
  const now = options.now;
  const find = (key: RunKey): StoredRun | undefined => runs.get(address(key));
  const reaching: Reaching = async (call, act) => {
    await options.onCall?.({ ...call, phase: "before" });
    const answer = act();
    await options.onCall?.({ ...call, phase: "after" });
    return answer;
  };

  return {
    create: (record, history) =>
      reaching({ operation: "create", key: record.facts.key }, () => {
        const found = find(record.facts.key);
        if (found) return { created: false, record: parse(found) };
        const created = stored(record, history, now());
        runs.set(address(record.facts.key), created);
        return { created: true, record: parse(created) };
      }),
    load: (key) =>
      reaching({ operation: "load", key }, () => {
        const run = find(key);
        return run && parse(run);
      }),
    claim: (key, worker, leaseMs) =>
      reaching({ operation: "claim", key, worker }, () => claim(find(key), worker, leaseMs, now())),
    renew: (claims, leaseMs) =>
      reaching({ operation: "renew", ...(claims[0] && { worker: claims[0].worker }) }, () => {
        const held = claims.map((lease) => ({ lease, run: holder(find(lease.key), lease) }));
        for (const { run } of held) if (run) prolong(run, now() + leaseMs);
        return {
          lost: held.filter(({ run }) => !run).map(({ lease }) => lease.key),
          waiting: held.filter(({ run }) => run && run.inbox.length > 0).map(({ lease }) => lease.key),
        };
      }),
    release: (lease) =>
      reaching({ operation: "release", key: lease.key, worker: lease.worker }, () => {
        const run = holder(find(lease.key), lease);
        if (run) giveBack(run, parse(run), now());
      }),
    commit: (lease, commit) =>
      reaching({ operation: "commit", key: lease.key, worker: lease.worker }, () =>
        commitTo(holder(find(lease.key), lease), commit, now()),
      ),
    reopen: (expectedVersion, record, history) =>
      reaching({ operation: "reopen", key: record.facts.key }, () => {
        const run = find(record.facts.key);
        if (run?.version !== expectedVersion || run.status === "running") return "conflict";
        write(run, { ...record, version: expectedVersion + 1 }, history, now());
        giveBack(run, record, now());
        return "reopened";
      }),
    inbox: (lease) =>
      reaching({ operation: "inbox", key: lease.key, worker: lease.worker }, () =>
        structuredClone(holder(find(lease.key), lease)?.inbox ?? []),
      ),
    deliver: (key, message) =>
      reaching({ operation: "deliver", key }, () => deliver(find(key), message, now())),
    due: (partition, limit) =>
      reaching({ operation: "due" }, () => due(runs.values(), partition, limit, now())),
    now: () => reaching({ operation: "now" }, now),
    history: (key, from, limit) =>
      reaching({ operation: "history", key }, () =>
        (find(key)?.history ?? [])
          .slice(Math.max(0, from - 1), Math.max(0, from - 1) + limit)
          .map(parseEntry),
      ),
    list: (filter) => reaching({ operation: "list" }, () => list([...runs.values()].map(parse), filter)),
    endedNamespaces: () =>
      reaching({ operation: "endedNamespaces" }, () => [
        ...new Set(
          [...runs.values()].flatMap((run) => (run.status === "running" ? [] : [run.key.namespace])),
        ),
      ]),
    ...mapOperations(find, reaching),
    remove: (key) =>
      reaching({ operation: "remove", key }, () => {
        const run = find(key);
        if (!run || run.status === "running") return false;
        return runs.delete(address(key));
      }),
  };
}

type Reaching = <T>(call: Omit<JournalCall, "phase">, act: () => T) => Promise<T>;

const mapOperations = (
  find: (key: RunKey) => StoredRun | undefined,
  reaching: Reaching,
): Pick<
  Journal,
  "putItems" | "getItems" | "putResult" | "getResults" | "getCounts" | "putItemNote" | "getItemNotes"
> => ({
  putItems: (lease, token, from, items) =>
    reaching({ operation: "putItems", key: lease.key, worker: lease.worker }, () => {
      const run = holder(find(lease.key), lease);
      if (!run) return "conflict";
      const map = mapOf(run, token);
      for (const [at, item] of items.entries()) map.items[from + at] = item;
      return "stored";
    }),
  getItems: (key, token, from, count) =>
    reaching({ operation: "getItems", key }, () =>
      slice(find(key)?.maps.get(token)?.items ?? [], from, count),
    ),
  putResult: (lease, token, index, result, failed) =>
    reaching({ operation: "putResult", key: lease.key, worker: lease.worker }, () =>
      putResult(holder(find(lease.key), lease), token, index, result, failed),
    ),
  getResults: (key, token, from, count) =>
    reaching({ operation: "getResults", key }, () =>
      slice(find(key)?.maps.get(token)?.results ?? [], from, count),
    ),
  putItemNote: (lease, token, index, note, text) =>
    reaching({ operation: "putItemNote", key: lease.key, worker: lease.worker }, () => {
      const run = holder(find(lease.key), lease);
      if (!run || parse(run).effects[token] === undefined) return "conflict";
      const { notes } = mapOf(run, token);
      notes.set(index, { ...notes.get(index), [note]: text });
      return "stored";
    }),
  getItemNotes: (key, token, from, count) =>
    reaching({ operation: "getItemNotes", key }, () => {
      const notes = find(key)?.maps.get(token)?.notes;
      return Array.from({ length: count }, (_, at) => ({ ...notes?.get(from + at) }));
    }),
  getCounts: (key, token) =>
    reaching({ operation: "getCounts", key }, () => {
      const map = find(key)?.maps.get(token);
      return { done: map?.done ?? 0, failed: map?.failed ?? 0 };
    }),
});

const address = (key: RunKey): string => `${key.namespace}/${key.id}`;
// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- written by `stored` and `write` alone
const parse = (run: StoredRun): RunRecord => JSON.parse(run.record) as RunRecord;
// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- written by `write` alone
const parseEntry = (text: string): HistoryEntry => JSON.parse(text) as HistoryEntry;
const holder = (run: StoredRun | undefined, lease: Lease): StoredRun | undefined =>
  run?.epoch === lease.epoch && run.owner === lease.worker ? run : undefined;

function stored(record: RunRecord, history: readonly NewEntry[], now: number): StoredRun {
  const run: StoredRun = {
    key: record.facts.key,
    partition: partitionOf(record.facts.key),
    record: "",
    version: 0,
    status: "running",
    epoch: 0,
    owner: undefined,
    leaseUntil: 0,
    history: [],
    inbox: [],
    position: 0,
    seen: new Set(),
    maps: new Map(),
    dueAt: undefined,
  };
  write(run, { ...record, version: 1, startedAt: now }, history, now);
  giveBack(run, record, now);
  return run;
}

function write(run: StoredRun, record: RunRecord, history: readonly NewEntry[], now: number): void {
  const finishedAt = record.status === "running" ? {} : { finishedAt: record.finishedAt ?? now };
  run.record = JSON.stringify({ ...record, updatedAt: now, ...finishedAt });
  run.version = record.version;
  run.status = record.status;
  for (const entry of history)
    run.history.push(JSON.stringify({ ...entry, seq: run.history.length + 1, at: now }));
}

function claim(
  run: StoredRun | undefined,
  worker: string,
  leaseMs: number,
  now: number,
): Claim | ClaimRefused {
  if (!run) return { kind: "unknown" };
  if (run.status !== "running") return { kind: "finished" };
  const record = parse(run);
  if (record.facts.format > RUN_FORMAT) return { kind: "newer-format" };
  if (run.owner !== undefined && run.leaseUntil > now) return { kind: "held", owner: run.owner };
  if (run.dueAt === undefined || run.dueAt > now) return { kind: "idle" };
  run.epoch += 1;
  run.owner = worker;
  prolong(run, now + leaseMs);
  return {
    kind: "claimed",
    lease: { key: run.key, worker, epoch: run.epoch },
    record,
    inbox: structuredClone(run.inbox),
  };
}

function prolong(run: StoredRun, until: number): void {
  run.leaseUntil = until;
  run.dueAt = until;
}

function giveBack(run: StoredRun, record: RunRecord, now: number): void {
  run.owner = undefined;
  run.dueAt = record.status === "running" && run.inbox.length > 0 ? now : nextDueAt(record);
}

function commitTo(run: StoredRun | undefined, commit: Commit, now: number): Committed {
  if (run?.version !== commit.expectedVersion || run.status !== "running") return { kind: "conflict" };
  write(run, { ...commit.record, version: commit.expectedVersion + 1 }, commit.history, now);
  const ended = commit.record.status !== "running";
  run.inbox = ended ? [] : run.inbox.filter(({ position }) => !commit.taken.includes(position));
  for (const token of commit.closedMaps) run.maps.delete(token);
  if (ended) run.maps.clear();
  const waiting = run.inbox.length > 0;
  if (ended || (commit.release && !waiting)) giveBack(run, commit.record, now);
  return { kind: "committed", at: now, waiting };
}

function deliver(run: StoredRun | undefined, message: Message, now: number): Delivered {
  if (!run) return { kind: "unknown" };
  if (run.status !== "running") return { kind: "finished" };
  const mark = dedupeMark(message);
  if (mark !== undefined && run.seen.has(mark)) return { kind: "duplicate" };
  if (isCommand(message) && run.inbox.some((waiting) => waiting.message.kind === message.kind))
    return { kind: "duplicate" };
  const fault = unacceptable(parse(run), message);
  if (fault !== undefined) return { kind: fault };
  if (mark !== undefined) run.seen.add(mark);
  run.position += 1;
  run.inbox.push({ position: String(run.position), message: structuredClone(message) });
  if (run.owner !== undefined && run.leaseUntil > now) return { kind: "accepted", owner: run.owner };
  run.dueAt = now;
  return { kind: "accepted" };
}

const isCommand = (message: Message): boolean =>
  message.kind === "cancel" || message.kind === "terminate" || message.kind === "deadline";

function due(
  runs: Iterable<StoredRun>,
  partition: number,
  limit: number,
  now: number,
): { runs: readonly RunKey[]; nextAt: number | undefined } {
  const waiting: { readonly key: RunKey; readonly dueAt: number }[] = [];
  for (const { key, dueAt, partition: where } of runs)
    if (where === partition && dueAt !== undefined) waiting.push({ key, dueAt });
  waiting.sort((a, b) => a.dueAt - b.dueAt);
  const ready = waiting.filter(({ dueAt }) => dueAt <= now).slice(0, limit);
  return { runs: ready.map(({ key }) => key), nextAt: waiting[ready.length]?.dueAt };
}

function mapOf(run: StoredRun, token: string): MapData {
  const map = run.maps.get(token) ?? { items: [], results: [], notes: new Map(), done: 0, failed: 0 };
  run.maps.set(token, map);
  return map;
}

function putResult(
  run: StoredRun | undefined,
  token: string,
  index: number,
  result: string,
  failed: boolean,
): "stored" | "duplicate" | "conflict" {
  if (!run || parse(run).effects[token] === undefined) return "conflict";
  const map = mapOf(run, token);
  if (map.results[index] !== undefined) return "duplicate";
  map.results[index] = result;
  map.notes.delete(index);
  map.done += 1;
  map.failed += failed ? 1 : 0;
  return "stored";
}

const slice = (
  values: readonly (string | undefined)[],
  from: number,
  count: number,
): (string | undefined)[] =>
  Array.from({ length: Math.max(0, Math.min(count, values.length - from)) }, (_, at) => values[from + at]);

function list(
  records: readonly RunRecord[],
  filter: RunFilter,
): { runs: readonly RunSummary[]; next: string | undefined } {
  const found = records
    .filter(
      ({ facts, status, startedAt }) =>
        facts.key.namespace === filter.namespace &&
        (filter.workflow === undefined || facts.workflow === filter.workflow) &&
        (filter.status === undefined || status === filter.status) &&
        (filter.startedAfter === undefined || startedAt >= filter.startedAfter) &&
        (filter.startedBefore === undefined || startedAt < filter.startedBefore),
    )
    .sort((a, b) => (place(a) < place(b) ? 1 : -1));
  const rest = filter.after === undefined ? found : found.filter((record) => place(record) < filter.after!);
  const page = rest.slice(0, filter.limit);
  const last = page.at(-1);
  return { runs: page.map(summary), next: last && rest.length > page.length ? place(last) : undefined };
}

/** Where a run stands in the list: its start, then its id. */
const place = ({ startedAt, facts }: RunRecord): string =>
  `${String(startedAt).padStart(15, "0")}:${facts.key.id}`;

function summary(record: RunRecord): RunSummary {
  const { facts, status, states, startedAt, finishedAt } = record;
  return {
    key: facts.key,
    workflow: facts.workflow,
    status,
    states,
    startedAt,
    ...(finishedAt !== undefined && { finishedAt }),
  };
}
