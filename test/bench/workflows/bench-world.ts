import { type ChildProcess, fork } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Redis } from "ioredis";
import type { Json } from "../../../workflows/core/json.ts";
import type { HistoryEntry } from "../../../workflows/core/run-record.ts";
import type { Journal } from "../../../workflows/journal/journal.ts";
import { redisJournal } from "../../../workflows/journal/redis-journal.ts";
import { type RedisServer, redisServer } from "../../workflows/redis-server.ts";
import { cpuTime, totalMs } from "../process-usage.ts";
import type { FromWorker, ToWorker, WorkerInit } from "./bench-worker.ts";
import { type BenchWorkflow, benchCode } from "./definitions.ts";

export interface BenchWorker {
  readonly pid: number;
  readonly hostPid: number;
  start(id: string, workflow: BenchWorkflow, input: Json): void;
  /** The run's first step has begun. */
  called(id: string): Promise<void>;
  /** Resolves at the run's end, here; rejects unless it succeeded. Ask before it starts. */
  ended(id: string): Promise<void>;
  /** Ms from the end of one call of the run's to the beginning of the next one's: all that the engine adds. */
  gaps(id: string): Promise<readonly number[]>;
  /** When the run's last call ended, by the store's clock. */
  lastCallAt(id: string): Promise<number>;
  /** SIGKILL. Its host ends with its input. */
  kill(): Promise<void>;
}

/** A Redis with an fsync on every commit, and workers on it in processes of their own. */
export interface BenchWorld {
  readonly server: RedisServer;
  readonly redis: Redis;
  readonly journal: Journal;
  worker(options?: { callMs?: number }): Promise<BenchWorker>;
  /** Of a run that benchmarks have started. */
  history(id: string): Promise<readonly HistoryEntry[]>;
  stop(): Promise<void>;
}

export type Fsync = "always" | "everysec" | "no";

/** The disk is still busy with the data of the part before. */
const SETTLE_MS = 1_000;

export async function benchWorld(fsync: Fsync): Promise<BenchWorld> {
  await sleep(SETTLE_MS);
  const server = await redisServer({ appendfsync: fsync });
  const redis = server.connect();
  const workers: BenchWorker[] = [];
  const journal = redisJournal(() => redis);
  return {
    server,
    redis,
    journal,
    history: (id) => journal.history({ namespace: "shop", id }, 1, 100),
    worker: async ({ callMs = 0 } = {}) => {
      const worker = await startWorker({
        redisUrl: server.url,
        name: `bench-${workers.length}`,
        code: await benchCode(),
        denoDir: join(server.folder, "deno"),
        callMs,
      });
      workers.push(worker);
      return worker;
    },
    stop: async () => {
      await Promise.all(workers.map((worker) => worker.kill()));
      await server.stop();
    },
  };
}

async function startWorker(init: WorkerInit): Promise<BenchWorker> {
  const child: ChildProcess = fork(join(import.meta.dirname, "bench-worker.ts"), {
    execArgv: ["--disable-warning=ExperimentalWarning"],
    env: { ...process.env, NODE_ENV: "production" },
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const said = new EventEmitter<Record<string, [FromWorker]>>().setMaxListeners(0);
  child.on("message", (message: FromWorker) =>
    said.emit("id" in message ? `${message.kind} ${message.id}` : message.kind, message),
  );
  const tell = (message: ToWorker): void => void child.send(message);
  const heard = async (what: string): Promise<FromWorker> => {
    const [message] = await once(said, what);
    return message;
  };
  const ready = heard("ready");
  tell({ kind: "init", init });
  const message = await Promise.race([
    ready,
    once(child, "exit").then(() => Promise.reject(new Error("The worker ended before it was ready"))),
  ]);
  return {
    pid: child.pid ?? 0,
    hostPid: message.kind === "ready" ? message.hostPid : 0,
    start: (id, workflow, input) => tell({ kind: "start", id, workflow, input }),
    called: async (id) => void (await heard(`called ${id}`)),
    ended: async (id) => {
      const end = await heard(`ended ${id}`);
      if (end.kind === "ended" && end.status !== "succeeded")
        throw new Error(`Run "${id}" ended as ${end.status}`);
    },
    gaps: async (id) => {
      const answer = heard(`gaps ${id}`);
      tell({ kind: "gaps", id });
      const gaps = await answer;
      return gaps.kind === "gaps" ? gaps.ms : [];
    },
    lastCallAt: async (id) => {
      const answer = heard(`last ${id}`);
      tell({ kind: "last", id });
      const last = await answer;
      return last.kind === "last" ? last.at : Number.NaN;
    },
    kill: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, "exit");
      child.kill("SIGKILL");
      await gone;
    },
  };
}

/** Processor time by process, in ms. */
export type Cpu = Readonly<Record<"worker" | "host" | "redis", number>>;
export const cpuOf = (world: BenchWorld, worker: BenchWorker): Cpu => ({
  worker: totalMs(cpuTime(worker.pid)),
  host: totalMs(cpuTime(worker.hostPid)),
  redis: totalMs(cpuTime(world.server.pid())),
});
/** What was used since `before`, in µs per step. */
export function cpuPerStep(before: Cpu, after: Cpu, steps: number): Cpu & { readonly all: number } {
  const per = (part: keyof Cpu): number => ((after[part] - before[part]) * 1_000) / steps;
  const [worker, host, redis] = [per("worker"), per("host"), per("redis")];
  return { worker, host, redis, all: worker + host + redis };
}
