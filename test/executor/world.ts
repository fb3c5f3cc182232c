import { afterEach, beforeEach, vi } from "vitest";
import type { Endpoint } from "../../api/wire/executor.ts";
import { createExecutor, type Executor, type FaultPoint } from "../../engine/executor/executor.ts";
import { EXECUTOR_SETTINGS, type ExecutorSettings } from "../../engine/executor/settings.ts";
import { parseSettings } from "../../net/settings.ts";
import { acquireRequest, ARCHIVE, DIGEST, FarSide, type FarSideOptions, SILENT } from "./far-side.ts";

/** Set-up of tests that run executors on a simulated far side, in simulated time. */
const DEFAULTS = parseSettings(EXECUTOR_SETTINGS, { argv: ["--internal-key-file", "none"], env: {} });

let running: Executor[] = [];

export function useSimulatedTime(): void {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(async () => {
    await stopAll();
    vi.useRealTimers();
  });
}

export async function stopAll(): Promise<void> {
  const stopping = Promise.all(running.map((executor) => executor.stop()));
  running = [];
  await pass(3_000);
  await stopping;
}

export const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

export function farSide(options: Partial<FarSideOptions> = {}): FarSide {
  const far = new FarSide(options);
  far.archives.set(DIGEST, ARCHIVE);
  return far;
}

export interface RunningExecutor {
  readonly executor: Executor;
  /** Ends it as kill -9 would. */
  readonly kill: () => void;
}

/** An executor that begins to start. `diesAt` ends it as kill -9 would at its first visit of that point. */
export function launchExecutor(
  far: FarSide,
  settings: Partial<ExecutorSettings> = {},
  diesAt?: FaultPoint,
): RunningExecutor & { readonly started: Promise<void> } {
  const made = makeExecutor(far, settings, diesAt);
  return { ...made, started: made.executor.start() };
}

/** An executor that has not started. */
export function makeExecutor(
  far: FarSide,
  settings: Partial<ExecutorSettings> = {},
  diesAt?: FaultPoint,
  owns: (environment: string) => boolean = () => true,
): RunningExecutor {
  const { cluster, cut, connect } = far.client();
  const executor = createExecutor({
    cluster,
    archives: {
      read: async (digest) => {
        far.archiveReads += 1;
        const found = far.archives.get(digest);
        if (!found) throw new Error("404");
        return found;
      },
    },
    tokensOf: (namespace, name) => [`token of ${namespace}/${name}`],
    settings: { ...DEFAULTS, ...settings },
    log: SILENT,
    connect,
    owns,
    onFaultPoint: (point) => {
      if (point === diesAt) cut();
    },
  });
  running.push(executor);
  return {
    executor,
    kill: () => {
      cut();
      running = running.filter((other) => other !== executor);
    },
  };
}

/** An executor that has started (200 ms pass at least). */
export async function startExecutor(
  far: FarSide,
  settings: Partial<ExecutorSettings> = {},
  diesAt?: FaultPoint,
): Promise<RunningExecutor> {
  const launched = launchExecutor(far, settings, diesAt);
  await pass(200);
  while (!launched.executor.ready) await pass(100);
  await launched.started;
  return launched;
}

/** The outcome of a call: endpoints, or the error's code and message. */
export type Outcome =
  | { readonly endpoints: readonly Endpoint[] }
  | { readonly code: string; readonly message: string };

export async function outcomeOf(call: Promise<{ endpoints: Endpoint[] }>): Promise<Outcome> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof Error && "code" in error)
      return { code: String(error.code), message: error.message };
    throw error;
  }
}

export const endpointsOf = (outcome: Outcome): readonly Endpoint[] => {
  if ("code" in outcome) throw new Error(`expected endpoints, got ${outcome.code}: ${outcome.message}`);
  return outcome.endpoints;
};
export const codeOf = (outcome: Outcome): string => ("code" in outcome ? outcome.code : "ok");

/** Calls at the same moment, one request each. */
export const burst = (executor: Executor, count: number, name = "hello", revision = "r1") =>
  Promise.all(
    Array.from({ length: count }, () => outcomeOf(executor.acquire(acquireRequest(name, revision)))),
  );
