import type { RedisClient } from "../../../net/redis-client.ts";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { PlatformError } from "../../../api/errors.ts";
import { type RedisScript, redisScripts } from "../../../net/redis-script.ts";
import type { Failure } from "../delivery/event.ts";
import {
  outboxKey,
  PARTITIONS,
  partitionOf,
  partitionOfId,
  queueKey,
  queueOf,
  readyKey,
  recordKey,
} from "./invocation-id.ts";
import type { DestinationReport, InvocationJournal, NewInvocation, Settlement } from "./journal.ts";
import { INVOCATION_STATUSES } from "./journal.ts";
import { listInvocations, queuesOf } from "./list-invocations.ts";
import { fieldsOf, invocationOf } from "./stored-invocation.ts";

export interface JournalOptions {
  /** Between two renewals of it a worker may be silent. */
  readonly leaseMs: number;
  readonly resultTtlMs: number;
  readonly deadLetterTtlMs: number;
  /** Of one function. */
  readonly maxWaiting: number;
}

/** A worker that dies in the middle of deliveries does not make dead letters of them at once. */
const MAX_LOST_LEASES = 5;
const LONGEST_SILENCE_MS = 8_000;
const READY_AT_ONCE = 1_000;
const UNTOLD_AT_ONCE = 100;

const script = redisScripts(join(import.meta.dirname, "lua"));
const ACCEPT = script("accept");
const BURY = script("bury");
const CLAIM = script("claim");
const RENEW = script("renew");
const SETTLE = script("settle");
const CANCEL = script("cancel");
const REDRIVE = script("redrive");
const PURGE = script("purge");
const CLEAN = script("clean");
const TOLD = script("told");

type Arguments = (string | number | Buffer)[];

/** @param redis the connected client. Throws `redis_unavailable` while there is none */
export function redisJournal(redis: () => RedisClient, options: JournalOptions): InvocationJournal {
  const patient = guarded(redis);
  const guard: Guard = (work) => patient((client) => answered(work(client)));
  return {
    ...writing(guard, options),
    // Whoever works waits for a Redis that hangs, and goes on with what it says then.
    ...working(patient, options),
    ...reading(guard),
    ...keeping(guard),
  };
}

function writing(
  guard: Guard,
  options: JournalOptions,
): Pick<InvocationJournal, "accept" | "bury" | "cancel"> {
  return {
    accept: ({ facts, body, spill, dedupKey, delayMs }) =>
      guard(async (client) => {
        const queue = queueOfFacts(facts);
        const reply = list(
          await ACCEPT.run(
            client,
            [readyKey(partitionOf(queue))],
            [
              queue,
              facts.id,
              digestOf(dedupKey),
              options.resultTtlMs,
              delayMs,
              options.maxWaiting,
              ...fieldsOfNew({ facts, body, spill, delayMs }),
            ],
          ),
        );
        if (reply[0] === 2)
          throw new PlatformError(
            "queue_full",
            `Cannot accept the invocation: ${options.maxWaiting} of "${queue}" are waiting already`,
          );
        return reply[0] === 0
          ? { id: String(reply[1]), duplicate: true }
          : { id: facts.id, duplicate: false };
      }),
    bury: ({ facts, body, spill, dedupKey, delayMs }, failure, attempts) =>
      guard(async (client) => {
        const queue = queueOfFacts(facts);
        const reply = list(
          await BURY.run(
            client,
            [readyKey(partitionOf(queue))],
            [
              queue,
              facts.id,
              digestOf(dedupKey),
              options.deadLetterTtlMs,
              ...fieldsOfNew({ facts, body, spill, delayMs }),
              ...failureFields(failure),
              "tries",
              attempts,
              "failures",
              attempts,
            ],
          ),
        );
        return reply[0] === 0
          ? { id: String(reply[1]), duplicate: true }
          : { id: facts.id, duplicate: false };
      }),
    cancel: (id) =>
      inPartition(id, undefined, (partition) =>
        guard(async (client) => {
          const status = await CANCEL.run(client, [readyKey(partition)], [id, options.resultTtlMs]);
          return INVOCATION_STATUSES.find((known) => known === status);
        }),
      ),
  };
}

