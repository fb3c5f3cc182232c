/*
 * Whose turn it is to be delivered. Invariants:
 * F1. Namespaces take turns, and within a namespace its functions: however much one has waiting, the others are not behind it.
 * F2. A function holds at most as many slots as are free, a namespace twice as many: whoever comes new finds room at once, however slow the others are,
 *     and one that is alone gets most of them.
 */

export interface Turn {
  readonly queue: string;
  /** How many may be claimed. */
  readonly count: number;
}

export interface FairTurns {
  /** Something of it can be claimed. */
  add(queue: string): void;
  /** Whose turn it is; it is not asked again before it is added again. Its slots are held until they are given back. */
  next(): Turn | undefined;
  /** Slots of a queue are free again. */
  release(queue: string, count: number): void;
  held(): number;
}

const BATCH = 16;

/** @param slots deliveries at once */
export function fairTurns(slots: number): FairTurns {
  const waiting = new Map<string, Set<string>>();
  const heldBy = new Map<string, number>();
  let held = 0;

  const hold = (name: string, count: number): void => {
    const now = (heldBy.get(name) ?? 0) + count;
    if (now > 0) heldBy.set(name, now);
    else heldBy.delete(name);
  };
  /** How many slots one that holds `mine` may take so that it holds no more than `share` times what is then free. */
  const roomFor = (mine: number, share: number): number =>
    Math.floor((share * (slots - held) - mine + share) / (share + 1));

  const countFor = (queue: string, namespace: string, sharers: number): number => {
    const room = Math.min(
      roomFor(heldBy.get(queue) ?? 0, 1),
      roomFor(heldBy.get(namespace) ?? 0, 2),
      slots - held,
    );
    return Math.min(room, BATCH, Math.max(1, Math.ceil((slots - held) / sharers)));
  };

  const nextOf = (namespace: string, queues: Set<string>, sharers: number): Turn | undefined => {
    for (const queue of queues) {
      const count = countFor(queue, namespace, sharers);
      if (count < 1) continue;
      queues.delete(queue);
      if (queues.size === 0) waiting.delete(namespace);
      hold(queue, count);
      hold(namespace, count);
      held += count;
      return { queue, count };
    }
    return undefined;
  };

  return {
    add: (queue) => {
      const namespace = namespaceOf(queue);
      let queues = waiting.get(namespace);
      if (!queues) waiting.set(namespace, (queues = new Set()));
      queues.add(queue);
    },
    next: () => {
      if (held >= slots) return undefined;
      let sharers = 0;
      for (const queues of waiting.values()) sharers += queues.size;
      for (const [namespace, queues] of waiting) {
        const turn = nextOf(namespace, queues, sharers);
        if (!turn) continue;
        // Behind the others: it has had its turn.
        if (waiting.delete(namespace)) waiting.set(namespace, queues);
        return turn;
      }
      return undefined;
    },
    release: (queue, count) => {
      if (count === 0) return;
      hold(queue, -count);
      hold(namespaceOf(queue), -count);
      held -= count;
    },
    held: () => held,
  };
}

/** Cannot be a queue's name: those have a slash. */
const namespaceOf = (queue: string): string => queue.slice(0, queue.indexOf("/"));
