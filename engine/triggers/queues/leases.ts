/**
 * Which replicas take the messages of which trigger, and which one follows the objects of which watch.
 *
 * Invariants
 * S1. At most one replica holds a place of a trigger, by the store's clock, and no more than one place of it; one that cannot renew gives up before its
 *     lease runs out.
 * S2. Of the replicas that take part in a trigger, one holds its first place: it speaks for all.
 * S3. Replicas that are alive hold equal shares of first places, give or take one; what is beyond a share is let go of once its consumer is closed.
 */
import type { RedisClient } from "../../../net/redis-client.ts";
import { join } from "node:path";
import { redisScripts } from "../../../net/redis-script.ts";

/** `member`: a place, but not the first one. */
export type Holding = "held" | "member" | "surplus" | "not-held";

/** Most replicas that take part in one trigger. */
export const MAX_PLACES = 16;

export interface Leases {
  /**
   * Renews what is held, takes up to the share. By uid of the trigger. Rejects when Redis does not answer.
   * @param places of each trigger, by its uid: 1..16
   */
  share(places: ReadonlyMap<string, number>): Promise<Map<string, Holding>>;
  release(uid: string): Promise<void>;
  /** Whether no replica holds it. */
  isFree(uid: string): Promise<boolean>;
  /** Leaves the replicas: the others take over at once. */
  leave(): Promise<void>;
}

const SURPLUS = 2;

const script = redisScripts(join(import.meta.dirname, "lua"));
const shareScript = script("share");
const releaseScript = script("release");

/** @param group whose replicas share their triggers among them */
export function createLeases(
  redis: () => RedisClient,
  replica: string,
  durationMs: number,
  group: "mqt" | "watch" = "mqt",
): Leases {
  const replicas = `{ev:${group}}:replicas`;
  const leaseKeys = (uid: string): string[] =>
    Array.from(
      { length: MAX_PLACES },
      (_, place) => `{ev:${group}}:lease:${uid}${place === 0 ? "" : `:${place}`}`,
    );
  return {
    share: async (places) => {
      const sorted = [...places].toSorted(([a], [b]) => (a < b ? -1 : 1));
      const all = sorted.flatMap(([uid, count]) =>
        leaseKeys(uid)
          .slice(0, count)
          .map((key) => ({ uid, key })),
      );
      const firsts = new Map<string, number>();
      // Redis counts from 1, and the replicas come first.
      all.forEach(({ uid }, index) => firsts.has(uid) || firsts.set(uid, index + 2));
      const reply = await shareScript.run(
        redis(),
        [replicas, ...all.map(({ key }) => key)],
        [replica, durationMs, ...all.map(({ uid }) => firsts.get(uid) ?? 0)],
      );
      const list: readonly unknown[] = Array.isArray(reply) ? reply : [];
      const holdings = new Map<string, Holding>(sorted.map(([uid]) => [uid, "not-held"]));
      all.forEach(({ uid }, index) => {
        const held = Number(list[index]);
        if (!held) return;
        const isFirst = firsts.get(uid) === index + 2;
        holdings.set(uid, held === SURPLUS ? "surplus" : isFirst ? "held" : "member");
      });
      return holdings;
    },
    release: async (uid) => {
      await releaseScript.run(redis(), leaseKeys(uid), [replica]);
    },
    isFree: async (uid) => (await redis().exists(...leaseKeys(uid))) === 0,
    leave: async () => {
      await redis().zrem(replicas, replica);
    },
  };
}