function working(
  guard: Guard,
  options: JournalOptions,
): Pick<InvocationJournal, "claim" | "renew" | "settle"> {
  return {
    claim: (queue, limit, count, worker) =>
      guard(async (client) => {
        const [now, nextAt, ...taken] = list(
          await CLAIM.runBuffer(
            client,
            [readyKey(partitionOf(queue))],
            [queue, limit, count, worker, options.leaseMs, MAX_LOST_LEASES, options.deadLetterTtlMs],
          ),
        );
        return {
          now: Number(now),
          nextAt: timeOf(nextAt),
          taken: taken
            .map((fields) => invocationOf(fieldsOf(fields)))
            .filter((invocation) => invocation !== undefined),
        };
      }),
    renew: (worker, leases) =>
      guard(async (client) => {
        const said = new Map<string, "held" | "cancel" | "lost">();
        const byPartition = Map.groupBy(leases, ({ queue }) => partitionOf(queue));
        await Promise.all(
          [...byPartition].map(async ([partition, some]) => {
            const args: Arguments = [options.leaseMs, worker];
            for (const lease of some) args.push(lease.queue, lease.id, lease.try);
            const reply = list(await RENEW.run(client, [readyKey(partition)], args));
            some.forEach(({ id }, at) =>
              said.set(id, reply[at] === 1 ? "held" : reply[at] === 2 ? "cancel" : "lost"),
            );
          }),
        );
        return leases.map(({ id }) => said.get(id) ?? "lost");
      }),
    settle: (worker, lease, settlement, tell) =>
      guard(async (client) => {
        const again = settlement.kind === "again" ? settlement : undefined;
        const counts = settlement.kind === "dead" || again?.counts === true;
        const reply = list(
          await SETTLE.run(
            client,
            [readyKey(partitionOf(lease.queue))],
            [
              lease.queue,
              lease.id,
              worker,
              lease.try,
              settlement.kind,
              again?.delayMs ?? 0,
              counts ? 1 : 0,
              settlement.kind === "dead" ? options.deadLetterTtlMs : options.resultTtlMs,
              tell ? 1 : 0,
              ...settlementFields(settlement),
            ],
          ),
        );
        return reply[0] === 1 ? { now: Number(reply[1]), nextAt: timeOf(reply[2]) } : undefined;
      }),
  };
}

type Guard = <T>(work: (client: RedisClient) => Promise<T>) => Promise<T>;

function reading(
  guard: Guard,
): Pick<InvocationJournal, "get" | "list" | "count" | "depths" | "pinned" | "ready" | "spilled" | "untold"> {
  return {
    get: (id) =>
      inPartition(id, undefined, (partition) =>
        guard(async (client) => {
          const all = await client.hgetallBuffer(recordKey(partition, id));
          return invocationOf(new Map(Object.entries(all)));
        }),
      ),
    list: (query) => guard((client) => listInvocations(client, query)),
    count: (queue) => guard((client) => countOf(client, queue)),
    depths: () =>
      guard(async (client) => {
        const now = await storeTime(client);
        const queues = await queuesOf(client, undefined);
        return Promise.all(
          queues.map(async (queue) => {
            const [counts, [, due]] = await Promise.all([
              countOf(client, queue),
              client.zrangebyscore(queueKey(queue, "due"), "-inf", "+inf", "WITHSCORES", "LIMIT", 0, 1),
            ]);
            return { queue, ...counts, oldestDueMs: due === undefined ? 0 : Math.max(0, now - Number(due)) };
          }),
        );
      }),
    pinned: () =>
      guard(async (client) => {
        const found = new Set<string>();
        await Promise.all(
          (await queuesOf(client, undefined)).map(async (queue) => {
            const namespace = queue.slice(0, queue.indexOf("/"));
            for (const version of await client.hkeys(queueKey(queue, "pins")))
              found.add(`${namespace}/${version}`);
          }),
        );
        return found;
      }),
    ready: (aheadMs) =>
      guard(async (client) => {
        const now = await storeTime(client);
        const until = now + aheadMs;
        const found = await everywhere((partition) =>
          client.zrangebyscore(readyKey(partition), "-inf", until, "WITHSCORES", "LIMIT", 0, READY_AT_ONCE),
        );
        const queues: { queue: string; inMs: number }[] = [];
        for (let i = 0; i + 1 < found.length; i += 2)
          queues.push({ queue: found[i] ?? "", inMs: Math.max(0, Number(found[i + 1]) - now) });
        return queues;
      }),
    spilled: (ids) =>
      guard(async (client) => {
        const found = new Map<string, string>();
        await Promise.all(
          byPartition(ids).flatMap(([partition, some]) =>
            some.map(async (id) => {
              const spill = await client.hget(recordKey(partition, id), "spill");
              if (spill !== null) found.set(id, spill);
            }),
          ),
        );
        return found;
      }),
    untold: (olderMs) =>
      guard(async (client) => {
        const until = (await storeTime(client)) - olderMs;
        return everywhere((partition) =>
          client.zrangebyscore(outboxKey(partition), "-inf", until, "LIMIT", 0, UNTOLD_AT_ONCE),
        );
      }),
  };
}

