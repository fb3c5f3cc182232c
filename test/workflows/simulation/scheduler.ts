/** The same numbers for the same seed: mulberry32. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

interface Task {
  readonly at: number;
  /** Decides among those of one instant. */
  readonly order: number;
  run: (() => void) | undefined;
}

/**
 * Virtual time: one task at a time, in an order that the seed decides, each followed by all that it lets go on. Nothing else lets time pass.
 */
export interface Scheduler {
  now(): number;
  random(): number;
  /** Gives what takes it back. */
  after(delayMs: number, run: () => void): () => void;
  /** Until `done`, or until nothing is left, or until the virtual time `limitMs` from now is over: then `false`. */
  run(done: () => boolean, limitMs: number): Promise<boolean>;
}

export function scheduler(seed: number, startAt: number): Scheduler {
  const random = seededRandom(seed);
  const heap: Task[] = [];
  let now = startAt;
  return {
    now: () => now,
    random,
    after: (delayMs, run) => {
      const task: Task = { at: now + Math.max(0, delayMs), order: random(), run };
      push(heap, task);
      return () => {
        task.run = undefined;
      };
    },
    run: async (done, limitMs) => {
      const limit = now + limitMs;
      for (;;) {
        await new Promise((settled) => setImmediate(settled));
        if (done()) return true;
        let task = pop(heap);
        while (task && !task.run) task = pop(heap);
        if (!task || task.at > limit) return false;
        now = Math.max(now, task.at);
        task.run?.();
      }
    },
  };
}

const before = (a: Task, b: Task): boolean => a.at < b.at || (a.at === b.at && a.order < b.order);

function push(heap: Task[], task: Task): void {
  let at = heap.length;
  heap.push(task);
  while (at > 0) {
    const parent = (at - 1) >> 1;
    const above = heap[parent]!;
    if (!before(task, above)) break;
    heap[at] = above;
    at = parent;
  }
  heap[at] = task;
}

function pop(heap: Task[]): Task | undefined {
  const first = heap[0];
  const last = heap.pop();
  if (first === undefined || last === undefined || heap.length === 0) return first;
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child += 1;
    if (!before(heap[child]!, last)) break;
    heap[at] = heap[child]!;
    at = child;
  }
  heap[at] = last;
  return first;
}
