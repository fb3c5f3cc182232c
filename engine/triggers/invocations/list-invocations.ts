import { PlatformError } from "../../../api/errors.ts";
import type { RedisClient } from "../../../net/redis-client.ts";
import { PARTITIONS, partitionOf, queueKey, queuesKey, recordKey } from "./invocation-id.ts";
import type { Invocation, InvocationPage, InvocationQuery } from "./journal.ts";
import { invocationOf, SUMMARY_FIELDS } from "./stored-invocation.ts";

/*
 * Pages of invocations. Each function keeps its own order, so that a noisy one hides no other; a page is their newest ones together. Invariants:
 * L1. Dead letters are ordered by when they became one, those that wait by when they are due, all others by when they were accepted; of the same time
 *     by id. That never changes of what stays in the list, so that pages that follow each other give each of them once.
 * L2. A page ends where one function was looked through no further: what comes after it, of whichever function, is of the next page.
 */

const SETS = { queued: "due", running: "run", dead: "dead" } as const;
/** Looked through for one that fits, per function and page. */
const MAX_LOOKED_AT = 2_000;
const LOOKED_AT_ONCE = 1_000;

/** Where something stands in the order: newest first. */
interface Place {
  readonly at: number;
  readonly id: string;
}
interface Placed extends Place {
  readonly invocation: Invocation;
}

const newestFirst = (a: Place, b: Place): number => b.at - a.at || (a.id < b.id ? 1 : a.id > b.id ? -1 : 0);

/** Invocations that fit, newest first. @throws {PlatformError} bad_request, when `continue` is none that was given */
export async function listInvocations(client: RedisClient, query: InvocationQuery): Promise<InvocationPage> {
  const after = query.continue === undefined ? undefined : placeOf(query.continue);
  const queues = query.queue === undefined ? await queuesOf(client, query.namespace) : [query.queue];
  const looked = await Promise.all(queues.map((queue) => newestOf(client, queue, query, after)));
  const [end] = looked.flatMap(({ end }) => end ?? []).toSorted(newestFirst);
  const items = looked
    .flatMap(({ found }) => found)
    .filter((item) => end === undefined || newestFirst(item, end) <= 0)
    .toSorted(newestFirst)
    .slice(0, query.limit);
  const last = items.length === query.limit ? items.at(-1) : end;
  return {
    items: items.map(({ invocation }) => invocation),
    ...(last === undefined ? {} : { continue: `${last.at}.${last.id}` }),
  };
}

function placeOf(text: string): Place {
  const [, at, id] = /^(\d{1,16})\.([0-9a-z]{1,64})$/.exec(text) ?? [];
  if (at === undefined || id === undefined)
    throw new PlatformError(
      "bad_request",
      `Cannot list invocations: continue must be what the page before gave, got "${text}"`,
    );
  return { at: Number(at), id };
}

/** All queues, or those of one namespace. */
export async function queuesOf(client: RedisClient, namespace: string | undefined): Promise<string[]> {
  const all = await Promise.all(
    Array.from({ length: PARTITIONS }, (_, partition) => client.smembers(queuesKey(partition))),
  );
  const queues = all.flat();
  return namespace === undefined ? queues : queues.filter((queue) => queue.startsWith(`${namespace}/`));
}

/** `end`: how far it was looked; undefined = to the end. */
async function newestOf(
  client: RedisClient,
  queue: string,
  { status, source, limit }: InvocationQuery,
  after: Place | undefined,
): Promise<{ readonly found: readonly Placed[]; readonly end?: Place }> {
  const set =
    status === "queued" || status === "running" || status === "dead" ? SETS[status] : ("all" as const);
  const found: Placed[] = [];
  const step = Math.min(LOOKED_AT_ONCE, Math.max(limit, 100));
  for (let from = 0; from < MAX_LOOKED_AT; from += step) {
    const reply = await client.zrevrangebyscore(
      queueKey(queue, set),
      after?.at ?? "+inf",
      "-inf",
      "WITHSCORES",
      "LIMIT",
      from,
      step,
    );
    const places: Place[] = [];
    for (let i = 0; i + 1 < reply.length; i += 2)
      places.push({ id: reply[i] ?? "", at: Number(reply[i + 1]) });
    const fresh = places.filter((place) => after === undefined || newestFirst(after, place) < 0);
    const read = await Promise.all(fresh.map(({ id }) => summaryOf(client, queue, id)));
    for (const [at, place] of fresh.entries()) {
      const invocation = read[at];
      const fits =
        invocation !== undefined &&
        (status === undefined || invocation.status === status) &&
        (source === undefined || invocation.source === source);
      if (fits) found.push({ ...place, invocation });
      if (found.length === limit) return { found, end: place };
    }
    if (places.length < step) return { found };
    const end = places.at(-1);
    if (from + step >= MAX_LOOKED_AT && end) return { found, end };
  }
  return { found };
}

async function summaryOf(client: RedisClient, queue: string, id: string): Promise<Invocation | undefined> {
  const values = await client.hmgetBuffer(recordKey(partitionOf(queue), id), ...SUMMARY_FIELDS);
  const fields = new Map<string, Buffer>();
  SUMMARY_FIELDS.forEach((name, at) => {
    const value = values[at];
    if (value) fields.set(name, value);
  });
  return invocationOf(fields);
}
