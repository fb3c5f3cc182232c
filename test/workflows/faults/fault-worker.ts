import { processLog } from "../../../net/log.ts";
import { redisConnection } from "../../../net/redis.ts";
import type { Json } from "../../../workflows/core/json.ts";
import type { Effect, RunFacts, RunKey } from "../../../workflows/core/run-record.ts";
import type { Commit, Journal, Lease } from "../../../workflows/journal/journal.ts";
import { redisJournal } from "../../../workflows/journal/redis-journal.ts";
import { redisPayloads } from "../../../workflows/payloads/redis-payloads.ts";
import { storeClock } from "../../../workflows/queue/store-clock.ts";
import type { Performed, WorkerPorts } from "../../../workflows/worker/ports.ts";
import { runWorker } from "../../../workflows/worker/run-worker.ts";
import { chain, round } from "./chain.ts";

/** Where a worker dies: `<point>:<n>`, at the nth time that it comes there. */
export type CrashPoint = "claimed" | "commit-before" | "commit-after" | "call-before" | "call-after";

export interface FaultWorkerOptions {
  readonly redisUrl: string;
  /** Where the function of all steps answers. */
  readonly functionUrl: string;
  readonly name: string;
  readonly leaseMs: number;
  readonly crash?: { readonly at: CrashPoint; readonly nth: number };
  /** The only run that it takes, as one that was handed to it; absent = all that are due. */
  readonly only?: RunKey;
  readonly onCommitted?: (lease: Lease, commit: Commit) => void;
}

export interface FaultWorker {
  readonly journal: Journal;
  stop(): Promise<void>;
}

/** The real worker, journal and queue on a real Redis, with definitions in this process and the function at an address of the test's. */
export async function startFaultWorker(options: FaultWorkerOptions): Promise<FaultWorker> {
  const log = processLog(options.name, { level: "error" });
  const redis = redisConnection({ url: options.redisUrl, log, name: options.name, maxRetryDelayMs: 100 });
  await redis.ready(60_000);
  const counts = new Map<CrashPoint, number>();
  const reach = (point: CrashPoint): void => {
    counts.set(point, (counts.get(point) ?? 0) + 1);
    if (options.crash?.at === point && options.crash.nth === counts.get(point))
      process.kill(process.pid, "SIGKILL");
  };
  const plain = redisJournal(() => redis.client());
  const journal: Journal = {
    ...plain,
    claim: async (...args) => {
      const claim = await plain.claim(...args);
      reach("claimed");
      return claim;
    },
    commit: async (lease, commit) => {
      reach("commit-before");
      const answer = await plain.commit(lease, commit);
      if (answer.kind === "committed") options.onCommitted?.(lease, commit);
      reach("commit-after");
      return answer;
    },
  };
  const clock = await storeClock(journal);
  // Who has one run only needs no queue, and starts sooner without.
  const queue = options.only ? undefined : await import("../../../workflows/queue/wake-ups.ts");
  const wakeUps = queue?.redisWakeUps({
    url: options.redisUrl,
    journal,
    clock,
    worker: options.name,
    sweepMs: 100,
    log,
  });
  const ports: WorkerPorts = {
    journal,
    definitions: { get: async ({ workflow }) => (workflow === "round" ? round : chain) },
    performer: {
      perform: async ({ facts, effect }, signal) => {
        reach("call-before");
        const output = await call(options.functionUrl, facts, effect, signal);
        reach("call-after");
        return output;
      },
    },
    payloads: redisPayloads(() => redis.client()),
    clock: {
      now: () => clock.now(),
      passed: () => clock.passed(),
      after: (delayMs, act) => {
        const timer = setTimeout(act, delayMs);
        return () => clearTimeout(timer);
      },
    },
    deliver: journal.deliver,
    onParked: (key, dueAt) => dueAt !== undefined && wakeUps?.expect(key, dueAt),
    random: Math.random,
    onFault: () => undefined,
  };
  const { leaseMs, name } = options;
  const worker = runWorker(
    { name, leaseMs, renewEveryMs: leaseMs / 3, maxRuns: 200, maxLine: 10_000 },
    ports,
  );
  if (options.only) await worker.take(options.only);
  else wakeUps?.start(worker);
  return {
    journal,
    stop: async () => {
      await Promise.all([wakeUps?.close(), worker.stop(0)]);
      await redis.close();
    },
  };
}

async function call(url: string, facts: RunFacts, effect: Effect, signal: AbortSignal): Promise<Performed> {
  const input: Json = "value" in effect.input ? effect.input.value : null;
  const reply = await fetch(url, {
    method: "POST",
    headers: {
      "idempotency-key": `${facts.key.namespace}/${facts.key.id}/${effect.token}`,
      "x-state": effect.state,
    },
    body: JSON.stringify(input),
    signal,
  });
  return { kind: "done", output: { value: (await reply.json()) as Json } };
}

/** As a process of its own: options as JSON in the first argument. */
if (process.argv[1] === import.meta.filename) {
  const given = process.argv[2];
  if (given === undefined) throw new Error("Options are missing");
  await startFaultWorker(JSON.parse(given) as FaultWorkerOptions);
  process.stdout.write("started\n");
}
