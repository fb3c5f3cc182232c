import { setTimeout as sleep } from "node:timers/promises";
import { percentile } from "../report.ts";
import { type BenchWorld, benchWorld, type Fsync } from "./bench-world.ts";

const COUNT = 500;
const PAUSE_MS = 10;

/** The store's time at which it fired, less the time for which it was set. */
async function lateness(world: BenchWorld, id: string): Promise<number> {
  const history = await world.history(id);
  const set = history.find(({ type }) => type === "timer-set")?.note ?? "";
  const fired = history.find(({ type }) => type === "timer-fired")?.at ?? Number.NaN;
  return fired - Date.parse(set);
}

/** How late the timers of parked runs are. */
export async function benchTimers(fsync: Fsync): Promise<void> {
  const world = await benchWorld(fsync);
  const worker = await world.worker();
  const measured: Promise<number>[] = [];
  for (let n = 0; n < COUNT; n++) {
    const id = `timer-${n}`;
    measured.push(worker.ended(id).then(() => lateness(world, id)));
    worker.start(id, "timer", null);
    await sleep(PAUSE_MS);
  }
  const late = await Promise.all(measured);
  console.log(
    `${COUNT} timers of 6 s of parked runs, one every ${PAUSE_MS} ms or so: late p50 ${percentile(late, 0.5)} ms, p99 ${percentile(late, 0.99)} ms, earliest ${Math.min(...late)} ms (target p99 100 ms, never early)`,
  );
  await world.stop();
}
