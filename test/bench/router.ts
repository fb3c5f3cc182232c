/**
 * The router's warm path: the real router process between wrk and a raw upstream, all on this machine.
 * Usage: node test/bench/router.ts [--seconds 5] [--rounds 3] [--routes 10000] [--profile] [--against FOLDER]
 * --against: instead of the table, the router of another checkout in turn with this one's, which is the only fair comparison on a busy machine.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { startFakeKube } from "../router/fake-kube.ts";
import { functionObject, MASTER_KEY } from "../router/world.ts";
import { sharePriority } from "./process-usage.ts";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "5" },
    rounds: { type: "string", default: "3" },
    routes: { type: "string", default: "10000" },
    profile: { type: "boolean", default: false },
    against: { type: "string" },
  },
});
sharePriority([]);
const seconds = Number(values.seconds);
const rounds = Number(values.rounds);
const routeCount = Number(values.routes);

const TARGETS: Readonly<Record<number, string>> = { 50: "<= 25 µs, >= 15000 rps", 500: "2xx/s >= c = 50" };
const TICKS_PER_SECOND = 100;

const folder = mkdtempSync(join(tmpdir(), "isotope-bench-"));
const children: ChildProcess[] = [];
process.on("exit", () => {
  for (const child of children) child.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

async function firstLine(child: ChildProcess, wanted: RegExp): Promise<string> {
  const stream = child.stdout;
  const errors = child.stderr;
  const lines: string[] = [];
  return new Promise((resolve, reject) => {
    const look = (line: string) => {
      lines.push(line);
      if (wanted.test(line)) resolve(line);
    };
    if (stream) createInterface({ input: stream }).on("line", look);
    if (errors) createInterface({ input: errors }).on("line", look);
    child.once("exit", (code) => reject(new Error(`A child ended with ${code}: ${lines.join("\n")}`)));
  });
}

const start = (args: string[]) => {
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
  children.push(child);
  return child;
};

/** CPU seconds that a process has used, in user mode and in the kernel. */
function cpuSeconds(pid: number): { user: number; system: number } {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return { user: Number(fields[11]) / TICKS_PER_SECOND, system: Number(fields[12]) / TICKS_PER_SECOND };
}
const rssMiB = (pid: number) =>
  Math.round(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1024);

interface Measured {
  rps: number;
  p50Ms: number;
  p99Ms: number;
  userMicros: number;
  systemMicros: number;
  bad: number;
}

function toMs(text: string): number {
  const value = Number.parseFloat(text);
  return text.endsWith("us") ? value / 1000 : text.endsWith("ms") ? value : value * 1000;
}

function wrk(url: string, connections: number, pid: number): Measured {
  const before = cpuSeconds(pid);
  const run = spawnSync("wrk", ["-t1", `-c${connections}`, `-d${seconds}s`, "--latency", url], {
    encoding: "utf8",
  });
  const after = cpuSeconds(pid);
  const total = Number(/(\d+) requests in/.exec(run.stdout)?.[1] ?? 0);
  const bad = Number(/Non-2xx or 3xx responses: (\d+)/.exec(run.stdout)?.[1] ?? 0);
  return {
    rps: Number(/Requests\/sec:\s+([\d.]+)/.exec(run.stdout)?.[1] ?? 0),
    p50Ms: toMs(/50%\s+(\S+)/.exec(run.stdout)?.[1] ?? "0"),
    p99Ms: toMs(/99%\s+(\S+)/.exec(run.stdout)?.[1] ?? "0"),
    userMicros: ((after.user - before.user) * 1e6) / Math.max(1, total),
    systemMicros: ((after.system - before.system) * 1e6) / Math.max(1, total),
    bad,
  };
}

const median = (numbers: number[]) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0;

