import { join } from "node:path";
import type { Log } from "../../../net/log.ts";
import type { RedisClient } from "../../../net/redis-client.ts";
import { redisScripts } from "../../../net/redis-script.ts";

/**
 * Which replica minds which partition, so that not all of them work out the same times. Only a preference: what its replica has not taken in time
 * everybody takes, and that a time is taken once is the journal's doing. Invariants:
 * 1. Replicas that see the same replicas alive share the partitions without a remainder; when one comes or goes, only its own change hands.
 * 2. While Redis does not answer, what was known last is in force; before its first answer no partition is this replica's.
 */
export interface PartitionShares {
  isMine(partition: number): boolean;
  /** The others take over at once. */
  leave(): Promise<void>;
}

export interface PartitionSharesOptions {
  readonly redis: () => RedisClient;
  readonly replica: string;
  readonly everyMs: number;
  /** One that was not seen for so long is gone. */
  readonly goneMs: number;
  /** The replica that minds a partition may be another now. */
  readonly onChange: () => void;
  readonly log: Log;
}

const REPLICAS = "{ev:timers}:replicas";
const JOIN = redisScripts(join(import.meta.dirname, "lua"))("join");

export function partitionShares(options: PartitionSharesOptions): PartitionShares {
  const { redis, replica, everyMs, goneMs, onChange, log } = options;
  let alive: readonly string[] = [];
  let left = false;
  const look = async (): Promise<void> => {
    try {
      const reply = await JOIN.run(redis(), [REPLICAS], [replica, goneMs]);
      if (!Array.isArray(reply)) return;
      const before = alive.join();
      alive = reply.map(String).toSorted();
      if (alive.join() !== before) onChange();
    } catch (error) {
      log.debug("Cannot tell the other replicas of this one; trying again", { error });
    }
  };
  let looking = look();
  const timer = setInterval(() => {
    looking = look();
  }, everyMs);
  return {
    isMine: (partition) => !left && minderOf(partition, alive) === replica,
    leave: async () => {
      left = true;
      clearInterval(timer);
      await looking;
      await redis().zrem(REPLICAS, replica);
    },
  };
}

/** Rendezvous hashing: the replica whose hash with the partition is the highest. */
export function minderOf(partition: number, replicas: readonly string[]): string | undefined {
  const [highest] = replicas
    .map((replica) => ({ replica, hash: hashOf(`${replica} ${partition}`) }))
    .toSorted((a, b) => b.hash - a.hash || (a.replica < b.replica ? -1 : 1));
  return highest?.replica;
}

/** FNV-1a with the finish of MurmurHash3, without which names that differ at their end only do not spread. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