async function countOf(
  client: RedisClient,
  queue: string,
): Promise<{ waiting: number; running: number; dead: number }> {
  const [waiting, running, dead] = await Promise.all([
    client.zcard(queueKey(queue, "due")),
    client.zcard(queueKey(queue, "run")),
    client.zcard(queueKey(queue, "dead")),
  ]);
  return { waiting, running, dead };
}

/** The same of all partitions, each a command of its own: on a cluster they lie on different nodes. */
async function everywhere(of: (partition: number) => Promise<string[]>): Promise<string[]> {
  return (await Promise.all(Array.from({ length: PARTITIONS }, (_, partition) => of(partition)))).flat();
}

function keeping(
  guard: Guard,
): Pick<InvocationJournal, "redrive" | "purge" | "clean" | "told" | "putOff" | "unspilled"> {
  return {
    redrive: (ids, bodies) =>
      guard((client) => ofAll(client, REDRIVE, ids, (id) => [id, bodies?.get(id) ?? ""])),
    purge: (ids) => guard((client) => ofAll(client, PURGE, ids)),
    clean: (partition, limit) =>
      guard(async (client) => goneOf(await CLEAN.run(client, [readyKey(partition)], [limit]))),
    told: (id, report) => tell(guard, id, report, ""),
    putOff: (id, inMs, report) => tell(guard, id, report, inMs),
    unspilled: (id) =>
      inPartition(id, undefined, (partition) =>
        guard(async (client) => {
          await client.hdel(recordKey(partition, id), "spill");
        }),
      ),
  };
}

const tell = (
  guard: Guard,
  id: string,
  report: DestinationReport | undefined,
  againInMs: number | "",
): Promise<void> =>
  inPartition(id, undefined, (partition) =>
    guard(async (client) => {
      const said = report ? JSON.stringify(report) : "";
      await TOLD.run(client, [readyKey(partition)], [id, said, againInMs]);
    }),
  );

/** Runs a script for ids, for those of a partition at once. */
async function ofAll(
  client: RedisClient,
  script: RedisScript,
  ids: readonly string[],
  argumentsOf: (id: string) => string[] = (id) => [id],
): Promise<Gone> {
  const parts = await Promise.all(
    byPartition(ids).map(async ([partition, some]) =>
      goneOf(await script.run(client, [readyKey(partition)], some.flatMap(argumentsOf))),
    ),
  );
  return {
    count: parts.reduce((sum, { count }) => sum + count, 0),
    spills: parts.flatMap(({ spills }) => spills),
  };
}

