/**
 * The warm path of a whole platform: wrk → router → Deno function, requestsPerPod 100, all on this machine; and, in turn with it,
 * wrk → blind TCP pipe → the same pod. What the kernel asks for a byte differs by a factor of three between machines, so that only the
 * ratio of the two compares.
 * Usage: node test/bench/warm-path.ts [--seconds 4] [--rounds 3]
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { HEADER_POD, HEADER_REVISION } from "../../api/headers.ts";
import { LABEL_REVISION } from "../../api/names.ts";
import { createKubeClient } from "../../kube/client.ts";
import { ENDPOINT_SLICES } from "../../kube/core.ts";
import { type BenchPlatform, sleep, startBenchPlatform } from "./bench-platform.ts";
import { type CpuTime, cpuTime } from "./process-usage.ts";
import { median, printConditions, printLoadAfter, printTable } from "./report.ts";
import { timedCaller } from "./timed-call.ts";
import { type LoadResult, wrk } from "./wrk.ts";

const { values } = parseArgs({
  options: { seconds: { type: "string", default: "4" }, rounds: { type: "string", default: "3" } },
});
const seconds = Number(values.seconds);
const rounds = Number(values.rounds);

/** Router 25 us where the pipe cost 12.9 us. */
const TARGET_RATIO = 25 / 12.9;
const LOADS: readonly [connections: number, target: string][] = [
  [1, ""],
  [20, ""],
  [50, `router <= ${TARGET_RATIO.toFixed(2)} x pipe, >= 15000 rps`],
  [500, "2xx/s >= those at c = 50; else only 429/503"],
];
const REQUESTS_PER_POD = 100;

const FUNCTION = `export const config = { route: "/hello", requestsPerPod: ${REQUESTS_PER_POD}, concurrency: 10 };
export default () => new Response("Hello world\\n");
`;

interface Pipe {
  readonly url: string;
  readonly pid: number;
  /** What a pod wants to be told. */
  readonly headers: Readonly<Record<string, string>>;
  stop(): void;
}

