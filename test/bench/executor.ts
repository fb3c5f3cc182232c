import { createHash } from "node:crypto";
import { cpus } from "node:os";
import type { Endpoint } from "../../api/wire/executor.ts";
import { servingOf } from "../executor/far-side.ts";
import { callPod, type RealWorld, type RunningExecutor, realWorld } from "../executor/real-world.ts";
import { until } from "../until.ts";

/**
 * Cold starts through the executor's API on localkube with Deno pods, without a router: acquire (signed HTTP call → claim → specialise)
 * and the first call to the pod. Archives are read ahead, as in service. Executor, API server, kubelet and this script share one process.
 */
const SPACED = Number(process.argv[2] ?? 40);
const PAUSE_MS = 400;

const percentile = (values: readonly number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] ??
  Number.NaN;
const row = (name: string, values: readonly number[], target: string) =>
  console.log(
    `${name.padEnd(46)} ${percentile(values, 0.5).toFixed(1).padStart(8)} ${percentile(values, 0.95).toFixed(1).padStart(8)} ${Math.max(
      ...values,
    )
      .toFixed(1)
      .padStart(8)}   ${target}`,
  );

/** Serves code under a name of its own and waits until the executor has seen it. */
async function deploy(
  world: RealWorld,
  running: RunningExecutor,
  name: string,
  sizeBytes: number,
  requestsPerPod: number,
) {
  const code = `export default () => new Response("${name}")\n//${"x".repeat(sizeBytes)}\n`;
  const bytes = new TextEncoder().encode(code);
  const digest = createHash("sha256").update(bytes).digest("hex");
  world.archives.set(digest, bytes);
  const revision = digest.slice(0, 16);
  const serving = servingOf(
    revision,
    { requestsPerPod },
    { package: { name: "code", digest, sizeBytes: bytes.length } },
  );
  const { uid } = await world.serve(name, serving);
  await until("the revision is known", () =>
    running.process.snapshot()?.revisions.some((known) => known.revision === revision),
  );
  return { name, uid, revision };
}

const poolFull = (running: RunningExecutor, size: number) => () =>
  running.process.snapshot()?.pools.some((pool) => pool.ready >= size);

async function spaced(world: RealWorld, running: RunningExecutor, sizeBytes: number) {
  const acquires: number[] = [];
  const totals: number[] = [];
  for (let index = 0; index < SPACED; index += 1) {
    const fn = await deploy(world, running, `cold-${sizeBytes}-${index}`, sizeBytes, 1);
    await until("the pool is full", poolFull(running, 3));
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    const beganMs = performance.now();
    const [endpoint] = await running.acquire(fn.name, fn.uid, fn.revision);
    acquires.push(performance.now() - beganMs);
    if (endpoint) await callPod(endpoint);
    totals.push(performance.now() - beganMs);
  }
  return { acquires, totals };
}

async function bursts(world: RealWorld, running: RunningExecutor, calls: number, requestsPerPod: number) {
  const slowest: number[] = [];
  const podCounts: number[] = [];
  let failed = 0;
  for (let index = 0; index < 5; index += 1) {
    const fn = await deploy(world, running, `burst-${calls}-${requestsPerPod}-${index}`, 200, requestsPerPod);
    await until("the pool is full", poolFull(running, 3));
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    const beganMs = performance.now();
    const one = async (): Promise<Endpoint | undefined> => {
      const [endpoint] = await running.acquire(fn.name, fn.uid, fn.revision);
      const reply = endpoint && (await callPod(endpoint));
      if (reply?.status !== 200) failed += 1;
      return endpoint;
    };
    const endpoints = await Promise.all(Array.from({ length: calls }, one));
    slowest.push(performance.now() - beganMs);
    podCounts.push(new Set(endpoints.map((endpoint) => endpoint?.podUid)).size);
  }
  return { slowest, podCounts, failed };
}

const world = await realWorld();
try {
  await world.addEnvironment(3);
  const running = await world.startExecutor();
  await until("the pool is full", poolFull(running, 3));
  console.log(
    `${SPACED} spaced cold starts, ${PAUSE_MS} ms apart, ${cpus().length} CPUs, ${cpus()[0]?.model ?? ""}, Node ${process.version}\n`,
  );
  console.log(
    `${"milliseconds".padEnd(46)} ${"p50".padStart(8)} ${"p95".padStart(8)} ${"worst".padStart(8)}   target`,
  );
  for (const sizeBytes of [200, 50_000]) {
    const { acquires, totals } = await spaced(world, running, sizeBytes);
    row(`acquire, ${sizeBytes} B bundle`, acquires, "");
    row(`acquire and first call, ${sizeBytes} B bundle`, totals, "p50 <= 12, p95 <= 20 (with router)");
  }
  for (const [calls, requestsPerPod] of [
    [10, 100],
    [100, 100],
    [10, 1],
  ] as const) {
    const { slowest, podCounts, failed } = await bursts(world, running, calls, requestsPerPod);
    const pods = `${Math.min(...podCounts)}..${Math.max(...podCounts)} pods, ${failed} failed`;
    row(
      `burst of ${calls}, requestsPerPod ${requestsPerPod}, slowest call`,
      slowest,
      `${pods}${requestsPerPod === 100 && calls === 10 ? "; target 1 pod, <= 60 ms" : ""}`,
    );
  }
} finally {
  await world.stop();
}
