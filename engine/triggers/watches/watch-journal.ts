import type { RedisClient } from "../../../net/redis-client.ts";
import { join } from "node:path";
import { z } from "zod";
import { redisScripts } from "../../../net/redis-script.ts";

/*
 * What watch triggers have seen, in Redis. Invariants:
 * 1. Who has claimed a trigger last changes what is kept of it, nobody else: a lease (queues/leases) says who may claim it, this is the fence behind it.
 * 2. The version is one up to which every change was accepted by the queue of invocations; the objects are those of that version, and some later.
 *    So whoever goes on from here misses nothing, and what it repeats has the same key of deduplication.
 */
export interface WatchKey {
  readonly trigger: string;
  readonly uid: string;
  readonly owner: string;
}

/** What is kept of an object: enough to tell what has changed. */
export const Seen = z.object({
  uid: z.string(),
  version: z.string(),
  /** Of the fields that the trigger looks at. */
  fields: z.string(),
});
export type Seen = z.infer<typeof Seen>;

export interface Checkpoint {
  /** Undefined: nothing was seen yet. */
  readonly version: string | undefined;
  readonly objects: Map<string, Seen>;
}

export interface WatchJournal {
  /** From now on it is the owner's. `selection`: another one = it begins anew. */
  claim(key: WatchKey, selection: string): Promise<Checkpoint>;
  /** What was seen. */
  forget(key: WatchKey): Promise<void>;
  /** False: it is another's. `objects`: undefined = gone. */
  checkpoint(
    key: WatchKey,
    version: string | undefined,
    objects: readonly (readonly [name: string, seen: Seen | undefined])[],
  ): Promise<boolean>;
}

const script = redisScripts(join(import.meta.dirname, "lua"));
const CLAIM = script("claim");
const FORGET = script("forget");
const CHECKPOINT = script("checkpoint");
const PARTITIONS = 16;
const WRITTEN_AT_ONCE = 500;

/** @param redis the connected client. Throws `redis_unavailable` while there is none */
export function watchJournal(redis: () => RedisClient): WatchJournal {
  return {
    claim: async ({ trigger, uid, owner }, selection) => {
      const reply = await CLAIM.run(redis(), [rootKey(trigger)], [owner, uid, selection]);
      const version = typeof reply === "string" ? reply : "";
      const stored = await redis().hgetall(`${rootKey(trigger)}:objects`);
      const objects = Object.entries(stored).map(([name, text]): [string, Seen] => [
        name,
        Seen.parse(JSON.parse(text)),
      ]);
      return { version: version === "" ? undefined : version, objects: new Map(objects) };
    },
    forget: async ({ trigger, uid, owner }) => {
      await FORGET.run(redis(), [rootKey(trigger)], [owner, uid]);
    },
    checkpoint: async ({ trigger, uid, owner }, version, objects) => {
      const write = async (some: typeof objects, reached: string): Promise<boolean> =>
        (await CHECKPOINT.run(
          redis(),
          [rootKey(trigger)],
          [owner, uid, reached, ...some.flatMap(([name, seen]) => [name, seen ? JSON.stringify(seen) : ""])],
        )) === 1;
      // The version comes with the last of them: before, it would speak of objects that are not there.
      let from = 0;
      for (; objects.length - from > WRITTEN_AT_ONCE; from += WRITTEN_AT_ONCE)
        if (!(await write(objects.slice(from, from + WRITTEN_AT_ONCE), ""))) return false;
      return write(objects.slice(from), version ?? "");
    },
  };
}

function rootKey(trigger: string): string {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(trigger)) hash = Math.imul(hash ^ byte, 0x01000193);
  const partition = ((hash >>> 0) % PARTITIONS).toString(16).padStart(2, "0");
  return `{ev:${partition}}:watch:${trigger}`;
}
