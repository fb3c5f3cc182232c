/**
 * Ten thousand routes in the router of a whole local platform: how long until they serve, what a request costs beside ten routes.
 * Usage: node test/bench/many-routes.ts [--routes 10000] [--seconds 4]
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { HTTPTrigger } from "../../api/kinds/index.ts";
import { createKubeClient } from "../../kube/client.ts";
import { HTTP_TRIGGERS } from "../../kube/kinds.ts";
import { sleep, startBenchPlatform } from "./bench-platform.ts";
import { cpuTime, memory, mib, totalMs } from "./process-usage.ts";
import { median, printConditions, printLoadAfter, printTable } from "./report.ts";
import { timedCaller } from "./timed-call.ts";
import { wrk } from "./wrk.ts";

const { values } = parseArgs({
  options: { routes: { type: "string", default: "10000" }, seconds: { type: "string", default: "4" } },
});
const routes = Number(values.routes);
const seconds = Number(values.seconds);
const FEW = 10;
const ROUNDS = 3;
const PARALLEL = 16;
const TIMEOUT_MS = 120_000;

const trigger = (at: number): HTTPTrigger => ({
  apiVersion: "fission.io/v1",
  kind: "HTTPTrigger",
  metadata: { name: `route-${at}`, namespace: "default" },
  spec: {
    relativeurl: at % 3 === 0 ? `/svc${at}/{id}/x` : `/svc${at}/hello`,
    methods: ["GET"],
    functionref: { type: "name", name: "hello" },
  },
});

printConditions(`${routes} routes beside ${FEW}: wrk -t1 -c50, ${ROUNDS} rounds of ${seconds} s, medians`);
const platform = await startBenchPlatform();
const caller = timedCaller(4);
const kube = await createKubeClient({ kubeconfig: platform.connection.kubeconfig });
try {
  const scriptFile = join(platform.home, "wrk.lua");
  const base = platform.connection.routerUrl;
  const router = await platform.pidOf("router");
  await platform.deploy({
    "hello.ts":
      'export const config = { requestsPerPod: 100 };\nexport default () => new Response("Hello world\\n");\n',
  });
  const serves = async (path: string): Promise<void> => {
    const deadline = performance.now() + TIMEOUT_MS;
    while ((await caller.get(base + path)).status !== 200) {
      if (performance.now() > deadline) throw new Error(`${path} is not served`);
      await sleep(5);
    }
  };
  const create = async (from: number, to: number): Promise<void> => {
    let next = from;
    await Promise.all(
      Array.from({ length: PARALLEL }, async () => {
        while (next < to) await kube.create(HTTP_TRIGGERS, trigger(next++));
      }),
    );
  };
  const rows = [
    ["routes", "kind of route", "rps", "p50 ms", "router us/request", "router RSS MiB", "not 2xx", "target"],
  ];
  const measure = async (count: number): Promise<void> => {
    for (const [kind, path] of [
      ["exact", `/svc${FEW - 3}/hello`],
      ["with variable", `/svc${FEW - 4}/42/x`],
    ] as const) {
      await serves(path);
      await wrk(base + path, { connections: 50, seconds: 2, byStatus: false, scriptFile });
      const runs: { rps: number; p50Ms: number; cpu: number }[] = [];
      for (let round = 0; round < ROUNDS; round += 1) {
        const before = totalMs(cpuTime(router));
        const { rps, p50Ms, requests } = await wrk(base + path, {
          connections: 50,
          seconds,
          byStatus: false,
          scriptFile,
        });
        runs.push({ rps, p50Ms, cpu: ((totalMs(cpuTime(router)) - before) * 1000) / requests });
      }
      const counted = await wrk(base + path, { connections: 50, seconds: 1, byStatus: true, scriptFile });
      const bad = Object.entries(counted.statuses)
        .filter(([status]) => !status.startsWith("2"))
        .reduce((sum, [, n]) => sum + n, 0);
      rows.push([
        String(count),
        kind,
        median(runs.map(({ rps }) => rps)).toFixed(0),
        median(runs.map(({ p50Ms }) => p50Ms)).toFixed(2),
        median(runs.map(({ cpu }) => cpu)).toFixed(1),
        mib(memory(router).rssKib),
        String(bad),
        count === FEW ? "" : "as with 10",
      ]);
    }
  };
  await create(0, FEW);
  await measure(FEW);
  const cpuBefore = totalMs(cpuTime(router));
  const beganMs = performance.now();
  await create(FEW, routes);
  const writtenMs = performance.now() - beganMs;
  await serves(
    `/svc${routes - (routes % 3 === 1 ? 2 : 1)}/${(routes - (routes % 3 === 1 ? 2 : 1)) % 3 === 0 ? "42/x" : "hello"}`,
  );
  const servedMs = performance.now() - beganMs;
  console.log(
    `${routes - FEW} routes written in ${(writtenMs / 1000).toFixed(1)} s; the last one served ${(servedMs - writtenMs).toFixed(0)} ms after the last write; router CPU for all of them ${(totalMs(cpuTime(router)) - cpuBefore).toFixed(0)} ms\n`,
  );
  // The controller writes a status for each.
  await sleep(5_000);
  await measure(routes);
  printTable(rows);
} finally {
  await kube.close();
  caller.close();
  await platform.stop();
}
printLoadAfter();
