import { join } from "node:path";
import { gatherWrites } from "../../net/gather-writes.ts";
import type { RedisClient } from "../../net/redis-client.ts";
import { redisScripts } from "../../net/redis-script.ts";
import { nextDueAt } from "../core/next-due.ts";
import {
  type HistoryEntry,
  type Message,
  RUN_FORMAT,
  type RunKey,
  type RunRecord,
} from "../core/run-record.ts";
import {
  type Claim,
  type ClaimRefused,
  type Commit,
  type Committed,
  type Delivered,
  ITEM_NOTES,
  type ItemNote,
  type Journal,
  type Lease,
  type NewEntry,
  type StoredMessage,
} from "./journal.ts";
import { acceptsText, openText, readRecord, stateText } from "./record-text.ts";
import { dueKey, ENDED, indexKey, keyOfMember, mapKey, runKeys } from "./redis-keys.ts";
import { endedNamespaces, listRuns } from "./redis-list.ts";
import { row, rows, text, texts } from "./redis-reply.ts";

/** Messages that a claim or a look into the inbox gives at most; the rest is found after the next commit. */
const MAX_MESSAGES = 1_000;

const script = redisScripts(join(import.meta.dirname, "lua"));
const SCRIPTS = {
  create: script("create"),
  load: script("load"),
  claim: script("claim"),
  renew: script("renew"),
  release: script("release"),
  commit: script("commit"),
  reopen: script("reopen"),
  deliver: script("deliver"),
  putItems: script("put-items"),
  putResult: script("put-result"),
  putItemNote: script("put-item-note"),
  remove: script("remove"),
};

/**
 * The journal in Redis (6.2 or newer), Valkey or a Redis Cluster of either. Each method is one script, or one command, on keys of one slot.
 * @param connected gives the connected client, or throws `redis_unavailable`
 */
export function redisJournal(connected: () => RedisClient): Journal {
  const client = (): RedisClient => {
    const redis = connected();
    // Commits of several runs go out together, and share the store's write to its disk. A cluster's client has a connection to each node.
    if ("stream" in redis) gatherWrites(redis.stream);
    return redis;
  };
  const time = sharedTime(client);
  return {
    ...runMethods(client),
    ...leaseMethods(client),
    ...mapMethods(client),
    due: async (partition, limit) => due(client(), time(), partition, limit),
    now: () => storeTime(client()),
    history: (key, from, limit) => history(client(), key, from, limit),
    list: (filter) => listRuns(client(), filter),
    endedNamespaces: () => endedNamespaces(client()),
  };
}

type Methods<K extends keyof Journal> = Pick<Journal, K>;

function runMethods(client: () => RedisClient): Methods<"create" | "load" | "reopen" | "deliver" | "remove"> {
  const load = async (key: RunKey): Promise<RunRecord | undefined> => {
    const keys = runKeys(key);
    const reply = texts(await SCRIPTS.load.run(client(), [keys.run, keys.facts, keys.state], []));
    if (reply.length === 0) return undefined;
    const [version, status, startedAt, updatedAt, finishedAt, facts, state] = row(reply, 7);
    return readRecord({ version, status, startedAt, updatedAt, finishedAt, facts, state });
  };
  return {
    load,
    create: async (record, history) => {
      const { key } = record.facts;
      for (;;) {
        const [created, at] = row(texts(await create(client(), record, history)), 2);
        if (created === "1")
          return {
            created: true,
            record: { ...record, version: 1, startedAt: Number(at), updatedAt: Number(at) },
          };
        const found = await load(key);
        // Removed between the two: its id is free again.
        if (found) return { created: false, record: found };
      }
    },
    reopen: async (expectedVersion, record, history) =>
      text(await reopen(client(), expectedVersion, record, history)) === "1" ? "reopened" : "conflict",
    deliver: async (key, message) => delivered(texts(await deliver(client(), key, message))),
    remove: async (key) => {
      const keys = runKeys(key);
      const facts = await load(key);
      if (!facts) return false;
      const { run, facts: factsKey, state, history, inbox, seen, payloads, due, ended } = keys;
      const removed = await SCRIPTS.remove.run(
        client(),
        [
          run,
          factsKey,
          state,
          history,
          inbox,
          seen,
          payloads,
          due,
          ended,
          ...endedIndexes(keys.partition, key, facts.facts.workflow),
        ],
        [keys.member, key.id],
      );
      return text(removed) === "1";
    },
  };
}

