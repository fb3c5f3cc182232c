/**
 * Messages of a queue of Azure Storage that are fetched and not dealt with.
 *
 * Invariants
 * A1. The visibility of each is renewed three times per `visibilityMs`, so that nobody else gets it while a function works on it.
 * A2. Renewals, deletion and giving back of a message follow one another: each needs the receipt that the one before has given.
 * A3. One whose receipt is no longer good is another's: it is dropped, and comes again by itself.
 */
import type { QueueClient } from "@azure/storage-queue";

export interface Hand {
  readonly size: number;
  /** False: it was in hand; what counts from now on is the new receipt. */
  take(id: string, receipt: string): boolean;
  /** It is dealt with. Rejects when the service does not answer. */
  remove(id: string): Promise<void>;
  /** It is visible again after `delayMs`, for whoever comes. */
  giveBack(id: string, delayMs: number): Promise<void>;
  /** All of them, at once; nothing is renewed any more. */
  giveBackAll(): Promise<void>;
  /** Resolves when one leaves, or at `wake`. */
  changed(): Promise<void>;
  wake(): void;
}

interface Held {
  receipt: string;
  /** The call before; A2. */
  last: Promise<unknown>;
}

const RENEWALS_PER_WAIT = 3;
const MAX_DELAY_SECONDS = 7 * 24 * 3_600;

export function createHand(queue: QueueClient, visibilityMs: number): Hand {
  const hand = new Map<string, Held>();
  let change = Promise.withResolvers<void>();
  const wake = (): void => {
    change.resolve();
    change = Promise.withResolvers();
  };
  const drop = (id: string): void => {
    hand.delete(id);
    wake();
  };
  const afterLast = (held: Held, act: () => Promise<void>): Promise<void> => {
    const before = held.last;
    const call = (async () => {
      await before.catch(() => undefined);
      await act();
    })();
    held.last = call;
    return call;
  };
  const hide = (id: string, held: Held, delaySeconds: number): Promise<void> =>
    afterLast(held, async () => {
      // Without a text, the message stays as it is.
      const { popReceipt } = await queue.updateMessage(id, held.receipt, undefined, delaySeconds);
      held.receipt = popReceipt ?? held.receipt;
    });
  const dropIfGone = (id: string, held: Held, error: unknown): boolean => {
    const gone = isGone(error);
    if (gone && hand.get(id) === held) drop(id);
    return gone;
  };
  const renewals = setInterval(() => {
    for (const [id, held] of hand)
      hide(id, held, seconds(visibilityMs)).catch((error: unknown) => dropIfGone(id, held, error));
  }, visibilityMs / RENEWALS_PER_WAIT);
  const giveBack = async (id: string, delaySeconds: number): Promise<void> => {
    const held = hand.get(id);
    if (!held) return;
    try {
      await hide(id, held, delaySeconds);
      drop(id);
    } catch (error) {
      if (!dropIfGone(id, held, error)) throw error;
    }
  };
  return {
    get size() {
      return hand.size;
    },
    take: (id, receipt) => {
      const isNew = !hand.has(id);
      hand.set(id, { receipt, last: Promise.resolve() });
      return isNew;
    },
    remove: async (id) => {
      const held = hand.get(id);
      if (!held) return;
      try {
        await afterLast(held, async () => {
          await queue.deleteMessage(id, held.receipt);
        });
        drop(id);
      } catch (error) {
        if (!dropIfGone(id, held, error)) throw error;
      }
    },
    giveBack: (id, delayMs) => giveBack(id, seconds(delayMs)),
    giveBackAll: async () => {
      clearInterval(renewals);
      await Promise.allSettled([...hand.keys()].map((id) => giveBack(id, 0)));
    },
    changed: () => change.promise,
    wake,
  };
}

const seconds = (ms: number): number => Math.min(MAX_DELAY_SECONDS, Math.max(1, Math.ceil(ms / 1_000)));

const isGone = (error: unknown): boolean =>
  typeof error === "object" &&
  error !== null &&
  "statusCode" in error &&
  (error.statusCode === 404 || error.statusCode === 400);
