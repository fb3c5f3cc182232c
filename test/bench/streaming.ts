/**
 * One gigabyte through router and function, up and down, and what it does to the memory of both.
 * Usage: node test/bench/streaming.ts [--mib 1024]
 */
import { request } from "node:http";
import { parseArgs } from "node:util";
import { sleep, startBenchPlatform } from "./bench-platform.ts";
import { cpuTime, memory, mib, totalMs } from "./process-usage.ts";
import { printConditions, printLoadAfter, printTable } from "./report.ts";
import { timedCaller } from "./timed-call.ts";

const { values } = parseArgs({ options: { mib: { type: "string", default: "1024" } } });
const sizeMib = Number(values.mib);
const MIB = 1024 * 1024;
const SAMPLE_MS = 100;
const CHUNK = new Uint8Array(64 * 1024).fill(97);

const FUNCTION = `export const config = { route: "/stream", methods: ["GET", "POST"], streaming: true, requestsPerPod: 10 };
const chunk = new Uint8Array(64 * 1024).fill(97);
export default async (request: Request): Promise<Response> => {
  if (request.method === "POST") {
    let bytes = 0;
    for await (const part of request.body ?? []) bytes += part.length;
    return new Response(String(bytes));
  }
  let left = Number(new URL(request.url).searchParams.get("mib")) * 16;
  return new Response(new ReadableStream({ pull: (out) => { if (left-- > 0) out.enqueue(chunk); else out.close(); } }));
};
`;

/** Bytes that came back, and the body when it is short. */
function transfer(url: string, uploadMib: number): Promise<{ status: number; bytes: number; text: string }> {
  return new Promise((resolve, reject) => {
    const call = request(url, { method: uploadMib > 0 ? "POST" : "GET" }, (reply) => {
      let bytes = 0;
      let text = "";
      reply.on("data", (part: Buffer) => {
        bytes += part.length;
        if (bytes < 100) text += part.toString("latin1");
      });
      reply.on("end", () => resolve({ status: reply.statusCode ?? 0, bytes, text }));
      reply.on("error", reject);
    });
    call.on("error", reject);
    let left = (uploadMib * MIB) / CHUNK.length;
    const send = (): void => {
      while (left > 0) {
        left -= 1;
        if (!call.write(CHUNK)) return void call.once("drain", send);
      }
      call.end();
    };
    send();
  });
}

printConditions(
  `${sizeMib} MiB streamed through router and function; caller, router and pod share the processors`,
);
const platform = await startBenchPlatform();
const caller = timedCaller(1);
try {
  await platform.poolFull();
  const before = new Map(
    (await platform.processes())
      .filter(({ part }) => part === "function pod")
      .map(({ pid }) => [pid, totalMs(cpuTime(pid))]),
  );
  await platform.deploy({ "stream.ts": FUNCTION });
  const url = `${platform.connection.routerUrl}/stream`;
  await transfer(`${url}?mib=16`, 0);
  await transfer(url, 16);
  // The pod that worked is the one that used the processor.
  const [pod = 0] =
    [...before]
      .map(([pid, ms]) => [pid, totalMs(cpuTime(pid)) - ms] as const)
      .toSorted((a, b) => b[1] - a[1])[0] ?? [];
  const router = await platform.pidOf("router");
  const rows = [
    [
      "direction",
      "MiB/s",
      "router RSS before",
      "peak",
      "after",
      "pod RSS before",
      "peak",
      "after",
      "router CPU ms/MiB",
      "complete",
      "target",
    ],
  ];
  for (const direction of ["down", "up"] as const) {
    await sleep(1_000);
    const rss = (): [number, number] => [memory(router).rssKib, memory(pod).rssKib];
    const [routerBefore, podBefore] = rss();
    let routerPeak = 0;
    let podPeak = 0;
    const sampler = setInterval(() => {
      const [routerNow, podNow] = rss();
      routerPeak = Math.max(routerPeak, routerNow);
      podPeak = Math.max(podPeak, podNow);
    }, SAMPLE_MS);
    const cpuBefore = totalMs(cpuTime(router));
    const beganMs = performance.now();
    const result =
      direction === "down" ? await transfer(`${url}?mib=${sizeMib}`, 0) : await transfer(url, sizeMib);
    const seconds = (performance.now() - beganMs) / 1000;
    const cpu = totalMs(cpuTime(router)) - cpuBefore;
    clearInterval(sampler);
    const [routerAfter, podAfter] = rss();
    const moved = direction === "down" ? result.bytes : Number(result.text);
    rows.push([
      direction,
      (sizeMib / seconds).toFixed(0),
      mib(routerBefore),
      mib(routerPeak),
      mib(routerAfter),
      mib(podBefore),
      mib(podPeak),
      mib(podAfter),
      (cpu / sizeMib).toFixed(2),
      result.status === 200 && moved === sizeMib * MIB ? "yes" : `no: ${result.status}, ${moved} bytes`,
      "flat memory",
    ]);
  }
  printTable(rows);
} finally {
  caller.close();
  await platform.stop();
}
printLoadAfter();