function leaseMethods(
  client: () => RedisClient,
): Methods<"claim" | "renew" | "release" | "commit" | "inbox"> {
  return {
    claim: (key, worker, leaseMs) => claim(client(), key, worker, leaseMs),
    renew: async (leases, leaseMs) => {
      const redis = client();
      const kept = await Promise.all(
        leases.map(async (lease) => {
          const keys = runKeys(lease.key);
          const args = [keys.member, lease.worker, lease.epoch, leaseMs];
          return Number(await SCRIPTS.renew.run(redis, [keys.run, keys.inbox, keys.due], args));
        }),
      );
      const those = (state: number): RunKey[] =>
        leases.filter((_, at) => kept[at] === state).map((lease) => lease.key);
      return { lost: those(0), waiting: those(2) };
    },
    release: async (lease) => {
      const keys = runKeys(lease.key);
      await SCRIPTS.release.run(
        client(),
        [keys.run, keys.inbox, keys.due],
        [keys.member, lease.worker, lease.epoch],
      );
    },
    commit: (lease, next) => commit(client(), lease, next),
    inbox: async ({ key }) =>
      messages(await client().xrange(runKeys(key).inbox, "-", "+", "COUNT", MAX_MESSAGES)),
  };
}

function mapMethods(
  client: () => RedisClient,
): Methods<
  "putItems" | "getItems" | "putResult" | "getResults" | "getCounts" | "putItemNote" | "getItemNotes"
> {
  const range = async (key: string, from: number, count: number): Promise<(string | undefined)[]> => {
    if (count <= 0) return [];
    const indexes = Array.from({ length: count }, (_, at) => String(from + at));
    const values = await client().hmget(key, ...indexes);
    const last = values.findLastIndex((value) => value !== null);
    return values.slice(0, last + 1).map((value) => value ?? undefined);
  };
  return {
    putItems: async ({ key, worker, epoch }, token, from, items) => {
      const keys = [runKeys(key).run, mapKey(key, token, "items")];
      const done = await SCRIPTS.putItems.run(client(), keys, [worker, epoch, token, from, ...items]);
      return text(done) === "1" ? "stored" : "conflict";
    },
    getItems: (key, token, from, count) => range(mapKey(key, token, "items"), from, count),
    putResult: async ({ key, worker, epoch }, token, index, result, failed) => {
      const keys = [runKeys(key).run, mapKey(key, token, "results")];
      const args = [worker, epoch, token, index, result, failed ? 1 : 0];
      const stored = text(await SCRIPTS.putResult.run(client(), keys, args));
      return stored === "stored" || stored === "duplicate" ? stored : "conflict";
    },
    getResults: (key, token, from, count) => range(mapKey(key, token, "results"), from, count),
    putItemNote: async ({ key, worker, epoch }, token, index, note, value) => {
      const keys = [runKeys(key).run, mapKey(key, token, "results")];
      const args = [worker, epoch, token, NOTE_FIELDS[note] + index, value];
      return text(await SCRIPTS.putItemNote.run(client(), keys, args)) === "1" ? "stored" : "conflict";
    },
    getItemNotes: async (key, token, from, count) => {
      if (count <= 0) return [];
      const fields = Array.from({ length: count }, (_, at) =>
        ITEM_NOTES.map((note) => NOTE_FIELDS[note] + (from + at)),
      );
      const values = await client().hmget(mapKey(key, token, "results"), ...fields.flat());
      return fields.map((_, at) =>
        Object.fromEntries(
          ITEM_NOTES.flatMap((note, of) => {
            const value = values[at * ITEM_NOTES.length + of];
            return value === null || value === undefined ? [] : [[note, value]];
          }),
        ),
      );
    },
    getCounts: async (key, token) => {
      const [done, failed] = await client().hmget(mapKey(key, token, "results"), "done", "failed");
      return { done: Number(done ?? 0), failed: Number(failed ?? 0) };
    },
  };
}

