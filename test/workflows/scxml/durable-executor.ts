import { childRunKey } from "../../../workflows/core/child-run-key.ts";
import { newRun } from "../../../workflows/core/new-run.ts";
import type { RunKey, RunRecord } from "../../../workflows/core/run-record.ts";
import type { ActorFacts, Definition } from "../../../workflows/definition/definition.ts";
import { memoryJournal, memoryStore } from "../../../workflows/journal/memory-journal.ts";
import type { WorkerPorts } from "../../../workflows/worker/ports.ts";
import { runWorker } from "../../../workflows/worker/run-worker.ts";
import { machineDefinition } from "../machine-definition.ts";
import { runFacts } from "../run-facts.ts";
import type { Converted } from "./convert-scxml.ts";

export interface DurableExecutor {
  /** Until nothing is due at this time. */
  settle(): Promise<void>;
  /** Lets time pass, from one due time to the next. */
  pass(ms: number): Promise<void>;
  send(type: string): Promise<void>;
  run(): Promise<RunRecord>;
  readonly crashes: () => number;
}

const never = new Promise<never>(() => {});
const START = 1_800_000_000_000;
const MAX_WORKERS = 2_000;

/** A machine as a run of the engine in virtual time: every worker dies at its first commit, so that each transition begins with what was stored. */
export async function durableExecutor(root: Converted): Promise<DurableExecutor> {
  let now = START;
  let crashes = 0;
  const store = memoryStore();
  const outside = memoryJournal({ now: () => now, store });
  const definitions = new Map<string, Definition>();
  const define = (name: string, { machine, invoked }: Converted): void => {
    const actors = Object.entries(invoked).map(([actor, child]): [string, ActorFacts] => {
      define(`${name}/${actor}`, child);
      return [actor, { kind: "workflow", name: `${name}/${actor}`, parentClose: "cancel" }];
    });
    definitions.set(name, machineDefinition(machine, Object.fromEntries(actors)));
  };
  define("root", root);
  const create = async (
    id: string,
    definition: string,
    parent?: NonNullable<RunRecord["facts"]["parent"]>,
  ): Promise<RunKey> => {
    const { record, history } = newRun(runFacts(id, null, { definition, ...(parent && { parent }) }));
    await outside.create(record, history);
    return record.facts.key;
  };
  const key = await create("case", "root");

  /** One worker from the claim to its death, or to the rest of the run. */
  const work = async (due: RunKey): Promise<void> => {
    let dead = false;
    await new Promise<void>((over) => {
      const die = (): void => {
        dead = true;
        over();
      };
      const journal = memoryJournal({
        now: () => now,
        store,
        onCall: async ({ operation, phase }) => {
          if (dead) await never;
          if (phase !== "after" || (operation !== "commit" && operation !== "release")) return;
          if (operation === "commit") crashes += 1;
          die();
          await never;
        },
      });
      const ports: WorkerPorts = {
        journal,
        definitions: {
          get: async ({ definition }) => definitions.get(definition) ?? Promise.reject(new Error(definition)),
        },
        performer: {
          perform: async ({ facts, effect, actor }) => {
            if (dead) return never;
            const parent = { key: facts.key, token: effect.token, close: "cancel" } as const;
            await create(
              childRunKey(facts.key, effect.token).id,
              actor.kind === "workflow" ? actor.name : "",
              parent,
            );
            return { kind: "waiting" };
          },
        },
        payloads: { inlineBytes: 1e6, store: async () => never, load: async () => null },
        // Whoever waits for a time has nothing to do now.
        clock: {
          now: () => now,
          passed: () => now,
          after: (delayMs) => {
            if (!dead && delayMs < 60_000) setImmediate(die);
            return () => {};
          },
        },
        deliver: (to, message) => outside.deliver(to, message),
        onParked: () => {},
        random: () => 0,
        onFault: () => {},
      };
      const options = {
        name: `worker-${crashes}-${now}`,
        leaseMs: 0,
        renewEveryMs: 1e9,
        maxRuns: 1,
        maxLine: 0,
      };
      void runWorker(options, ports).take(due);
    });
  };
  const due = (): RunKey | undefined =>
    [...store.runs.values()].find(
      (run) => run.status === "running" && run.dueAt !== undefined && run.dueAt <= now && !asleep(run.key),
    )?.key;
  /** At a given time, a run that did nothing with what was due has nothing to do. */
  const rested = new Map<string, string>();
  const stamp = (at: RunKey): string => {
    const run = store.runs.get(`${at.namespace}/${at.id}`);
    return `${now} ${run?.version} ${run?.inbox.length}`;
  };
  const asleep = (at: RunKey): boolean => rested.get(at.id) === stamp(at);

  const settle = async (): Promise<void> => {
    for (let workers = 0; ; workers++) {
      const next = due();
      if (!next) return;
      if (workers > MAX_WORKERS) throw new Error("does not come to rest");
      const before = stamp(next);
      await work(next);
      if (stamp(next) === before) rested.set(next.id, before);
    }
  };
  const nextAt = (): number =>
    Math.min(
      ...[...store.runs.values()].flatMap(({ record, status }) => {
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- written by the engine
        const { timers } = JSON.parse(record) as RunRecord;
        return status === "running" ? Object.values(timers).map(({ dueAt }) => dueAt) : [];
      }),
    );
  return {
    settle,
    pass: async (ms) => {
      const end = now + ms;
      for (;;) {
        await settle();
        const next = nextAt();
        if (next > end) break;
        now = Math.max(now, next);
      }
      now = end;
      await settle();
    },
    send: async (type) => {
      await outside.deliver(key, {
        kind: "event",
        id: `${type}-${crashes}-${now}`,
        event: { type },
        buffered: false,
      });
      await settle();
    },
    run: async () => {
      const record = await outside.load(key);
      if (!record) throw new Error("no run");
      return record;
    },
    crashes: () => crashes,
  };
}
