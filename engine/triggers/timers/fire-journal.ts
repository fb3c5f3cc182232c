import type { RedisClient } from "../../../net/redis-client.ts";
import { join } from "node:path";
import { TimerFire } from "../../../api/kinds/index.ts";
import { redisScripts } from "../../../net/redis-script.ts";

/*
 * What the timers do, in Redis. Invariants:
 * 1. Every change is one script of one partition (`{ev:<00..0f>}`), in which all that belongs to a timer lies. Times are the store's.
 * 2. A time of a schedule is decided on once: in the script that sets the time after it, which runs only if this one was next. What is to be called for
 *    it is `taken` and `open` from then on.
 * 3. A fire is open until its call was accepted by the queue of invocations, under the fire's name as key of deduplication, or refused for good. If its
 *    taker is gone, another takes it over when the lease is over: the queue knows whether it was accepted.
 * 4. Nothing is decided on before it is due, nor for a generation of the trigger that is not the latest known.
 * 5. What was offered to the queue under concurrencyPolicy Forbid is marked as tried before: nobody skips it any more, for its call may run.
 */
export const PARTITIONS = 16;

/** One time of one timer's schedule. */
export interface Fire {
  /** `<namespace>/<name>` */
  readonly timer: string;
  readonly uid: string;
  readonly scheduledMs: number;
  readonly caughtUp: boolean;
}

export interface Registration {
  readonly timer: string;
  readonly uid: string;
  readonly madeMs: number;
  readonly generation: number;
  /** What the times depend on. */
  readonly schedule: string;
  /** Where it is new here, and where it is known with another schedule. */
  readonly firstNext: Next | undefined;
  readonly changedNext: Next | undefined;
}

/** A time of the schedule, and when it is due, which jitter puts off. */
export interface Next {
  readonly scheduledMs: number;
  readonly dueMs: number;
}

export interface DueTimer {
  readonly timer: string;
  /** Negative: since when. */
  readonly inMs: number;
  readonly uid: string;
  readonly generation: number;
  readonly nextMs: number;
}

export interface Taking {
  readonly timer: Pick<DueTimer, "timer" | "uid" | "generation" | "nextMs">;
  readonly fires: readonly Fire[];
  readonly missed: TimerFire | undefined;
  readonly lastMs: number;
  readonly next: Next | undefined;
  readonly leaseMs: number;
}

export interface FireJournal {
  /** The store's time: clocks of replicas may be off. */
  nowMs(): Promise<number>;
  register(registration: Registration): Promise<"new" | "changed" | "kept" | "older">;
  forget(timer: string, uid: string): Promise<void>;
  /** Timers of a partition that come due within `aheadMs` (negative: are overdue by it), and fires that have been left open for `leftMs`. */
  look(
    partition: number,
    within: { readonly aheadMs: number; readonly leftMs: number },
    limit: number,
  ): Promise<{
    readonly nowMs: number;
    readonly timers: readonly DueTimer[];
    readonly left: readonly Fire[];
  }>;
  take(taking: Taking): Promise<"taken" | "early" | "moved">;
  takeOver(fire: Fire, leaseMs: number): Promise<boolean>;
  /** False: it was settled before. */
  settle(fire: Fire, entry: TimerFire | undefined): Promise<boolean>;
  /** It is looked at again after `ms`, by whoever minds its partition then. */
  postpone(fire: Fire, ms: number): Promise<void>;
  /** Before it is offered to the queue: from now on it may have been accepted. */
  markTried(fire: Fire): Promise<void>;
  /** The open fires that are the first and the last in time, the invocation that the latest settled one became, and whether this one may have been accepted. */
  around(fire: Fire): Promise<{
    readonly first: Fire | undefined;
    readonly last: Fire | undefined;
    readonly invocationId: string | undefined;
    readonly tried: boolean;
  }>;
  /** The latest first. */
  shown(
    timer: string,
    limit: number,
  ): Promise<{ readonly lastMs: number | undefined; readonly fires: TimerFire[] }>;
  /** All of a partition of which a time is to come, with their UIDs. */
  registered(partition: number): Promise<readonly { readonly timer: string; readonly uid: string }[]>;
  /** Undefined: it is not known. `schedule` as registered. */
  known(
    timer: string,
  ): Promise<{ readonly uid: string; readonly generation: number; readonly schedule: string } | undefined>;
}

const script = redisScripts(join(import.meta.dirname, "lua"));
const REGISTER = script("register");
const FORGET = script("forget");
const LOOK = script("look");
const TAKE = script("take");
const TAKE_OVER = script("take-over");
const SETTLE = script("settle");
const POSTPONE = script("postpone");
const MARK_TRIED = script("mark-tried");