/** A pipe on this machine to the one pod that serves. */
async function startPipe(platform: BenchPlatform): Promise<Pipe> {
  const kube = await createKubeClient({ kubeconfig: platform.connection.kubeconfig });
  try {
    const slices = await kube.list(ENDPOINT_SLICES, {
      namespace: platform.namespace,
      labelSelector: LABEL_REVISION,
    });
    const [slice] = slices.items.filter(({ endpoints }) => (endpoints?.length ?? 0) > 0);
    const endpoint = slice?.endpoints?.[0];
    const port = slice?.ports?.[0]?.port;
    const host = endpoint?.addresses?.[0];
    if (!slice || !endpoint || !port || !host) throw new Error("No EndpointSlice names a pod");
    const script = join(import.meta.dirname, "router-floor.ts");
    const child = spawn(process.execPath, [script, String(port), host], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [line] = await once(createInterface({ input: child.stdout }), "line");
    return {
      url: `http://127.0.0.1:${String(line)}/hello`,
      pid: child.pid ?? 0,
      headers: {
        [HEADER_POD]: endpoint.targetRef?.uid ?? "",
        [HEADER_REVISION]: slice.metadata.labels?.[LABEL_REVISION] ?? "",
      },
      stop: () => void child.kill(),
    };
  } finally {
    await kube.close();
  }
}

interface Run extends LoadResult {
  /** Of the measured process, microseconds per request. */
  readonly user: number;
  readonly system: number;
  readonly pods: number;
}

printConditions(
  `Warm path: wrk -t1, ${rounds} rounds of ${seconds} s each, medians; wrk, router and pods share the processors`,
);
const platform = await startBenchPlatform();
const caller = timedCaller(1);
let pipe: Pipe | undefined;
try {
  const scriptFile = join(platform.home, "wrk.lua");
  await platform.poolFull();
  await platform.deploy({ "hello.ts": FUNCTION });
  const url = `${platform.connection.routerUrl}/hello`;
  for (let n = 0; n < 50; n += 1) await caller.get(url);
  await sleep(500);
  // Pods of another machine's cluster are out of its reach.
  if ((await platform.processes()).length > 0) pipe = await startPipe(platform);
  const podTime = async (): Promise<number> =>
    (await platform.processes())
      .filter(({ part }) => part === "function pod")
      .reduce((sum, { pid }) => {
        const { userMs, systemMs } = cpuTime(pid);
        return sum + userMs + systemMs;
      }, 0);
  const measure = async (
    connections: number,
    what: "router" | "pipe",
    lengthSeconds = seconds,
  ): Promise<Run> => {
    const time = async (): Promise<CpuTime> =>
      what === "pipe" && pipe ? cpuTime(pipe.pid) : platform.cpuOf("router");
    const before = await time();
    const podsBefore = await podTime();
    const load = { connections, seconds: lengthSeconds, byStatus: false, scriptFile };
    const result = await (what === "pipe" && pipe
      ? wrk(pipe.url, { ...load, headers: pipe.headers })
      : wrk(url, load));
    const after = await time();
    const each = (ms: number): number => (ms * 1000) / result.requests;
    return {
      ...result,
      user: each(after.userMs - before.userMs),
      system: each(after.systemMs - before.systemMs),
      pods: each((await podTime()) - podsBefore),
    };
  };
  const cpuCell = (runs: readonly Run[]): string => {
    const of = (pick: (run: Run) => number): string => median(runs.map(pick)).toFixed(1);
    return `${of((run) => run.user + run.system)} (${of((run) => run.user)} + ${of((run) => run.system)})`;
  };
  const total = (runs: readonly Run[]): number => median(runs.map((run) => run.user + run.system));
  const rows = [
    [
      "c",
      "rps",
      "2xx/s",
      "p50 ms",
      "p99 ms",
      "router us/request (user + kernel)",
      "blind pipe",
      "router / pipe",
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
    // Without a router nobody keeps what is too much away from the pod.
    const piped = pipe !== undefined && connections <= REQUESTS_PER_POD;
    if (piped) await measure(connections, "pipe", 1);
    const runs: Run[] = [];
    const pipes: Run[] = [];
    for (let round = 0; round < rounds; round += 1) {
      await platform.poolFull();
      runs.push(await measure(connections, "router"));
      if (piped) pipes.push(await measure(connections, "pipe"));
    }
    const counted = await wrk(url, { connections, seconds: 2, byStatus: true, scriptFile });
    const good = Object.entries(counted.statuses).reduce(
      (sum, [status, count]) => sum + (status.startsWith("2") ? count : 0),
      0,
    );
    const bad = Object.entries(counted.statuses).filter(([status]) => !status.startsWith("2"));
    const of = (pick: (run: Run) => number): number => median(runs.map(pick));
    const serving = await platform.functionPods();
    rows.push([
      String(connections),
      of((run) => run.rps).toFixed(0),
      (good / counted.seconds).toFixed(0),
      of((run) => run.p50Ms).toFixed(2),
      of((run) => run.p99Ms).toFixed(1),
      cpuCell(runs),
      piped ? cpuCell(pipes) : "",
      piped ? (total(runs) / total(pipes)).toFixed(2) : "",
      of((run) => run.pods).toFixed(1),
      bad.length === 0 ? "0" : bad.map(([status, count]) => `${count} x ${status}`).join(", "),
      String(counted.socketErrors + runs.reduce((sum, run) => sum + run.socketErrors, 0)),
      String(serving - 3),
      target,
    ]);
  }
  printTable(rows);
  console.log(
    "\n2xx/s and statuses come from a run of their own, since counting them costs wrk time; pods: those above the pool of 3",
  );
} finally {
  pipe?.stop();
  caller.close();
  await platform.stop();
}
printLoadAfter();
