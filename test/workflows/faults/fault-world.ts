import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import type { Redis } from "ioredis";
import { expect } from "vitest";
import { newRun } from "../../../workflows/core/new-run.ts";
import type { RunKey, RunRecord } from "../../../workflows/core/run-record.ts";
import type { Commit, Journal, Lease } from "../../../workflows/journal/journal.ts";
import { redisJournal } from "../../../workflows/journal/redis-journal.ts";
import { type RedisServer, type RedisServerOptions, redisServer } from "../redis-server.ts";
import { runFacts } from "../run-facts.ts";
import { add, CHAIN_OUTPUT, CHAIN_STEPS, ROUND_STEPS } from "./chain.ts";
import { type FaultWorker, type FaultWorkerOptions, startFaultWorker } from "./fault-worker.ts";

export const LEASE_MS = 600;

export interface FaultWorld {
  readonly server: RedisServer;
  readonly redis: Redis;
  readonly journal: Journal;
  /** Calls of the function by `Idempotency-Key`. */
  readonly calls: Map<string, number>;
  /** Highest version of a run whose commit was acknowledged, by its id. */
  readonly acknowledged: Map<string, number>;
  /** Calls wait for it. */
  hold(until: Promise<unknown>): void;
  create(id: string, workflow: "chain" | "round"): Promise<RunKey>;
  /** A worker in this process. */
  worker(name: string): Promise<FaultWorker>;
  /** A worker in a process of its own, which may crash. */
  process(options: Partial<FaultWorkerOptions> & { name: string }): ChildProcess;
  ended(key: RunKey): Promise<RunRecord>;
  close(): Promise<void>;
}

export async function faultWorld(options: RedisServerOptions = {}): Promise<FaultWorld> {
  const server = await redisServer(options);
  const redis = server.connect();
  const journal = redisJournal(() => redis);
  const calls = new Map<string, number>();
  const acknowledged = new Map<string, number>();
  const workers: FaultWorker[] = [];
  const children: ChildProcess[] = [];
  let held: Promise<unknown> | undefined;
  // A worker that stood still may send on a connection that it has had for long.
  const http = createServer({ keepAliveTimeout: 0 }, (request, response) => {
    const key = String(request.headers["idempotency-key"]);
    calls.set(key, (calls.get(key) ?? 0) + 1);
    void (async () => {
      const input = JSON.parse(await text(request)) as { n: number };
      await held;
      response.end(JSON.stringify(add(input)));
    })();
  });
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  const functionUrl = urlOf(http);
  const onCommitted = ({ key }: Lease, { expectedVersion }: Commit): void => {
    acknowledged.set(key.id, Math.max(acknowledged.get(key.id) ?? 0, expectedVersion + 1));
  };
  const common = { redisUrl: server.url, functionUrl, leaseMs: LEASE_MS };
  return {
    server,
    redis,
    journal,
    calls,
    acknowledged,
    hold: (until) => {
      held = until;
    },
    create: async (id, workflow) => {
      const { record, history } = newRun(runFacts(id, { n: 0 }, { workflow }));
      await journal.create(record, history);
      return record.facts.key;
    },
    worker: async (name) => {
      const worker = await startFaultWorker({ ...common, name, onCommitted });
      workers.push(worker);
      return worker;
    },
    process: (given) => {
      const child = spawn(
        process.execPath,
        [
          "--disable-warning=ExperimentalWarning",
          join(import.meta.dirname, "fault-worker.ts"),
          JSON.stringify({ ...common, ...given }),
        ],
        {
          stdio: ["ignore", "pipe", "inherit"],
          env: { ...process.env, NODE_COMPILE_CACHE: join(tmpdir(), "isotope-fault-workers") },
        },
      );
      children.push(child);
      return child;
    },
    ended: async (key) => {
      for (;;) {
        const record = await journal.load(key).catch(() => undefined);
        if (record && record.status !== "running") return record;
        await sleep(20);
      }
    },
    close: async () => {
      for (const child of children) child.kill("SIGKILL");
      await Promise.allSettled(workers.map((worker) => worker.stop()));
      http.closeAllConnections();
      http.close();
      await server.stop();
    },
  };
}

function urlOf(http: Server): string {
  const address = http.address();
  if (address === null || typeof address === "string") throw new Error("No address");
  return `http://127.0.0.1:${address.port}`;
}

/** Whether a run came to its end as if nothing had happened: the right result, each step completed once, its history without a gap, nothing left over. */
export async function expectWhole(world: FaultWorld, key: RunKey): Promise<void> {
  const record = await world.ended(key);
  const isRound = record.facts.workflow === "round";
  expect(record).toMatchObject({
    status: "succeeded",
    output: { value: isRound ? { n: ROUND_STEPS } : CHAIN_OUTPUT },
    effects: {},
    timers: {},
  });
  const history = await world.journal.history(key, 1, 10_000);
  expect(history.map(({ seq }) => seq)).toEqual(history.map((_, at) => at + 1));
  const tokens = history.flatMap(({ type, token }) => (type === "effect-completed" ? [token] : []));
  expect(new Set(tokens).size).toBe(tokens.length);
  expect(tokens).toHaveLength(isRound ? ROUND_STEPS : CHAIN_STEPS);
  for (const token of tokens)
    expect(world.calls.get(`${key.namespace}/${key.id}/${token}`)).toBeGreaterThanOrEqual(1);
  expect(history.filter(({ type }) => type === "finished")).toHaveLength(1);
}
