import { percentile, printTable } from "../report.ts";
import { type BenchWorker, benchWorld, type Fsync } from "./bench-world.ts";

const RUNS = 20;
const CALL_MS = 300;
const TARGET_S = 5;

/** Starts runs on a worker, kills it while their steps are under way, and gives the seconds after which each went on at `next`. */
async function killed(
  worker: BenchWorker,
  name: string,
  next: () => Promise<BenchWorker>,
): Promise<{ seconds: number[]; survivor: BenchWorker }> {
  const ids = Array.from({ length: RUNS }, (_, n) => `${name}-${n}`);
  const underWay = Promise.all(ids.map((id) => worker.called(id)));
  for (const id of ids) worker.start(id, "steps", { steps: 3 });
  await underWay;
  const from = performance.now();
  await worker.kill();
  const survivor = await next();
  const seconds = ids.map(async (id) => {
    await survivor.called(id);
    return (performance.now() - from) / 1_000;
  });
  return { seconds: await Promise.all(seconds), survivor };
}

/** How soon runs go on whose worker was killed with steps under way. */
export async function benchRecovery(fsync: Fsync): Promise<void> {
  const world = await benchWorld(fsync);
  const rows = [
    [`kill -9 of a worker with ${RUNS} steps under way: each goes on`, "p50 s", "last s", "target s"],
  ];
  const row = (what: string, seconds: readonly number[]): void =>
    void rows.push([
      what,
      percentile(seconds, 0.5).toFixed(2),
      Math.max(...seconds).toFixed(2),
      String(TARGET_S),
    ]);
  const start = (): Promise<BenchWorker> => world.worker({ callMs: CALL_MS });
  const first = await start();
  const second = await start();
  const beside = await killed(first, "beside", async () => second);
  row("on another worker", beside.seconds);
  row("on a worker that is started after it", (await killed(beside.survivor, "after", start)).seconds);
  printTable(rows);
  await world.stop();
}
