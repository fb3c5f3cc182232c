import { Redis } from "ioredis";
import type { Acceptance, AcceptInvocation } from "../../../engine/triggers/invocations/accept.ts";
import type { CallsUnderWay } from "../../../engine/triggers/timers/perform-fire.ts";

/** The far side of timers: a queue that remembers in Redis what it accepted, once per key. Calls run until they are ended or cancelled. */
export interface RecordedCalls {
  readonly accept: AcceptInvocation;
  readonly calls: CallsUnderWay;
  accepted(): Promise<Recorded[]>;
  /** How often something was offered, repetitions included. */
  offered(): Promise<number>;
  end(id: string): Promise<void>;
  close(): void;
}

export interface Recorded {
  readonly id: string;
  readonly source: string;
  readonly target: Acceptance["target"];
  readonly event: { id: string; method: string; path: string; headers: Record<string, string>; body: string };
  readonly atMs: number;
  readonly by: string;
}

export function recordedCalls(url: string, by = "one"): RecordedCalls {
  const redis = new Redis(url, { maxRetriesPerRequest: 1 });
  redis.on("error", () => undefined);
  return {
    accept: async ({ event, target, source, dedupKey = event.id }) => {
      const id = Buffer.from(dedupKey).toString("base64url");
      await redis.incr("calls:offered");
      const body = Buffer.from(event.body).toString("utf8");
      const text = JSON.stringify({ id, source, target, event: { ...event, body }, atMs: Date.now(), by });
      // Both or nothing, as the real queue has it.
      const added = await redis.eval(
        "if redis.call('SETNX', KEYS[1], 'queued') == 0 then return 0 end redis.call('RPUSH', KEYS[2], ARGV[1]) return 1",
        2,
        `calls:${id}`,
        "calls",
        text,
      );
      return { id, duplicate: added === 0, queue: `${event.namespace}/${target.name}` };
    },
    calls: {
      isUnderWay: async (id) => (await redis.get(`calls:${id}`)) === "queued",
      cancel: async (id) => {
        await redis.set(`calls:${id}`, "cancelled");
      },
    },
    accepted: async () => {
      const texts = await redis.lrange("calls", "0", "-1");
      return texts.map((text): Recorded => JSON.parse(text));
    },
    offered: async () => Number(await redis.get("calls:offered")),
    end: async (id) => {
      await redis.set(`calls:${id}`, "done");
    },
    close: () => redis.disconnect(),
  };
}