const kube = await startFakeKube();
const upstream = start([join(import.meta.dirname, "router-upstream.ts")]);
const upstreamPort = Number(await firstLine(upstream, /^\d+$/));
const fn = functionObject({
  namespace: "default",
  name: "hello",
  uid: "uid-hello",
  revision: "r1",
  requestsPerPod: 1_000,
  concurrency: 10,
  onceOnly: false,
  timeoutMs: 60_000,
  maxBodyBytes: 1e6,
});
kube.put("functions", fn);
kube.put("endpointslices", {
  metadata: {
    name: "hello-r1",
    namespace: "default",
    labels: {
      "isotope.dev/function": "hello",
      "isotope.dev/function-uid": "uid-hello",
      "isotope.dev/revision": "r1",
    },
    annotations: { "isotope.dev/requests-per-pod": "1000" },
  },
  addressType: "IPv4",
  ports: [{ name: "http", port: upstreamPort }],
  endpoints: [
    {
      addresses: ["127.0.0.1"],
      conditions: { ready: true },
      targetRef: { kind: "Pod", name: "p", uid: "pod-1" },
    },
  ],
});
for (let i = 0; i < routeCount; i += 1)
  kube.put("httptriggers", {
    metadata: { name: `t${i}`, namespace: "default", creationTimestamp: "2026-01-01T00:00:00Z" },
    spec: {
      functionref: { type: "name", name: "hello" },
      relativeurl: i % 3 === 0 ? `/svc${i}/{id}/x` : `/svc${i}/hello`,
      methods: ["GET", "POST"],
    },
  });

const kubeconfig = join(folder, "kubeconfig");
writeFileSync(
  kubeconfig,
  JSON.stringify({
    "current-context": "b",
    clusters: [{ name: "b", cluster: { server: kube.url } }],
    contexts: [{ name: "b", context: { cluster: "b", user: "b" } }],
    users: [{ name: "b", user: { token: "x" } }],
  }),
);
const keyFile = join(folder, "key");
writeFileSync(keyFile, MASTER_KEY);
/** Starts the router of a checkout. */
async function startRouter(checkout: string): Promise<{ router: ChildProcess; pid: number; base: string }> {
  const router = start([
    ...(values.profile ? ["--cpu-prof", `--cpu-prof-dir=/tmp/isotope-router-profile`] : []),
    join(checkout, "engine/router/main.ts"),
    "--port=0",
    "--internal-port=0",
    `--kubeconfig=${kubeconfig}`,
    `--internal-key-file=${keyFile}`,
  ]);
  const ready = JSON.parse(await firstLine(router, /Router is ready/)) as { port: number };
  return { router, pid: router.pid ?? 0, base: `http://127.0.0.1:${ready.port}` };
}
const startedAt = performance.now();
const { router, pid, base } = await startRouter(join(import.meta.dirname, "../.."));
const readyMs = performance.now() - startedAt;

console.log(
  `router warm path: ${cpus().length} CPUs (${cpus()[0]?.model}), Node ${process.version}, load average ${loadavg()[0]?.toFixed(1)} before the run`,
);
console.log(
  `wrk -t1, ${seconds} s x ${rounds} rounds, medians; router, upstream (raw sockets) and wrk share the machine; ${routeCount} routes; ready after ${readyMs.toFixed(0)} ms, ${rssMiB(pid)} MiB RSS`,
);
spawnSync("wrk", ["-t1", "-c20", "-d2s", `${base}/svc1/hello`]);
if (values.against !== undefined) {
  await compare(values.against);
  process.exit(0);
}
console.log(
  "| c | route | rps | p50 ms | p99 ms | router CPU µs/request (user + kernel) | not 2xx | target |",
);
console.log("|---|---|---|---|---|---|---|---|");
const floor = start([join(import.meta.dirname, "router-floor.ts"), String(upstreamPort)]);
const floorPort = Number(await firstLine(floor, /^\d+$/));