/** Loss of Redis in the middle of a command is said as its absence is. */
const guarded =
  (redis: () => RedisClient): Guard =>
  async (work) => {
    const client = redis();
    try {
      return await work(client);
    } catch (error) {
      if (error instanceof PlatformError || client.status === "ready") throw overMemory(error);
      throw new PlatformError("redis_unavailable", "Redis was lost in the middle of a command", {
        cause: error,
      });
    }
  };

/** A Redis that keeps its connections but says nothing holds up no caller: what becomes of a command is unknown then, as when it is lost. */
async function answered<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const silence = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () =>
        reject(
          new PlatformError("redis_unavailable", `Redis did not answer within ${LONGEST_SILENCE_MS} ms`),
        ),
      LONGEST_SILENCE_MS,
    );
  });
  try {
    return await Promise.race([work, silence]);
  } finally {
    clearTimeout(timer);
  }
}

function overMemory(error: unknown): unknown {
  const said = error instanceof Error ? error.message : "";
  return /^(OOM|READONLY|MISCONF|LOADING|CLUSTERDOWN|Connection is closed|Reached the max retries)/.test(said)
    ? new PlatformError("redis_unavailable", `Redis takes nothing now: ${said}`, { cause: error })
    : error;
}

const storeTime = async (client: RedisClient): Promise<number> => {
  const [seconds, micros] = await client.time();
  return Number(seconds) * 1_000 + Math.floor(Number(micros) / 1_000);
};

const queueOfFacts = ({ namespace, target }: NewInvocation["facts"]): string => queueOf(namespace, target);

const digestOf = (key: string | undefined): string =>
  key === undefined ? "" : createHash("sha256").update(key).digest("base64url");

function fieldsOfNew({ facts, body, spill }: NewInvocation): Arguments {
  return [
    "facts",
    JSON.stringify(facts),
    "maxAgeMs",
    facts.policy.maxAgeMs,
    ...(facts.onFailure ? ["onFailure", "1"] : []),
    ...(facts.target.version === undefined ? [] : ["version", facts.target.version]),
    ...(spill === undefined ? ["body", Buffer.from(body)] : ["spill", spill]),
  ];
}

const failureFields = ({ status, reason, message }: Failure): Arguments => [
  "failureStatus",
  status,
  "failureReason",
  reason,
  "failureMessage",
  message,
];

function settlementFields(settlement: Settlement): Arguments {
  if (settlement.kind === "cancelled") return [];
  if (settlement.kind !== "done") return failureFields(settlement.failure);
  const { status, headers, body } = settlement.result;
  const head = ["resultStatus", status, "resultHeaders", JSON.stringify(headers)];
  const { elsewhere } = settlement.result;
  if (!elsewhere) return [...head, "resultBody", Buffer.from(body)];
  return [
    ...head,
    "resultBytes",
    elsewhere.bytes,
    ...(elsewhere.spill === undefined ? [] : ["resultSpill", elsewhere.spill]),
    ...(elsewhere.lost === undefined ? [] : ["resultLost", elsewhere.lost]),
  ];
}

async function inPartition<T>(id: string, unknown: T, work: (partition: number) => Promise<T>): Promise<T> {
  const partition = partitionOfId(id);
  return partition === undefined ? unknown : work(partition);
}

function byPartition(ids: readonly string[]): [number, string[]][] {
  const groups = Map.groupBy(ids, (id) => partitionOfId(id) ?? PARTITIONS);
  groups.delete(PARTITIONS);
  return [...groups];
}

const list = (reply: unknown): unknown[] => {
  if (Array.isArray(reply)) return reply;
  throw new TypeError(`Cannot read Redis' reply: it should be a list, got ${JSON.stringify(reply)}`);
};

/** '' = none. */
function timeOf(value: unknown): number | undefined {
  const text = Buffer.isBuffer(value) || typeof value === "string" ? value.toString() : "";
  return text === "" ? undefined : Number(text);
}

interface Gone {
  readonly count: number;
  readonly spills: readonly string[];
}

function goneOf(reply: unknown): Gone {
  const [count, ...spills] = list(reply);
  return { count: Number(count), spills: spills.map(String) };
}