/** @param redis the connected client. Throws `redis_unavailable` while there is none */
export function fireJournal(redis: () => RedisClient): FireJournal {
  return {
    register: async ({ timer, uid, madeMs, generation, schedule, firstNext, changedNext }) => {
      const result = await REGISTER.run(redis(), keysOf(timer), [
        timer,
        uid,
        madeMs,
        generation,
        schedule,
        ...nextArgs(firstNext),
        ...nextArgs(changedNext),
      ]);
      return oneOf(result, ["new", "changed", "kept", "older"] as const);
    },
    forget: async (timer, uid) => {
      await FORGET.run(redis(), keysOf(timer), [timer, uid]);
    },
    look: async (partition, { aheadMs, leftMs }, limit) => {
      const reply = await LOOK.run(redis(), [rootKey(partition)], [aheadMs, leftMs, limit]);
      const [nowMs, timers, left] = items(reply);
      return {
        nowMs: Number(nowMs),
        timers: items(timers).map(dueTimerOf),
        left: items(left).map((fire) => fireOf(String(fire))),
      };
    },
    take: async ({ timer, fires, missed, lastMs, next, leaseMs }) => {
      const result = await TAKE.run(redis(), keysOf(timer.timer), [
        timer.timer,
        timer.uid,
        timer.generation,
        timer.nextMs,
        ...nextArgs(next),
        leaseMs,
        lastMs,
        missed ? JSON.stringify(missed) : "",
        ...fires.flatMap((fire) => [fire.scheduledMs, textOf(fire)]),
      ]);
      return oneOf(result, ["taken", "early", "moved"] as const);
    },
    takeOver: async (fire, leaseMs) =>
      (await TAKE_OVER.run(redis(), keysOf(fire.timer), [textOf(fire), leaseMs])) === 1,
    settle: async (fire, entry) =>
      (await SETTLE.run(redis(), keysOf(fire.timer), [
        fire.timer,
        textOf(fire),
        entry ? JSON.stringify(entry) : "",
        entry?.invocationId ?? "",
      ])) === 1,
    postpone: async (fire, ms) => {
      await POSTPONE.run(redis(), keysOf(fire.timer), [textOf(fire), ms]);
    },
    markTried: async (fire) => {
      await MARK_TRIED.run(redis(), keysOf(fire.timer), [fire.timer, textOf(fire)]);
    },
    ...readers(redis),
  };
}

function readers(
  redis: () => RedisClient,
): Pick<FireJournal, "nowMs" | "around" | "shown" | "registered" | "known"> {
  return {
    nowMs: async () => {
      const [seconds, micros] = await redis().time();
      return Number(seconds) * 1_000 + Math.floor(Number(micros) / 1_000);
    },
    around: async (fire) => {
      const record = recordKey(fire.timer);
      const [[first], [last], invocation, tried] = await Promise.all([
        redis().zrange(`${record}:open`, "0", "0"),
        redis().zrange(`${record}:open`, "-1", "-1"),
        redis().hget(record, "invocation"),
        redis().sismember(`${record}:tried`, textOf(fire)),
      ]);
      return {
        first: first === undefined ? undefined : fireOf(first),
        last: last === undefined ? undefined : fireOf(last),
        invocationId: invocation ?? undefined,
        tried: tried === 1,
      };
    },
    shown: async (timer, limit) => {
      const last = await redis().hget(recordKey(timer), "last");
      const entries = await redis().lrange(`${recordKey(timer)}:log`, 0, limit - 1);
      return {
        lastMs: last ? Number(last) : undefined,
        fires: entries.map((entry) => TimerFire.parse(JSON.parse(entry))),
      };
    },
    known: async (timer) => {
      const [uid, generation, schedule] = await redis().hmget(
        recordKey(timer),
        "uid",
        "generation",
        "schedule",
      );
      if (typeof uid !== "string") return undefined;
      return { uid, generation: Number(generation), schedule: schedule ?? "" };
    },
    registered: async (partition) => {
      const timers = await redis().zrange(`${rootKey(partition)}:due`, "0", "-1");
      const uids = await Promise.all(timers.map((timer) => redis().hget(recordKey(timer), "uid")));
      return timers.map((timer, at) => ({ timer, uid: uids[at] ?? "" }));
    },
  };
}

/** FNV-1a of its name. Never changes, since stored timers are found by it. */
function partitionOf(timer: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(timer)) hash = Math.imul(hash ^ byte, 0x01000193);
  return (hash >>> 0) % PARTITIONS;
}

const rootKey = (partition: number): string => `{ev:${partition.toString(16).padStart(2, "0")}}:timers`;
const keysOf = (timer: string): string[] => [rootKey(partitionOf(timer))];
const recordKey = (timer: string): string => `${rootKey(partitionOf(timer))}:timer:${timer}`;
const nextArgs = (next: Next | undefined): (string | number)[] =>
  next ? [next.scheduledMs, next.dueMs] : ["", ""];

/** Of an occurrence, for ever: what deduplicates its call. */
export const fireId = ({ uid, scheduledMs }: Fire): string =>
  `timer/${uid}/${new Date(scheduledMs).toISOString()}`;

const textOf = ({ timer, uid, scheduledMs, caughtUp }: Fire): string =>
  `${timer} ${uid} ${scheduledMs} ${caughtUp ? 1 : 0}`;

function fireOf(text: string): Fire {
  const [timer = "", uid = "", scheduledMs, caughtUp] = text.split(" ");
  return { timer, uid, scheduledMs: Number(scheduledMs), caughtUp: caughtUp === "1" };
}

function dueTimerOf(reply: unknown): DueTimer {
  const [timer, inMs, uid, generation, nextMs] = items(reply);
  return {
    timer: String(timer),
    inMs: Number(inMs),
    uid: String(uid),
    generation: Number(generation),
    nextMs: Number(nextMs),
  };
}

function items(reply: unknown): readonly unknown[] {
  if (!Array.isArray(reply)) throw new TypeError(`Redis replied ${String(reply)} instead of a list`);
  return reply;
}

function oneOf<Word extends string>(reply: unknown, words: readonly Word[]): Word {
  const word = words.find((known) => known === reply);
  if (word === undefined)
    throw new TypeError(`Redis replied ${String(reply)} instead of ${words.join(", ")}`);
  return word;
}
