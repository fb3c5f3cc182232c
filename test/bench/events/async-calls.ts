import { InvocationList } from "../../../api/wire/invocations.ts";
import { type BenchPlatform, type Part, sleep, startBenchPlatform } from "../bench-platform.ts";
import { callOps, localOps } from "../../e2e/call-ops.ts";
import { cpuTime, memory, mib, totalMs } from "../process-usage.ts";
import { percentile, printTable } from "../report.ts";

const NOTHING = `export const config = { route: "/nothing", methods: ["POST"], requestsPerPod: 100, concurrency: 10 };
export default () => new Response("done");
`;
const PARTS: readonly Part[] = ["control plane", "redis", "router", "function pod"];
const ALONE = 1_000;
const AT_ONCE = 50;
const MANY = 10_000;
/** All of them are accepted before the first is delivered. */
const DELAY_S = 30;
const PAGE = 1_000;

/** How soon an asynchronous call is durable, how many are accepted a second, and how many are delivered to a function. */
export async function benchAsyncCalls(share: number): Promise<void> {
  const platform = await startBenchPlatform();
  try {
    await platform.deploy({ "nothing.ts": NOTHING });
    await untilAccepted(platform);
    await platform.poolFull();
    const alone = await accepted(platform, ALONE * share, 1, 0);
    const many = Math.round(MANY * share);
    const before = await cpuByPart(platform);
    const delayS = Math.max(5, DELAY_S * share);
    const began = performance.now();
    const together = await accepted(platform, many, AT_ONCE, delayS);
    const acceptS = (performance.now() - began) / 1_000;
    const between = await cpuByPart(platform);
    const ends = await delivered(platform, many);
    const after = await cpuByPart(platform);
    const perCall = (from: Map<Part, number>, to: Map<Part, number>): string => {
      const used = PARTS.map(
        (part) => [part, (((to.get(part) ?? 0) - (from.get(part) ?? 0)) * 1_000) / many] as const,
      );
      const sum = used.reduce((total, [, each]) => total + each, 0);
      return `${Math.round(sum)} (${used.map(([part, each]) => `${part} ${Math.round(each)}`).join(", ")})`;
    };
    const delivery = (Math.max(...ends.at) - Math.min(...ends.began)) / 1_000;
    const { rssKib } = memory(await platform.pidOf("control plane"));
    printTable([
      ["asynchronous calls through a local platform: router, trigger service, Redis, Deno pod", "measured"],
      ["202 after it is durable, c = 1: p50, p99 ms", `${ms(alone, 0.5)}, ${ms(alone, 0.99)}`],
      [`c = ${AT_ONCE}: p50, p99 ms`, `${ms(together, 0.5)}, ${ms(together, 0.99)}`],
      [`c = ${AT_ONCE}: accepted a second`, String(Math.round(many / acceptS))],
      ["CPU per accepted call µs", perCall(before, between)],
      [`${many} waiting, due at once: deliveries a second`, String(Math.round(many / delivery))],
      ["CPU per delivery µs", perCall(between, after)],
      ["memory of the control plane (all services in one process) MiB RSS", mib(rssKib)],
    ]);
  } finally {
    await platform.stop();
  }
}

const ms = (values: readonly number[], share: number): string => percentile(values, share).toFixed(1);

async function untilAccepted(platform: BenchPlatform): Promise<void> {
  const deadline = performance.now() + 60_000;
  while ((await call(platform, 0)) !== 202) {
    if (performance.now() > deadline) throw new Error("No asynchronous call was accepted");
    await sleep(100);
  }
}

async function call(platform: BenchPlatform, delayS: number): Promise<number> {
  const reply = await platform.get("/nothing", {
    method: "POST",
    body: '{"order":7}',
    headers: {
      "content-type": "application/json",
      "x-fission-invoke-mode": "async",
      ...(delayS > 0 ? { "x-isotope-delay": `${delayS}s` } : {}),
    },
  });
  await reply.arrayBuffer();
  return reply.status;
}

/** Milliseconds of each call. */
async function accepted(
  platform: BenchPlatform,
  count: number,
  atOnce: number,
  delayS: number,
): Promise<number[]> {
  const times: number[] = [];
  let left = count;
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      while (left > 0) {
        left -= 1;
        const from = performance.now();
        const status = await call(platform, delayS);
        if (status !== 202) throw new Error(`A call was answered ${status}`);
        times.push(performance.now() - from);
      }
    }),
  );
  return times;
}

/** When the deliveries of the newest `count` began and ended, once all are over. */
async function delivered(
  platform: BenchPlatform,
  count: number,
): Promise<{ readonly began: readonly number[]; readonly at: readonly number[] }> {
  const ops = localOps(platform.connection);
  const list = async (query: string) =>
    InvocationList.parse(
      JSON.parse((await callOps(ops, `/v1/invocations?function=nothing&namespace=default&${query}`)).text),
    );
  for (;;) {
    const [queued, running] = [await list("status=queued&limit=1"), await list("status=running&limit=1")];
    if (queued.items.length + running.items.length === 0) break;
    await sleep(1_000);
  }
  const began: number[] = [];
  const at: number[] = [];
  for (let more = ""; at.length < count; ) {
    const page = await list(`status=succeeded&limit=${Math.min(PAGE, count - at.length)}${more}`);
    for (const { startedAt, endedAt } of page.items) {
      began.push(Date.parse(startedAt ?? ""));
      at.push(Date.parse(endedAt ?? ""));
    }
    if (page.continue === undefined) break;
    more = `&continue=${page.continue}`;
  }
  if (at.length < count) throw new Error(`Of ${count} calls ${at.length} were delivered`);
  return { began, at };
}

/** By part: ms of processor time of all its processes. */
async function cpuByPart(platform: BenchPlatform): Promise<Map<Part, number>> {
  const used = new Map<Part, number>();
  for (const { part, pid } of await platform.processes())
    if (PARTS.includes(part)) used.set(part, (used.get(part) ?? 0) + totalMs(cpuTime(pid)));
  return used;
}
