import { percentile, printTable } from "../report.ts";
import {
  type BenchWorker,
  type BenchWorld,
  benchWorld,
  type Cpu,
  cpuOf,
  cpuPerStep,
  type Fsync,
} from "./bench-world.ts";

const TARGET_P50_MS = 2;
const TARGET_RATE = 2_000;
/** First step of the hundred that is measured. */
const PLACES: readonly [name: string, from: number][] = [
  ["1", 0],
  ["100", 50],
  ["1,000", 950],
  ["10,000", 9_950],
];
const AROUND = 100;

async function drive(worker: BenchWorker, id: string, steps: number): Promise<void> {
  const ended = worker.ended(id);
  worker.start(id, "steps", { steps });
  await ended;
}

const shown = (cpu: Cpu & { readonly all: number }): string =>
  `${Math.round(cpu.all)} (worker ${Math.round(cpu.worker)}, definition host ${Math.round(cpu.host)}, Redis ${Math.round(cpu.redis)})`;

/** How much the engine adds to a step, and whether that stays so. */
export async function benchSteps(fsync: Fsync): Promise<void> {
  const world = await benchWorld(fsync);
  const worker = await world.worker();
  await drive(worker, "warm", 300);
  const before = cpuOf(world, worker);
  const total = 10_000 + AROUND / 2;
  await drive(worker, "long", total);
  const cpu = cpuPerStep(before, cpuOf(world, worker), total);
  const gaps = await worker.gaps("long");
  const rows = [
    ["from the end of a step's call to the beginning of the next", "p50 ms", "p99 ms", "target p50 ms"],
  ];
  for (const [name, from] of PLACES) {
    const part = gaps.slice(from, from + AROUND);
    rows.push([
      `around step ${name}`,
      percentile(part, 0.5).toFixed(2),
      percentile(part, 0.99).toFixed(2),
      `${TARGET_P50_MS}, the same at every step`,
    ]);
  }
  printTable(rows);
  console.log(`CPU per step, one run alone: ${shown(cpu)} µs`);
  await world.stop();
}

async function many(world: BenchWorld, worker: BenchWorker, runs: number, each: number): Promise<void> {
  const before = cpuOf(world, worker);
  const from = performance.now();
  await Promise.all(Array.from({ length: runs }, (_, n) => drive(worker, `many-${n}`, each)));
  const seconds = (performance.now() - from) / 1_000;
  const steps = runs * each;
  const cpu = cpuPerStep(before, cpuOf(world, worker), steps);
  printTable([
    [
      "c = 64, a step that does nothing",
      "steps/s",
      "target",
      "CPU per step µs",
      "2 processors' worth, steps/s",
    ],
    [
      `${runs} runs of ${each} steps`,
      String(Math.round(steps / seconds)),
      String(TARGET_RATE),
      shown(cpu),
      String(Math.round(2e6 / cpu.all)),
    ],
  ]);
}

/** Steps a second of a worker with its definition host and Redis, all on this machine's processors. */
export async function benchRate(fsync: Fsync): Promise<void> {
  const world = await benchWorld(fsync);
  const worker = await world.worker();
  await drive(worker, "warm", 1_000);
  await many(world, worker, 64, 150);
  await world.stop();
}
