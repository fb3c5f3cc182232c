/**
 * The warm path of a whole local platform: wrk → router → Deno function, requestsPerPod 100, all on this machine.
 * Usage: node test/bench/warm-path.ts [--seconds 4] [--rounds 3]
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { startBenchPlatform } from "./bench-platform.ts";
import { cpuTime } from "./process-usage.ts";
import { median, printConditions, printLoadAfter, printTable } from "./report.ts";
import { timedCaller } from "./timed-call.ts";
import { type LoadResult, wrk } from "./wrk.ts";

const { values } = parseArgs({
  options: { seconds: { type: "string", default: "4" }, rounds: { type: "string", default: "3" } },
});
const seconds = Number(values.seconds);
const rounds = Number(values.rounds);

const LOADS: readonly [connections: number, target: string][] = [
  [1, ""],
  [20, ""],
  [50, "router <= 25 us, >= 15000 rps"],
  [500, "2xx/s >= those at c = 50; else only 429/503"],
];

const FUNCTION = `export const config = { route: "/hello", requestsPerPod: 100, concurrency: 10 };
export default () => new Response("Hello world\\n");
`;

printConditions(
  `Warm path: wrk -t1, ${rounds} rounds of ${seconds} s each, medians; wrk, router and pods share the processors`,
);
const platform = await startBenchPlatform();
const caller = timedCaller(1);
try {
  const scriptFile = join(platform.home, "wrk.lua");
  await platform.poolFull();
  await platform.deploy({ "hello.ts": FUNCTION });
  const url = `${platform.connection.routerUrl}/hello`;
  for (let n = 0; n < 50; n += 1) await caller.get(url);
  const router = platform.pidOf("router");
  const podTime = (): number =>
    platform
      .processes()
      .filter(({ part }) => part === "function pod")
      .reduce((sum, { pid }) => {
        const { userMs, systemMs } = cpuTime(pid);
        return sum + userMs + systemMs;
      }, 0);
  const rows = [
    [
      "c",
      "rps",
      "2xx/s",
      "p50 ms",
      "p99 ms",
      "router us/request (user + kernel)",
      "pods us/request",
      "not 2xx",
      "socket errors",
      "pods",
      "target",
    ],
  ];
  for (const [connections, target] of LOADS) {
    // Pods that this load needs start now, not while it is measured.
    await wrk(url, { connections, seconds: 3, byStatus: false, scriptFile });
    const runs: (LoadResult & { user: number; system: number; pods: number })[] = [];
    for (let round = 0; round < rounds; round += 1) {
      await platform.poolFull();
      const before = cpuTime(router);
      const podsBefore = podTime();
      const result = await wrk(url, { connections, seconds, byStatus: false, scriptFile });
      const after = cpuTime(router);
      const each = (ms: number): number => (ms * 1000) / result.requests;
      runs.push({
        ...result,
        user: each(after.userMs - before.userMs),
        system: each(after.systemMs - before.systemMs),
        pods: each(podTime() - podsBefore),
      });
    }
    const counted = await wrk(url, { connections, seconds: 2, byStatus: true, scriptFile });
    const good = Object.entries(counted.statuses).reduce(
      (sum, [status, count]) => sum + (status.startsWith("2") ? count : 0),
      0,
    );
    const bad = Object.entries(counted.statuses).filter(([status]) => !status.startsWith("2"));
    const of = (pick: (run: (typeof runs)[number]) => number): number => median(runs.map(pick));
    const serving = new Set<string>();
    for (const { part, pid } of platform.processes()) if (part === "function pod") serving.add(String(pid));
    rows.push([
      String(connections),
      of((run) => run.rps).toFixed(0),
      (good / counted.seconds).toFixed(0),
      of((run) => run.p50Ms).toFixed(2),
      of((run) => run.p99Ms).toFixed(1),
      `${of((run) => run.user + run.system).toFixed(1)} (${of((run) => run.user).toFixed(1)} + ${of((run) => run.system).toFixed(1)})`,
      of((run) => run.pods).toFixed(1),
      bad.length === 0 ? "0" : bad.map(([status, count]) => `${count} x ${status}`).join(", "),
      String(counted.socketErrors + runs.reduce((sum, run) => sum + run.socketErrors, 0)),
      String(serving.size - 3),
      target,
    ]);
  }
  printTable(rows);
  console.log(
    "\n2xx/s and statuses come from a run of their own, since counting them costs wrk time; pods: those above the pool of 3",
  );
} finally {
  caller.close();
  await platform.stop();
}
printLoadAfter();