/** Beside an item's result, which lies under its number; the same letters as in put-result.lua. */
const NOTE_FIELDS: Readonly<Record<ItemNote, string>> = { state: "s", outcome: "o", beat: "b" };

const wake = (record: RunRecord): number | string => nextDueAt(record) ?? "";
const entries = (history: readonly NewEntry[]): string[] => history.map((entry) => JSON.stringify(entry));
const indexes = (
  partition: number,
  { namespace }: RunKey,
  workflow: string,
  status: RunRecord["status"],
): [string, string] => [
  indexKey(partition, namespace, undefined, status),
  indexKey(partition, namespace, workflow, status),
];
const endedIndexes = (partition: number, key: RunKey, workflow: string): string[] =>
  ENDED.flatMap((status) => indexes(partition, key, workflow, status));

function create(redis: RedisClient, record: RunRecord, history: readonly NewEntry[]): Promise<unknown> {
  const { facts } = record;
  const keys = runKeys(facts.key);
  return SCRIPTS.create.run(
    redis,
    [
      keys.run,
      keys.facts,
      keys.state,
      keys.history,
      keys.due,
      ...indexes(keys.partition, facts.key, facts.workflow, record.status),
      keys.payloads,
    ],
    [
      keys.member,
      facts.key.id,
      facts.workflow,
      facts.format,
      1,
      record.status,
      openText(record),
      acceptsText(record),
      JSON.stringify(record.states),
      wake(record),
      JSON.stringify(facts),
      stateText(record),
      ...entries(history),
    ],
  );
}

function reopen(
  redis: RedisClient,
  expectedVersion: number,
  record: RunRecord,
  history: readonly NewEntry[],
): Promise<unknown> {
  const { key, workflow } = record.facts;
  const keys = runKeys(key);
  return SCRIPTS.reopen.run(
    redis,
    [
      keys.run,
      keys.state,
      keys.history,
      keys.due,
      ...indexes(keys.partition, key, workflow, "running"),
      keys.ended,
      ...endedIndexes(keys.partition, key, workflow),
    ],
    [
      keys.member,
      key.id,
      expectedVersion,
      expectedVersion + 1,
      openText(record),
      acceptsText(record),
      JSON.stringify(record.states),
      wake(record),
      stateText(record),
      ...entries(history),
    ],
  );
}

async function claim(
  redis: RedisClient,
  key: RunKey,
  worker: string,
  leaseMs: number,
): Promise<Claim | ClaimRefused> {
  const keys = runKeys(key);
  const reply = rows(
    await SCRIPTS.claim.run(
      redis,
      [keys.run, keys.facts, keys.state, keys.inbox, keys.due],
      [keys.member, worker, leaseMs, RUN_FORMAT, MAX_MESSAGES],
    ),
  );
  const kind = text(reply[0]);
  if (kind === "held") return { kind, owner: text(reply[1]) };
  if (kind === "finished" || kind === "newer-format" || kind === "unknown" || kind === "idle")
    return { kind };
  const [, epoch, version, startedAt, updatedAt, facts, state] = row(reply.slice(0, 7).map(text), 7);
  return {
    kind: "claimed",
    lease: { key, worker, epoch: Number(epoch) },
    record: readRecord({ version, status: "running", startedAt, updatedAt, finishedAt: "", facts, state }),
    inbox: messages(reply[7]),
  };
}

