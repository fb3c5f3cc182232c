import { newRun } from "../../../workflows/core/new-run.ts";
import type { HistoryEntry, Message, Pin, RunKey, RunRecord } from "../../../workflows/core/run-record.ts";
import { DefinitionError } from "../../../workflows/definition/definition.ts";
import type { Delivered, Journal } from "../../../workflows/journal/journal.ts";
import { type MemoryStore, memoryJournal, memoryStore } from "../../../workflows/journal/memory-journal.ts";
import { childStarter } from "../../../workflows/worker/child-runs.ts";
import { effectPerformer } from "../../../workflows/worker/perform-effect.ts";
import type { WorkerPorts } from "../../../workflows/worker/ports.ts";
import { type RunWorker, runWorker } from "../../../workflows/worker/run-worker.ts";
import { runFacts } from "../run-facts.ts";
import { type FunctionServer, functionServer, hash } from "./function-server.ts";
import { scheduler } from "./scheduler.ts";
import { DEFINITIONS } from "./simulated-workflows.ts";
import { type Faults, type WorkerLife, workerLife } from "./worker-life.ts";

export interface Simulated {
  readonly runs: ReadonlyMap<
    string,
    { readonly record: RunRecord; readonly history: readonly HistoryEntry[] }
  >;
  readonly server: FunctionServer;
  /** Runs that had not ended when the time was over. */
  readonly stuck: readonly string[];
  /** How often what was done to the world. */
  readonly counts: ReadonlyMap<string, number>;
}

const WORKERS = 3;
const START = 1_800_000_000_000;
/** How far what a worker knows of the store's clock is off. */
const MAX_SKEW_MS = 5;
const LEASE_MS = 6_000;
const TWO_DAYS_MS = 172_800_000;
const SWEEP_MS = 1_000;
/** Whether all runs have ended is looked at after so many tasks. */
const LOOPS = 100;
const LOOK_EVERY = 200;
const NAMESPACE = "shop";
const KINDS = ["order", "loop", "fan", "race"] as const;

