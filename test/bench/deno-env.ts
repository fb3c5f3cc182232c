import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { get, request } from "node:http";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { denoFlags } from "../../env-images/deno/flags.ts";
import {
  DENO,
  type DenoPod,
  frame,
  freePort,
  specialize,
  specializeRequest,
  startPod,
  stopPods,
} from "../env/deno-pod.ts";

/**
 * The Deno pod alone, without executor and router: start, specialisation, requests, memory.
 * Load comes from wrk where it is installed, on the same machine.
 */
const STARTS = 10;
const SPECIALISATIONS = 20;
const LOAD_SECONDS = 3;
const DENO_DIR = join(import.meta.dirname, "../../node_modules/.cache/deno-env");

const percentile = (values: readonly number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] ??
  Number.NaN;
const row = (name: string, value: string, target: string): void =>
  console.log(`${name.padEnd(44)} ${value.padStart(26)}   ${target}`);
const times = (values: readonly number[]): string =>
  `p50 ${percentile(values, 0.5).toFixed(1)} p95 ${percentile(values, 0.95).toFixed(1)} ms`;

const healthy = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    get({ host: "127.0.0.1", port, path: "/_isotope/healthz" }, (reply) => {
      reply.resume();
      resolve(reply.statusCode === 200);
    }).on("error", () => resolve(false));
  });

async function startOnce(): Promise<number> {
  const root = mkdtempSync(join(tmpdir(), "isotope-bench-"));
  const port = await freePort();
  const main = join(import.meta.dirname, "../../env-images/deno/main.ts");
  const startedAt = performance.now();
  const child = spawn(
    DENO,
    [
      ...denoFlags({ root, denyNet: [], memoryMb: 256 }),
      main,
      "--host",
      "127.0.0.1",
      "--port",
      String(port),
      "--root",
      root,
    ],
    {
      env: { DENO_DIR },
      stdio: "ignore",
    },
  );
  while (!(await healthy(port))) await new Promise((go) => setTimeout(go, 1));
  const took = performance.now() - startedAt;
  child.kill("SIGKILL");
  await new Promise((ended) => child.once("close", ended));
  rmSync(root, { recursive: true, force: true });
  return took;
}

/** One message over a raw connection, timed from the first byte sent to the reply. */
function post(pod: DenoPod, path: string, headers: Record<string, string>, body?: Buffer): Promise<number> {
  return new Promise((resolve, reject) => {
    const startedAt = performance.now();
    const sent = request(
      { host: pod.host, port: pod.port, path, method: body ? "POST" : "GET", headers },
      (reply) => {
        reply.resume();
        reply.once("end", () =>
          reply.statusCode === 200
            ? resolve(performance.now() - startedAt)
            : reject(new Error(String(reply.statusCode))),
        );
      },
    );
    sent.once("error", reject);
    sent.end(body);
  });
}

/** Code of about so many bytes, of many functions, as a bundle has. */
function bundle(bytes: number): string {
  const parts = ["export default () => new Response('ok');"];
  for (let size = 0, index = 0; size < bytes; index += 1) {
    const part = `function f${index}(a, b) { const c = { x: a + ${index}, y: "${randomBytes(24).toString("hex")}" }; return b ? [c.x, ...b.map((d) => d * c.x)] : c.y; }`;
    size += part.length;
    parts.push(part);
  }
  return parts.join("\n");
}

const residentMb = (pod: DenoPod): { all: number; own: number } => {
  const status = readFileSync(`/proc/${pod.process.pid}/status`, "utf8");
  const read = (name: string): number =>
    Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1] ?? 0) / 1024;
  return { all: read("VmRSS"), own: read("RssAnon") };
};

const cpuMs = (pid: number): number => {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(" ");
  return (Number(fields[13]) + Number(fields[14])) * 10;
};

