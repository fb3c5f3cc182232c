import type { RedisClient } from "../../net/redis-client.ts";
import type { RunStatus } from "../core/run-record.ts";
import type { RunFilter, RunSummary } from "./journal.ts";
import { PARTITIONS } from "./journal.ts";
import { endedKey, indexKey, keyOfMember, runKeys, STATUSES } from "./redis-keys.ts";

interface Found {
  readonly id: string;
  readonly startedAt: number;
  readonly status: RunStatus;
}

/** How many a first look into each index takes: most pages are spread over many partitions. */
const FIRST_LOOK = 8;

/** Where a run stands in the list: its start, then its id. */
const place = ({ startedAt, id }: Pick<Found, "startedAt" | "id">): string =>
  `${String(startedAt).padStart(15, "0")}:${id}`;

/**
 * A page of runs, newest first, over the indexes of all partitions. Each index is read a little at first, and whole as far as the page reaches only
 * where that little was not enough.
 */
export async function listRuns(
  redis: RedisClient,
  filter: RunFilter,
): Promise<{ runs: readonly RunSummary[]; next: string | undefined }> {
  const wanted = filter.limit + 1;
  const indexes = Array.from({ length: PARTITIONS }, (_, partition) =>
    (filter.status === undefined ? STATUSES : [filter.status]).map((status) => ({
      key: indexKey(partition, filter.namespace, filter.workflow, status),
      status,
    })),
  ).flat();
  const first = Math.min(FIRST_LOOK, wanted);
  const looks = await Promise.all(
    indexes.map(async (index) => ({ index, ...(await look(redis, index, filter, first)) })),
  );
  const cut = newest(
    looks.flatMap(({ found }) => found),
    wanted,
  ).at(-1);
  const reached = await Promise.all(
    looks.map(async ({ index, found, last }) => {
      const enough =
        last === undefined || (cut !== undefined && looks.length > 1 && place(last) < place(cut));
      if (enough || first === wanted) return found;
      // One that ended since the first look is no longer here, and was not yet where it is now.
      return [...found, ...(await look(redis, index, filter, wanted)).found];
    }),
  );
  const page = newest(reached.flat(), wanted);
  const shown = page.slice(0, filter.limit);
  const summaries = await Promise.all(shown.map((found) => summaryOf(redis, filter.namespace, found)));
  const end = shown.at(-1);
  return {
    runs: summaries.filter((summary) => summary !== undefined),
    next: end && page.length > shown.length ? place(end) : undefined,
  };
}

/** A run that ended between two looks is in two indexes. */
const newest = (found: readonly Found[], count: number): Found[] =>
  [...new Map(found.map((run) => [run.id, run])).values()]
    .toSorted((a, b) => (place(a) < place(b) ? 1 : -1))
    .slice(0, count);

/** Up to `count` of one index that belong to the page; `last`: the oldest that was seen, unless the index has no more. */
async function look(
  redis: RedisClient,
  index: { readonly key: string; readonly status: RunStatus },
  filter: RunFilter,
  count: number,
): Promise<{ found: Found[]; last: Found | undefined }> {
  const after = filter.after;
  const cursorAt = after === undefined ? undefined : Number(after.slice(0, after.indexOf(":")));
  const before = filter.startedBefore === undefined ? undefined : filter.startedBefore - 1;
  const max = Math.min(cursorAt ?? Infinity, before ?? Infinity);
  const min = filter.startedAfter ?? "-inf";
  const found: Found[] = [];
  let last: Found | undefined;
  for (let offset = 0; found.length < count; offset += count) {
    const reply = await redis.zrevrangebyscore(
      index.key,
      max === Infinity ? "+inf" : max,
      min,
      "WITHSCORES",
      "LIMIT",
      offset,
      count,
    );
    for (let at = 0; at < reply.length; at += 2) {
      last = { id: reply[at] ?? "", startedAt: Number(reply[at + 1]), status: index.status };
      if (after === undefined || place(last) < after) found.push(last);
    }
    if (reply.length < 2 * count) return { found, last: undefined };
  }
  return { found, last };
}

const ENDED_PAGE = 1_000;

/** By what has ended, partition by partition, so that no list of namespaces has to be kept. */
export async function endedNamespaces(redis: RedisClient): Promise<string[]> {
  const namespaces = new Set<string>();
  for (let partition = 0; partition < PARTITIONS; partition++) {
    for (let from = 0; ; from += ENDED_PAGE) {
      const members = await redis.zrange(endedKey(partition), String(from), String(from + ENDED_PAGE - 1));
      for (const member of members) namespaces.add(keyOfMember(member).namespace);
      if (members.length < ENDED_PAGE) break;
    }
  }
  return [...namespaces];
}

async function summaryOf(
  redis: RedisClient,
  namespace: string,
  { id, startedAt }: Found,
): Promise<RunSummary | undefined> {
  const key = { namespace, id };
  const [workflow, status, states, finishedAt] = await redis.hmget(
    runKeys(key).run,
    "workflow",
    "status",
    "states",
    "finishedAt",
  );
  // Removed since the index was read.
  if (!workflow || !status || !states) return undefined;
  return {
    key,
    workflow,
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- written by the journal alone
    status: status as RunStatus,
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- written by the journal alone
    states: JSON.parse(states) as string[],
    startedAt,
    ...(finishedAt && { finishedAt: Number(finishedAt) }),
  };
}
