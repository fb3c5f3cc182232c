/**
 * Messages of one consumer that are not dealt with.
 *
 * Invariants
 * H1. Messages that were delivered in one call are given up one by one at most: if the call fails for good, each is tried by itself, with all its tries.
 * H2. A message that was withdrawn is not begun any more; what waited behind it in its lane goes on.
 */
import type { Lanes, Work } from "./lanes.ts";
import type { SourceMessage, SubscribeOptions } from "./source.ts";

export interface Tries {
  /** Of the next delivery, from 1. */
  attempt: number;
}

/** Gives the pause in milliseconds before the next delivery; undefined when the message is dealt with; `apart` = its parts are to be tried by themselves. */
export type DeliverOnce = (message: SourceMessage, tries: Tries) => Promise<number | "apart" | undefined>;

export interface MessagesInHand {
  readonly take: (message: SourceMessage) => void;
  readonly withdraw: SubscribeOptions<unknown>["withdraw"];
}

interface Held {
  readonly message: SourceMessage;
  readonly work: Work;
  runs: boolean;
  withdrawn: boolean;
}

export function createHand(
  lanes: Lanes,
  { deliverOnce, isClosing }: { readonly deliverOnce: DeliverOnce; readonly isClosing: () => boolean },
): MessagesInHand {
  const held = new Set<Held>();

  /** Deliveries of a message, and of its parts should it come to that. */
  const course = (message: SourceMessage): Work => {
    let line = [message];
    let tries: Tries = { attempt: Math.max(1, message.delivery ?? 1) };
    return async () => {
      const [next] = line;
      if (!next) return undefined;
      const again = await deliverOnce(next, tries);
      if (typeof again === "number") return again;
      line = again === "apart" ? [...(next.parts ?? [])] : line.slice(1);
      tries = { attempt: 1 };
      return line.length > 0 && !isClosing() ? 0 : undefined;
    };
  };

  return {
    take: (message) => {
      const run = course(message);
      const entry: Held = {
        message,
        runs: false,
        withdrawn: false,
        work: async () => {
          if (entry.withdrawn) return undefined;
          entry.runs = true;
          const againInMs = await run();
          entry.runs = false;
          if (againInMs !== undefined && !entry.withdrawn) return againInMs;
          held.delete(entry);
          return undefined;
        },
      };
      held.add(entry);
      lanes.add(message.lane, entry.work);
    },
    withdraw: (which, lost = false) => {
      const taken: SourceMessage[] = [];
      for (const entry of held) {
        if (!which(entry.message) || (entry.runs && !lost)) continue;
        entry.withdrawn = true;
        if (entry.runs) continue;
        held.delete(entry);
        taken.push(entry.message);
        lanes.hurry(entry.work);
      }
      return taken;
    },
  };
}