async function load(
  url: string,
  pid: number,
  headers: readonly string[],
): Promise<{ rps: number; cpuUs: number }> {
  const before = cpuMs(pid);
  const child = spawn("wrk", [
    "-t1",
    "-c20",
    `-d${LOAD_SECONDS}s`,
    ...headers.flatMap((header) => ["-H", header]),
    url,
  ]);
  let text = "";
  child.stdout.on("data", (chunk) => (text += String(chunk)));
  await new Promise((ended) => child.once("close", ended));
  const count = Number(/(\d+) requests in/.exec(text)?.[1] ?? 0);
  return { rps: count / LOAD_SECONDS, cpuUs: ((cpuMs(pid) - before) * 1000) / count };
}

async function bareServer(): Promise<{ rps: number; cpuUs: number }> {
  const port = await freePort();
  const source = `Deno.serve({ port: ${port}, hostname: "127.0.0.1", onListen() {} }, () => new Response("ok"))`;
  const child = spawn(DENO, ["eval", source], { stdio: "ignore" });
  await new Promise((go) => setTimeout(go, 500));
  try {
    return await load(`http://127.0.0.1:${port}/`, child.pid ?? 0, []);
  } finally {
    child.kill("SIGKILL");
  }
}

async function coldStarts(name: string, bytes: number, target: string): Promise<void> {
  const loads: number[] = [];
  const firsts: number[] = [];
  for (let index = 0; index < SPECIALISATIONS; index += 1) {
    const pod = await startPod();
    const archive = Buffer.from(bundle(bytes));
    const body = frame(specializeRequest(pod, archive), archive);
    loads.push(
      await post(
        pod,
        "/v2/specialize",
        { authorization: `Bearer ${pod.token}`, "content-type": "application/vnd.isotope.specialize" },
        body,
      ),
    );
    firsts.push(await post(pod, "/", { "x-isotope-pod": pod.uid }));
    await pod.stop();
  }
  row(`specialise, ${name}`, times(loads), target);
  row(`first call after it, ${name}`, times(firsts), "");
}

console.log(`${cpus().length} cores, load average ${loadavg()[0]?.toFixed(1)}, ${cpus()[0]?.model ?? ""}\n`);
await startOnce();
const starts: number[] = [];
for (let index = 0; index < STARTS; index += 1) starts.push(await startOnce());
row("start to ready", times(starts), "");
await coldStarts("1 KB", 1_000, "p50 <= 5, p95 <= 8 ms");
await coldStarts("50 KB", 50_000, "p50 <= 5, p95 <= 8 ms");
await coldStarts("0.7 MB", 700_000, "<= 110 ms");
const pod = await startPod();
row(
  "memory, generic",
  `${residentMb(pod).all.toFixed(1)} MB, own ${residentMb(pod).own.toFixed(1)}`,
  "<= 50 MB",
);
await specialize(pod, "export default { fetch: () => new Response('ok') }");
await post(pod, "/", { "x-isotope-pod": pod.uid });
row(
  "memory, specialised and called once",
  `${residentMb(pod).all.toFixed(1)} MB, own ${residentMb(pod).own.toFixed(1)}`,
  "<= 50 MB",
);
if (existsSync("/usr/bin/wrk")) {
  const bare = await bareServer();
  const own = await load(pod.address, pod.process.pid ?? 0, [
    `x-isotope-pod: ${pod.uid}`,
    "x-isotope-revision: rev-1",
    "x-fission-request-id: r",
  ]);
  row("bare Deno.serve, c = 20", `${bare.rps.toFixed(0)} rps ${bare.cpuUs.toFixed(1)} µs CPU`, "");
  row("pod, c = 20", `${own.rps.toFixed(0)} rps ${own.cpuUs.toFixed(1)} µs CPU`, "bare + 10..15 µs");
  row("memory after load", `${residentMb(pod).all.toFixed(1)} MB, own ${residentMb(pod).own.toFixed(1)}`, "");
}
await stopPods();
