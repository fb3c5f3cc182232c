/**
 * Memory of an idle platform by process, and of warm function pods.
 * Usage: node test/bench/footprint.ts [--idle-seconds 20] [--functions 5]
 */
import { parseArgs } from "node:util";
import { type BenchPlatform, type BenchProcess, sleep, startBenchPlatform } from "./bench-platform.ts";
import { type Memory, memory, mib } from "./process-usage.ts";
import { median, printConditions, printLoadAfter, printTable } from "./report.ts";
import { timedCaller } from "./timed-call.ts";

const { values } = parseArgs({
  options: { "idle-seconds": { type: "string", default: "20" }, functions: { type: "string", default: "5" } },
});
const idleMs = Number(values["idle-seconds"]) * 1000;
const functions = Number(values.functions);
const CALLS = 20;

/** One line of the table; not a number where nothing was measured. */
interface Line {
  readonly name: string;
  readonly memory: Memory;
  readonly workingSetKib: number;
  readonly target?: string;
}
const NOTHING: Memory = { rssKib: Number.NaN, pssKib: Number.NaN, privateKib: Number.NaN };

const sum = (all: readonly number[]): number =>
  all.length === 0 ? Number.NaN : all.reduce((total, one) => total + one, 0);
const combined = (all: readonly Memory[], combine: (values: readonly number[]) => number): Memory =>
  all.length === 0
    ? NOTHING
    : {
        rssKib: combine(all.map(({ rssKib }) => rssKib)),
        pssKib: combine(all.map(({ pssKib }) => pssKib)),
        privateKib: combine(all.map(({ privateKib }) => privateKib)),
      };
const cell = (kib: number): string => (Number.isNaN(kib) ? "-" : mib(kib));
const row = ({
  name,
  memory: { rssKib, pssKib, privateKib },
  workingSetKib,
  target = "",
}: Line): string[] => [name, cell(rssKib), cell(pssKib), cell(privateKib), cell(workingSetKib), target];

async function platformRows(platform: BenchPlatform): Promise<string[][]> {
  const processes = (await platform.processes()).map((process) => ({
    ...process,
    memory: memory(process.pid),
  }));
  const charged = await platform.workingSets();
  const line = (name: string, parts: readonly string[], target?: string): Line => ({
    name,
    memory: combined(
      processes.filter(({ part }) => parts.includes(part)).map((process) => process.memory),
      sum,
    ),
    workingSetKib: sum(charged.filter(({ part }) => parts.includes(part)).map(({ kib }) => kib)),
    ...(target === undefined ? {} : { target }),
  });
  const { controlPlane } = platform;
  const own = processes.filter(({ part }) => controlPlane.includes(part)).length;
  return [
    ...controlPlane
      .filter((part) => [...processes, ...charged].some((one) => one.part === part))
      .map((part) => line(part, [part])),
    line(`idle platform (${own} processes)`, controlPlane, "<= 450"),
    line("with the pods of functions and builds", [...controlPlane, "function pod", "builder pod"]),
  ].map(row);
}

printConditions(
  `Memory in MiB, ${idleMs / 1000} s after the start, and of ${functions} functions after ${CALLS} calls each`,
);
const platform = await startBenchPlatform();
const caller = timedCaller(1);
try {
  await platform.poolFull();
  await sleep(idleMs);
  const rows = [
    ["", "RSS", "PSS", "private", "working set", "target (RSS)"],
    ...(await platformRows(platform)),
  ];
  rows.push(
    row(await podsLine("generic pod, median", new Set((await functionPods()).map(({ pod }) => pod)))),
  );
  await platform.deploy(
    Object.fromEntries(
      Array.from({ length: functions }, (_, at) => [
        `warm-${at}.ts`,
        `export default () => new Response("${at}");\n`,
      ]),
    ),
  );
  const warm = new Set<string>();
  for (let at = 0; at < functions; at += 1) {
    await platform.poolFull();
    for (let call = 0; call < CALLS; call += 1)
      await caller.get(`${platform.connection.routerUrl}/warm-${at}`);
    const { out } = await platform.cli(["fn", "pods", `warm-${at}`, "-o", "json"]);
    for (const [uid] of out.matchAll(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}/g)) warm.add(uid);
  }
  await platform.poolFull();
  // The kubelets' numbers are some ten seconds old.
  await sleep(platform.onCluster ? 15_000 : 500);
  rows.push(row(await podsLine("warm function pod, median", warm, "<= 50")));
  printTable(rows);
  if (platform.onCluster)
    console.log(
      "\nworking set: what a pod is charged with, as the kubelet tells; file pages that processes share are charged to whoever read them first",
    );
} finally {
  caller.close();
  await platform.stop();
}
printLoadAfter();

async function functionPods(): Promise<BenchProcess[]> {
  return (await platform.processes()).filter(({ part }) => part === "function pod");
}

/** The median of the pods with these uids. */
async function podsLine(name: string, uids: ReadonlySet<string | undefined>, target?: string): Promise<Line> {
  const processes = (await functionPods()).filter(({ pod }) => uids.has(pod));
  const charged = (await platform.workingSets()).filter(
    ({ part, pod }) => part === "function pod" && uids.has(pod),
  );
  return {
    name: `${name} of ${Math.max(processes.length, charged.length)}`,
    memory: combined(
      processes.map(({ pid }) => memory(pid)),
      median,
    ),
    workingSetKib: charged.length === 0 ? Number.NaN : median(charged.map(({ kib }) => kib)),
    ...(target === undefined ? {} : { target }),
  };
}