async function commit(redis: RedisClient, lease: Lease, commit: Commit): Promise<Committed> {
  const { record, expectedVersion, closedMaps, taken } = commit;
  const { key, workflow } = record.facts;
  const keys = runKeys(key);
  const reply = texts(
    await SCRIPTS.commit.run(
      redis,
      [
        keys.run,
        keys.state,
        keys.history,
        keys.inbox,
        keys.due,
        ...(record.status === "running"
          ? []
          : [
              ...indexes(keys.partition, key, workflow, "running"),
              ...indexes(keys.partition, key, workflow, record.status),
              keys.ended,
            ]),
      ],
      [
        keys.member,
        key.id,
        lease.worker,
        lease.epoch,
        expectedVersion,
        expectedVersion + 1,
        record.status,
        openText(record),
        acceptsText(record),
        JSON.stringify(record.states),
        wake(record),
        commit.release ? 1 : 0,
        stateText(record),
        closedMaps.length,
        ...closedMaps,
        taken.length,
        ...taken,
        ...entries(commit.history),
      ],
    ),
  );
  if (reply[0] !== "1") return { kind: "conflict" };
  return { kind: "committed", at: Number(reply[1]), waiting: reply[2] === "1" };
}

function deliver(redis: RedisClient, key: RunKey, message: Message): Promise<unknown> {
  const keys = runKeys(key);
  const id = message.kind === "event" ? message.id : "token" in message ? message.token : "";
  const type = message.kind === "event" ? message.event.type : "";
  const buffered = message.kind === "event" && message.buffered ? 1 : 0;
  const attempt = "attempt" in message ? (message.attempt ?? "") : "";
  return SCRIPTS.deliver.run(
    redis,
    [keys.run, keys.inbox, keys.seen, keys.due],
    [keys.member, message.kind, id, type, buffered, JSON.stringify(message), attempt],
  );
}

function delivered([kind, owner]: readonly string[]): Delivered {
  switch (kind) {
    case "duplicate":
    case "stale":
    case "refused":
    case "finished":
    case "unknown":
      return { kind };
    default:
      return { kind: "accepted", ...(owner !== undefined && { owner }) };
  }
}

/** Entries of a stream, each `[position, ["m", text]]`. */
function messages(reply: unknown): StoredMessage[] {
  return rows(reply).map((entry) => {
    const [position, fields] = rows(entry);
    return {
      position: text(position),
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- written by `deliver` alone
      message: JSON.parse(text(rows(fields)[1])) as Message,
    };
  });
}

async function due(
  redis: RedisClient,
  time: Promise<number>,
  partition: number,
  limit: number,
): Promise<{ runs: readonly RunKey[]; nextAt: number | undefined }> {
  const read = async (last: number): Promise<{ member: string; dueAt: number }[]> => {
    const found = await redis.zrange(dueKey(partition), 0, String(last), "WITHSCORES");
    return Array.from({ length: found.length / 2 }, (_, at) => ({
      member: text(found[2 * at]),
      dueAt: Number(found[2 * at + 1]),
    }));
  };
  // The time was asked for first: what is due by it is due.
  const [now, [first]] = await Promise.all([time, read(0)]);
  if (!first || first.dueAt > now) return { runs: [], nextAt: first?.dueAt };
  const waiting = await read(limit);
  const ready = waiting.filter(({ dueAt }) => dueAt <= now).slice(0, limit);
  return { runs: ready.map(({ member }) => keyOfMember(member)), nextAt: waiting[ready.length]?.dueAt };
}

/** Those who ask in the same tick, as the sweeper does for all partitions, share one question. */
function sharedTime(client: () => RedisClient): () => Promise<number> {
  let asked: Promise<number> | undefined;
  return () => {
    if (asked) return asked;
    asked = storeTime(client());
    queueMicrotask(() => (asked = undefined));
    return asked;
  };
}

async function storeTime(redis: RedisClient): Promise<number> {
  const [seconds, micros] = row((await redis.time()).map(String), 2);
  return Number(seconds) * 1_000 + Math.floor(Number(micros) / 1_000);
}

async function history(
  redis: RedisClient,
  key: RunKey,
  from: number,
  limit: number,
): Promise<HistoryEntry[]> {
  const first = Math.max(1, from);
  const lines = await redis.lrange(runKeys(key).history, first - 1, first + limit - 2);
  return lines.map((line, at) => {
    const split = line.indexOf(";");
    return {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- written by this journal alone
      ...(JSON.parse(line.slice(split + 1)) as NewEntry),
      seq: first + at,
      at: Number(line.slice(0, split)),
    };
  });
}
