import { memory, mib } from "../process-usage.ts";
import { printTable } from "../report.ts";
import { type BenchWorker, type BenchWorld, benchWorld, type Fsync } from "./bench-world.ts";
import type { BenchWorkflow } from "./definitions.ts";

const LOOK_MS = 50;

interface Fan {
  readonly seconds: number;
  /** From the last item's result to the run's end. */
  readonly joinMs: number;
  readonly idleKib: number;
  readonly peakKib: number;
}

async function fan(
  world: BenchWorld,
  worker: BenchWorker,
  id: string,
  workflow: BenchWorkflow,
  items: number,
): Promise<Fan> {
  const idleKib = memory(worker.pid).rssKib;
  let peakKib = idleKib;
  const watch = setInterval(() => {
    peakKib = Math.max(peakKib, memory(worker.pid).rssKib);
  }, LOOK_MS);
  const from = performance.now();
  const ended = worker.ended(id);
  worker.start(id, workflow, { items });
  await ended;
  const seconds = (performance.now() - from) / 1_000;
  clearInterval(watch);
  const calls = await worker.lastCallAt(id);
  const finished = (await world.history(id)).find(({ type }) => type === "finished")?.at ?? Number.NaN;
  return { seconds, joinMs: finished - calls, idleKib, peakKib };
}

/** One step over many items: how long it takes, what joining costs, and that the worker's memory does not follow their number. */
export async function benchMaps(fsync: Fsync): Promise<void> {
  const world = await benchWorld(fsync);
  const worker = await world.worker();
  await fan(world, worker, "warm", "map", 2_000);
  const rows = [
    [
      "a map of items of 200 bytes",
      "seconds",
      "items/s",
      "last result → end of the run, ms",
      "worker's RSS MiB: before → peak",
    ],
  ];
  for (const [what, workflow, items] of [
    ["1,000 at once (fan-in)", "fan-in", 1_000],
    ["1,000, 64 at a time", "map", 1_000],
    ["10,000, 64 at a time", "map", 10_000],
  ] as const) {
    const { seconds, joinMs, idleKib, peakKib } = await fan(
      world,
      worker,
      `${workflow}-${items}`,
      workflow,
      items,
    );
    rows.push([
      what,
      seconds.toFixed(2),
      String(Math.round(items / seconds)),
      String(Math.round(joinMs)),
      `${mib(idleKib)} → ${mib(peakKib)}`,
    ]);
  }
  printTable(rows);
  await world.stop();
}