/** Prints the processor time of both routers, round by round in turn, and the ratio of each round. */
async function compare(checkout: string): Promise<void> {
  const other = await startRouter(checkout);
  spawnSync("wrk", ["-t1", "-c20", "-d2s", `${other.base}/svc1/hello`]);
  console.log(
    `| c | this, µs/request | ${checkout} | ratio: user + kernel (quartiles) | user alone | rps: this, other |`,
  );
  console.log("|---|---|---|---|---|---|");
  const micros = (run: Measured): number => run.userMicros + run.systemMicros;
  for (const connections of [50, 500]) {
    const pairs = Array.from({ length: rounds }, (_, round) => {
      const mine = () => wrk(`${base}/svc1/hello`, connections, pid);
      const theirs = () => wrk(`${other.base}/svc1/hello`, connections, other.pid);
      // Who is first changes, so that a trend of the machine favours neither.
      if (round % 2 === 0) return { mine: mine(), theirs: theirs() };
      const second = theirs();
      return { mine: mine(), theirs: second };
    });
    const of = (pick: (run: Measured) => number, digits = 1): string =>
      `${median(pairs.map(({ mine }) => pick(mine))).toFixed(digits)} | ${median(pairs.map(({ theirs }) => pick(theirs))).toFixed(digits)}`;
    const ratio = (pick: (run: Measured) => number): string => {
      const sorted = pairs.map(({ mine, theirs }) => pick(mine) / pick(theirs)).toSorted((x, y) => x - y);
      const at = (share: number): string => (sorted[Math.floor(sorted.length * share)] ?? 0).toFixed(3);
      return `${at(0.5)} (${at(0.25)}..${at(0.75)})`;
    };
    console.log(
      `| ${connections} | ${of(micros)} | ${ratio(micros)} | ${ratio((run) => run.userMicros)} | ${of(({ rps }) => rps, 0).replace(" |", ",")} |`,
    );
  }
  console.log(`load average ${loadavg()[0]?.toFixed(1)} after the run`);
}

/** @returns processor time per request, µs */
function row(connections: number, name: string, url: string, measuredPid: number, target: string): number {
  const runs = Array.from({ length: rounds }, () => wrk(url, connections, measuredPid));
  const of = (pick: (run: Measured) => number, digits: number) => median(runs.map(pick)).toFixed(digits);
  const cpu = `${of((r) => r.userMicros + r.systemMicros, 1)} (${of((r) => r.userMicros, 1)} + ${of((r) => r.systemMicros, 1)})`;
  console.log(
    `| ${connections} | ${name} | ${of((r) => r.rps, 0)} | ${of((r) => r.p50Ms, 2)} | ${of((r) => r.p99Ms, 2)} | ${cpu} | ${of((r) => r.bad, 0)} | ${target} |`,
  );
  return median(runs.map((r) => r.userMicros + r.systemMicros));
}

for (const [connections, path] of [
  [1, "/svc1/hello"],
  [20, "/svc1/hello"],
  [50, "/svc1/hello"],
  [50, "/svc3/42/x"],
  [500, "/svc1/hello"],
] as const)
  row(connections, path.includes("42") ? "template" : "exact", base + path, pid, TARGETS[connections] ?? "");
for (const connections of [50, 500]) {
  const pipe = row(
    connections,
    "(blind TCP pipe instead)",
    `http://127.0.0.1:${floorPort}/`,
    floor.pid ?? 0,
    "the floor",
  );
  const again = row(connections, "exact, once more", `${base}/svc1/hello`, pid, "<= 1.94 x the pipe");
  console.log(`|   |   |   |   |   | ${(again / pipe).toFixed(2)} x the pipe |   |   |`);
}
console.log(`after the run: ${rssMiB(pid)} MiB RSS, load average ${loadavg()[0]?.toFixed(1)}`);
if (values.profile) {
  router.kill("SIGTERM");
  await new Promise((resolve) => router.once("exit", resolve));
}
process.exit(0);
