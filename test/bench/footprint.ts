/**
 * Memory of an idle local platform by process, and of warm function pods.
 * Usage: node test/bench/footprint.ts [--idle-seconds 20] [--functions 5]
 */
import { parseArgs } from "node:util";
import { type BenchPlatform, type Part, sleep, startBenchPlatform } from "./bench-platform.ts";
import { type Memory, memory, mib } from "./process-usage.ts";
import { median, printConditions, printLoadAfter, printTable } from "./report.ts";
import { timedCaller } from "./timed-call.ts";

const { values } = parseArgs({
  options: { "idle-seconds": { type: "string", default: "20" }, functions: { type: "string", default: "5" } },
});
const idleMs = Number(values["idle-seconds"]) * 1000;
const functions = Number(values.functions);
const CALLS = 20;

const CONTROL_PLANE: readonly Part[] = [
  "supervisor",
  "localkube",
  "control plane",
  "router",
  "process shim",
  "redis",
];
const row = (name: string, { rssKib, pssKib, privateKib }: Memory, target: string): string[] => [
  name,
  mib(rssKib),
  mib(pssKib),
  mib(privateKib),
  target,
];
const sumOf = (all: readonly Memory[]): Memory => ({
  rssKib: all.reduce((sum, one) => sum + one.rssKib, 0),
  pssKib: all.reduce((sum, one) => sum + one.pssKib, 0),
  privateKib: all.reduce((sum, one) => sum + one.privateKib, 0),
});
const medianOf = (all: readonly Memory[]): Memory => ({
  rssKib: median(all.map((one) => one.rssKib)),
  pssKib: median(all.map((one) => one.pssKib)),
  privateKib: median(all.map((one) => one.privateKib)),
});

function platformRows(platform: BenchPlatform): string[][] {
  const processes = platform.processes().map((process) => ({ ...process, memory: memory(process.pid) }));
  const rows = CONTROL_PLANE.map((part) =>
    row(
      part,
      sumOf(processes.filter((process) => process.part === part).map((process) => process.memory)),
      "",
    ),
  );
  const own = processes.filter(({ part }) => CONTROL_PLANE.includes(part));
  const rest = processes.filter(({ part }) => !CONTROL_PLANE.includes(part));
  return [
    ...rows,
    row(`idle platform (${own.length} processes)`, sumOf(own.map((process) => process.memory)), "<= 450"),
    row(`with ${rest.length} pods`, sumOf(processes.map((process) => process.memory)), ""),
  ];
}

printConditions(
  `Memory in MiB, ${idleMs / 1000} s after the start, and of ${functions} functions after ${CALLS} calls each`,
);
const platform = await startBenchPlatform();
const caller = timedCaller(1);
try {
  await platform.poolFull();
  await sleep(idleMs);
  const rows = [["", "RSS", "PSS", "private", "target (RSS)"], ...platformRows(platform)];
  const generic = new Set(
    platform
      .processes()
      .filter(({ part }) => part === "function pod")
      .map(({ pid }) => pid),
  );
  rows.push(row("generic pod, median", medianOf([...generic].map(memory)), ""));
  await platform.deploy(
    Object.fromEntries(
      Array.from({ length: functions }, (_, at) => [
        `warm-${at}.ts`,
        `export default () => new Response("${at}");\n`,
      ]),
    ),
  );
  const warm: Memory[] = [];
  for (let at = 0; at < functions; at += 1) {
    await platform.poolFull();
    const before = new Set(
      platform
        .processes()
        .filter(({ part }) => part === "function pod")
        .map(({ pid }) => pid),
    );
    for (let call = 0; call < CALLS; call += 1)
      await caller.get(`${platform.connection.routerUrl}/warm-${at}`);
    await platform.poolFull();
    await sleep(500);
    // The pods that were there before and served: of three, the one whose CPU time grew would do; all have loaded the same runtime.
    const served = await servingPids(platform, `warm-${at}`);
    for (const pid of served) if (before.has(pid)) warm.push(memory(pid));
  }
  rows.push(row(`warm function pod, median of ${warm.length}`, medianOf(warm), "<= 50"));
  printTable(rows);
} finally {
  caller.close();
  await platform.stop();
}
printLoadAfter();

/** Processes of the pods that serve a function. */
async function servingPids(of: BenchPlatform, name: string): Promise<number[]> {
  const { out } = await of.cli(["fn", "pods", name, "-o", "json"]);
  return of
    .processes()
    .filter(({ part, command }) => {
      const uid = /pods\/([0-9a-f-]{36})/.exec(command)?.[1];
      return part === "function pod" && uid !== undefined && out.includes(uid);
    })
    .map(({ pid }) => pid);
}