/** A number of runs of all workflows with workers that suffer `faults`, until all have ended; cancelled ones among them if asked for. */
export async function simulate(
  seed: number,
  runCount: number,
  faults: Faults,
  cancelShare: number,
): Promise<Simulated> {
  const time = scheduler(seed, START);
  const counts = new Map<string, number>();
  const count = (what: string): void => void counts.set(what, (counts.get(what) ?? 0) + 1);
  const store = memoryStore();
  const outside = memoryJournal({ now: time.now, store });
  const workers = new Map<string, { life: WorkerLife; worker: RunWorker }>();

  /** Lost, late or twice, at any worker: the sweeper makes up for it. */
  const wake = (key: RunKey, owner?: string): void => {
    for (let times = time.random() < faults.duplicate ? 2 : 1; times > 0; times--) {
      if (time.random() < faults.lostWakeUp) count("lost wake-up");
      else
        time.after(time.random() * 5, () => {
          const all = [...workers.values()];
          const chosen =
            owner === undefined ? all[Math.floor(time.random() * all.length)] : workers.get(owner);
          if (owner === undefined) void chosen?.worker.take(key);
          else chosen?.worker.nudge(key);
        });
    }
  };
  const send = async (journal: Journal, key: RunKey, message: Message): Promise<Delivered> => {
    const delivered = await journal.deliver(key, message);
    if (delivered.kind === "accepted") wake(key, delivered.owner);
    return delivered;
  };
  const server = functionServer(seed, (run, token, attempt, output) => {
    const outcome = { kind: "done", output: { value: output } } as const;
    for (const delay of [time.random() * 8_000, time.random() * 8_000])
      time.after(delay, () => void send(outside, run, { kind: "completed", token, attempt, outcome }));
  });
  const start = async (
    journal: Journal,
    workflow: string,
    id: string,
    n: number,
    parent?: RunRecord["facts"]["parent"],
  ): Promise<RunRecord> => {
    const pins = pinsOf(workflow);
    const facts = runFacts(
      id,
      { id, n },
      { workflow, definition: workflow, pins, ...(parent && { parent }) },
    );
    const { record, history } = newRun(facts);
    const created = await journal.create(record, history);
    wake(facts.key);
    return created.record;
  };

  const spawn = (number: number): void => {
    const name = `worker-${number}`;
    const life = workerLife(name, time, faults, count, () => {
      workers.delete(name);
      time.after(100 + time.random() * 3_000, () => spawn(number + WORKERS));
    });
    const journal = memoryJournal({ now: time.now, store, onCall: life.onJournalCall });
    const ports = portsOf(life, journal);
    const worker = runWorker(
      { name, leaseMs: LEASE_MS, renewEveryMs: 2_000, maxRuns: 8, maxLine: 100 },
      ports,
    );
    workers.set(name, { life, worker });
    const sweep = (): void => {
      life.after(SWEEP_MS, sweep);
      void sweepOnce(journal, worker, store);
    };
    sweep();
  };

  const portsOf = (life: WorkerLife, journal: Journal): WorkerPorts => {
    const clock = {
      now: () => Math.ceil(time.now() + ahead),
      passed: () => Math.floor(time.now() - behind),
      after: life.after,
    };
    const [ahead, behind] = [time.random() * MAX_SKEW_MS, time.random() * MAX_SKEW_MS];
    const payloads = {
      inlineBytes: 262_144,
      store: async () => Promise.reject(new Error("nothing is large here")),
      load: async () => null,
    };
    const performer = effectPerformer({
      journal,
      payloads,
      clock,
      random: time.random,
      tokens: { make: ({ token }) => token },
      cancel: (key, reason) => send(journal, key, { kind: "cancel", reason }),
      startChild: childStarter(async ({ workflow, id, parent }) => {
        await life.pass("start child", time.random() * 3);
        return { record: await start(journal, workflow, id, 3, parent) };
      }),
      call: async (call) => {
        await life.pass("call before", time.random() * 3);
        const result = server.call(call);
        await life.pass("call after", time.random() * 40);
        if (time.random() >= faults.lostAnswer) return result;
        count("lost answer");
        throw new Error("the answer was lost");
      },
    });
    return {
      journal,
      performer,
      payloads,
      clock,
      random: time.random,
      definitions: {
        get: async ({ definition }) => {
          await life.pass("definition", time.random());
          if (time.random() < faults.hostAway) throw new DefinitionError("definition_unavailable", "away");
          const found = DEFINITIONS[definition];
          if (!found) throw new DefinitionError("definition_invalid", definition);
          return found;
        },
      },
      deliver: (key, message) => send(journal, key, message),
      onParked: () => {},
      onFault: () => {},
    };
  };

  for (let number = 0; number < WORKERS; number++) spawn(number);
  for (let number = 0; number < runCount; number++) {
    const workflow = KINDS[number % KINDS.length] ?? "order";
    const id = `${workflow}-${seed}-${number}`;
    const key = { namespace: NAMESPACE, id };
    time.after(
      time.random() * 10_000,
      () => void start(outside, workflow, id, workflow === "loop" ? LOOPS : 0),
    );
    if (workflow === "order") approve(key);
    if (hash(`cancel/${id}`) < cancelShare)
      time.after(
        10_000 + time.random() * 20_000,
        () => void send(outside, key, { kind: "cancel", reason: "no more" }),
      );
  }

  /** The same event by several senders, who do not know of each other. */
  function approve(key: RunKey): void {
    const event = { type: "approve", by: "ann" };
    const again = async (): Promise<void> => {
      const { kind } = await send(outside, key, { kind: "event", id: "approval", event, buffered: true });
      if (kind === "unknown") time.after(500, () => void again());
    };
    for (let times = 0; times < 2; times++) time.after(10_000 + time.random() * 30_000, () => void again());
  }

  let looks = 0;
  const ended = (): boolean =>
    (looks += 1) % LOOK_EVERY === 0 &&
    store.runs.size >= runCount &&
    [...store.runs.values()].every(({ status }) => status !== "running");
  await time.run(ended, TWO_DAYS_MS);
  for (const { life } of workers.values()) life.kill();
  return collected(store, memoryJournal({ now: time.now, store }), server, counts);
}

const pinsOf = (workflow: string): Record<string, Pin> =>
  Object.fromEntries(
    Object.entries(DEFINITIONS[workflow]?.facts.actors ?? {}).map(([actor, facts]): [string, Pin] => {
      const pinned = facts.kind === "map" ? facts.each : facts;
      return [
        actor,
        pinned.kind === "workflow"
          ? { kind: "workflow", name: pinned.name }
          : { kind: "function", name: pinned.name, version: "v1" },
      ];
    }),
  );

async function sweepOnce(journal: Journal, worker: RunWorker, store: MemoryStore): Promise<void> {
  const open = [...store.runs.values()].filter(({ dueAt }) => dueAt !== undefined);
  for (const partition of new Set(open.map((run) => run.partition))) {
    try {
      const { runs } = await journal.due(partition, 100);
      for (const key of runs) void worker.take(key);
    } catch {
      // The next round looks again.
    }
  }
}

async function collected(
  store: MemoryStore,
  journal: Journal,
  server: FunctionServer,
  counts: ReadonlyMap<string, number>,
): Promise<Simulated> {
  const runs = new Map<string, { record: RunRecord; history: readonly HistoryEntry[] }>();
  for (const { key } of store.runs.values()) {
    const record = await journal.load(key);
    if (record) runs.set(key.id, { record, history: await journal.history(key, 1, 100_000) });
  }
  const stuck = [...runs].filter(([, { record }]) => record.status === "running").map(([id]) => id);
  return { runs, server, stuck, counts };
}
