import type { Json } from "../../workflows/core/json.ts";
import { newRun } from "../../workflows/core/new-run.ts";
import type { HistoryEntry, Message, RunFacts, RunKey, RunRecord } from "../../workflows/core/run-record.ts";
import type { Definition } from "../../workflows/definition/definition.ts";
import type { Delivered, Journal } from "../../workflows/journal/journal.ts";
import { type JournalCall, memoryJournal, memoryStore } from "../../workflows/journal/memory-journal.ts";
import type { EffectCall, Performed, WorkerPorts } from "../../workflows/worker/ports.ts";
import { type RunWorker, runWorker, type RunWorkerOptions } from "../../workflows/worker/run-worker.ts";
import { runFacts } from "./run-facts.ts";

export interface Bench {
  /** Of the world outside, without faults. */
  readonly journal: Journal;
  readonly calls: readonly EffectCall[];
  readonly faults: readonly unknown[];
  /** Moves the store's clock ahead. */
  pass(ms: number): void;
  worker(name: string, more?: Partial<WorkerOptions>): RunWorker;
  start(id: string, input?: Json, change?: Partial<RunFacts>, deadlineAt?: number): Promise<RunKey>;
  send(key: RunKey, message: Message): Promise<Delivered>;
  wake(key: RunKey): void;
  until(key: RunKey, wanted: (record: RunRecord) => boolean): Promise<RunRecord>;
  ended(key: RunKey): Promise<RunRecord>;
  history(key: RunKey): Promise<readonly HistoryEntry[]>;
  stop(): Promise<void>;
}

export interface WorkerOptions extends RunWorkerOptions {
  readonly onCall: (call: JournalCall) => Promise<void> | void;
  readonly perform: (call: EffectCall, signal: AbortSignal) => Promise<Performed>;
  readonly ports: Partial<WorkerPorts>;
}

/** Of workers that are about to die: soon over. */
export const SHORT_LEASE = { leaseMs: 150, renewEveryMs: 40 };
/** Of others: not lost by a machine that is busy for a moment. */
const LEASE = { leaseMs: 2_000, renewEveryMs: 200 };

/** Workers over one journal in memory, in real time with leases of a fraction of a second. */
export function bench(
  definitions: Readonly<Record<string, Definition>>,
  perform: (call: EffectCall, signal: AbortSignal) => Promise<Performed>,
): Bench {
  let ahead = 0;
  const now = (): number => Math.floor(performance.timeOrigin + performance.now()) + ahead;
  const store = memoryStore();
  const journal = memoryJournal({ now, store });
  const workers: RunWorker[] = [];
  const calls: EffectCall[] = [];
  const faults: unknown[] = [];
  const wake = (key: RunKey): void => {
    for (const worker of workers) void worker.take(key);
  };
  const deliver = async (key: RunKey, message: Message): Promise<Delivered> => {
    const delivered = await journal.deliver(key, message);
    if (delivered.kind === "accepted") wake(key);
    return delivered;
  };
  // In place of the sweeper.
  const sweeping = setInterval(() => {
    for (const { key, dueAt } of store.runs.values()) if (dueAt !== undefined && dueAt <= now()) wake(key);
  }, 20);
  const until = async (key: RunKey, wanted: (record: RunRecord) => boolean): Promise<RunRecord> => {
    for (;;) {
      const record = await journal.load(key);
      if (record && wanted(record)) return record;
      await new Promise((again) => setTimeout(again, 2));
    }
  };
  return {
    journal,
    calls,
    faults,
    wake,
    until,
    pass: (ms) => {
      ahead += ms;
    },
    worker: (name, more = {}) => {
      const ports: WorkerPorts = {
        journal: memoryJournal({ now, store, ...(more.onCall && { onCall: more.onCall }) }),
        definitions: {
          get: async ({ definition }) => {
            const found = definitions[definition];
            if (!found) throw new Error(`no definition ${definition}`);
            return found;
          },
        },
        performer: {
          perform: (call, signal) => {
            calls.push(call);
            return (more.perform ?? perform)(call, signal);
          },
        },
        payloads: {
          inlineBytes: 262_144,
          store: async () => Promise.reject(new Error("nothing is stored outside here")),
          load: async () => null,
        },
        clock: {
          now,
          passed: now,
          after: (delayMs, call) => {
            const timer = setTimeout(call, Math.min(delayMs, 50));
            return () => clearTimeout(timer);
          },
        },
        deliver,
        onParked: () => {},
        random: Math.random,
        onFault: (_key, what, error) => faults.push([what, error]),
        ...more.ports,
      };
      const options = { ...LEASE, maxRuns: 100, maxLine: 1_000, ...more };
      const worker = runWorker({ ...options, name }, ports);
      workers.push(worker);
      return worker;
    },
    start: async (id, input = null, change = {}, deadlineAt?: number) => {
      const { record, history } = newRun(runFacts(id, input, change), deadlineAt);
      await journal.create(record, history);
      wake(record.facts.key);
      return record.facts.key;
    },
    send: deliver,
    ended: (key) => until(key, ({ status }) => status !== "running"),
    history: (key) => journal.history(key, 1, 100_000),
    stop: async () => {
      clearInterval(sweeping);
      await Promise.all(workers.map((worker) => worker.stop(0)));
    },
  };
}
