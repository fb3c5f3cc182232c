import type { RunKey } from "../core/run-record.ts";
import { driveRun, type RunDriver } from "./drive-run.ts";
import type { WorkerPorts } from "./ports.ts";

/**
 * A worker: claims the runs that it is woken for and drives each to its next rest.
 *
 * Invariants:
 * 1. At most `maxRuns` runs are in hand; what is beyond waits in line, and stays due in the journal for other workers.
 * 2. A run is driven by one driver at a time; a wake-up while it is driven reaches its driver, or takes it again afterwards.
 * 3. Leases are renewed together; what is lost stops at once.
 */
export interface RunWorker {
  readonly name: string;
  /**
   * The run may have something to do. Waits until there is room, then claims it and lets it go on by itself. `false`: there was nothing to take (held,
   * finished, of a newer format) or it could not be taken now.
   */
  take(key: RunKey): Promise<boolean>;
  /** Messages wait for a run that this worker holds; one that it does not hold is passed over. */
  nudge(key: RunKey): void;
  held(): number;
  /** Begins nothing more, waits up to `graceMs` for what is under way, then aborts it (no attempt is used up) and gives all runs back. */
  stop(graceMs: number): Promise<void>;
}

export interface RunWorkerOptions {
  /** Unique, also among earlier lives of this process. */
  readonly name: string;
  readonly leaseMs: number;
  readonly renewEveryMs: number;
  readonly maxRuns: number;
  /** Takers in line beyond `maxRuns`; further ones get `false`. */
  readonly maxLine: number;
}

/** Runs of a worker that died go on within `leaseMs`; three renewals fit into it. */
export const WORKER_DEFAULTS = { leaseMs: 4_000, renewEveryMs: 1_300, maxRuns: 1_000, maxLine: 10_000 };

export function runWorker(options: RunWorkerOptions, ports: WorkerPorts): RunWorker {
  const drivers = new Map<string, RunDriver>();
  /** Being claimed; `true`: woken again meanwhile. */
  const claiming = new Map<string, boolean>();
  const line: (() => void)[] = [];
  const driven = new Set<Promise<unknown>>();
  let stopping = false;

  const take = async (key: RunKey): Promise<boolean> => {
    const address = addressOf(key);
    for (;;) {
      if (reached(address)) return true;
      if (stopping) return false;
      if (drivers.size + claiming.size < options.maxRuns) return during(claim(key, address));
      if (line.length >= options.maxLine) return false;
      await new Promise<void>((room) => line.push(room));
    }
  };

  const during = async <T>(work: Promise<T>): Promise<T> => {
    driven.add(work);
    try {
      return await work;
    } finally {
      driven.delete(work);
    }
  };

  /** Whether the run is in hand here already: then whoever drives it hears of it. */
  const reached = (address: string): boolean => {
    const driver = drivers.get(address);
    if (driver) driver.nudge();
    else if (claiming.has(address)) claiming.set(address, true);
    else return false;
    return true;
  };

  const claim = async (key: RunKey, address: string): Promise<boolean> => {
    claiming.set(address, false);
    const driver = await claimed(key, options, ports);
    const again = claiming.get(address) === true;
    claiming.delete(address);
    if (!driver) {
      line.shift()?.();
      return false;
    }
    drivers.set(address, driver);
    if (again) driver.nudge();
    if (stopping) driver.stop();
    void during(follow(driver, key, address));
    return true;
  };

  const follow = async (driver: RunDriver, key: RunKey, address: string): Promise<void> => {
    const late = await driver.over;
    drivers.delete(address);
    line.shift()?.();
    if (late) await take(key);
  };

  const stopRenewal = keepLeases(drivers, options, ports);

  return {
    name: options.name,
    take,
    nudge: (key) => void reached(addressOf(key)),
    held: () => drivers.size + claiming.size,
    stop: async (graceMs) => {
      stopping = true;
      for (const room of line.splice(0)) room();
      for (const driver of drivers.values()) driver.stop();
      const cancel = ports.clock.after(graceMs, () => {
        for (const driver of drivers.values()) driver.abort();
      });
      while (driven.size > 0) await Promise.all(driven);
      cancel();
      stopRenewal();
    },
  };
}

const addressOf = (key: RunKey): string => `${key.namespace}/${key.id}`;

async function claimed(
  key: RunKey,
  { name, leaseMs }: RunWorkerOptions,
  ports: WorkerPorts,
): Promise<RunDriver | undefined> {
  try {
    const claim = await ports.journal.claim(key, name, leaseMs);
    return claim.kind === "claimed" ? driveRun(claim, leaseMs, ports) : undefined;
  } catch (error) {
    ports.onFault(key, "claim", error);
    return undefined;
  }
}

/** Renews all leases together, again and again. Gives what ends it. */
function keepLeases(
  drivers: ReadonlyMap<string, RunDriver>,
  { leaseMs, renewEveryMs }: RunWorkerOptions,
  ports: WorkerPorts,
): () => void {
  const renew = async (): Promise<void> => {
    const held = [...drivers.values()];
    const leases = held.map(({ lease }) => lease);
    if (!leases[0]) return;
    try {
      const { lost, waiting } = await ports.journal.renew(leases, leaseMs);
      for (const key of lost) ofLease(held, key)?.lose();
      for (const key of waiting) ofLease(held, key)?.nudge();
    } catch (error) {
      ports.onFault(leases[0].key, "renew", error);
    }
  };
  let cancel = (): void => {};
  const again = (): void => {
    cancel = ports.clock.after(renewEveryMs, () => {
      again();
      void renew();
    });
  };
  again();
  return () => cancel();
}

const ofLease = (drivers: readonly RunDriver[], key: RunKey): RunDriver | undefined =>
  drivers.find(({ lease }) => lease.key.id === key.id && lease.key.namespace === key.namespace);
