import type { RedisClient } from "../../net/redis-client.ts";
import type { RunKey } from "../core/run-record.ts";
import { keyOfMember, memberOf } from "../journal/redis-keys.ts";

/** Tells the worker that holds a run that messages wait for it. One that is lost costs time only: the next renewal of the lease says the same. */
export interface Nudges {
  nudge(worker: string, key: RunKey): Promise<void>;
  /** @param subscriber a connection of its own, which can do nothing else from then on */
  listen(subscriber: RedisClient, worker: string, nudged: (key: RunKey) => void): void;
}

const channel = (worker: string): string => `wf:nudge:${worker}`;

/** @param client gives the connected client, or throws */
export function nudges(client: () => Pick<RedisClient, "publish">): Nudges {
  return {
    nudge: async (worker, key) => void (await client().publish(channel(worker), memberOf(key))),
    listen: (subscriber, worker, nudged) => {
      subscriber.on("message", (_channel: string, member: string) => nudged(keyOfMember(member)));
      const subscribe = (): void => void subscriber.subscribe(channel(worker)).catch(() => undefined);
      if (subscriber.status === "ready") subscribe();
      // Once subscribed, ioredis does it again after each reconnection.
      else subscriber.once("ready", subscribe);
    },
  };
}
