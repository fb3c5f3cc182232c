/**
 * Releases on a real platform: what a split costs the router, how soon a version that breaks gets nothing any more, how fast the first
 * requests after a rollback are, and how often a release of the very same code is taken back with the default gates.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { deploy } from "../e2e/project.ts";
import { startTestPlatform } from "../e2e/platform.ts";
import { isotope } from "../e2e/releasing.ts";
import type { TestPlatform } from "../e2e/test-platform.ts";
import { type BenchPlatform, sleep, startBenchPlatform } from "./bench-platform.ts";
import { totalMs } from "./process-usage.ts";
import { median, percentile, printConditions, printLoadAfter, printTable } from "./report.ts";
import { timedCaller } from "./timed-call.ts";
import { wrk } from "./wrk.ts";
import { until } from "../until.ts";

const says = (text: string, route: string, extra = "", config = ""): string => `
export const config = { route: "${route}", requestsPerPod: 100${config} };
let broken = false;
export default async (request: Request) => {
  ${extra}
  return new Response("${text}");
};`;

interface Answer {
  readonly atMs: number;
  readonly ms: number;
  readonly status: number;
  readonly text: string;
}

/** Sends requests at a constant rate, whether or not they are answered, until it is stopped. */
function steadyLoad(url: string, perSecond: number): { answers: Answer[]; stop(): Promise<void> } {
  const caller = timedCaller(200);
  const answers: Answer[] = [];
  const open = new Set<Promise<unknown>>();
  const beganMs = performance.now();
  let sent = 0;
  const timer = setInterval(() => {
    for (; sent < ((performance.now() - beganMs) * perSecond) / 1_000; sent += 1) {
      const call = caller
        .get(url)
        .then(({ status, ms, text }) => answers.push({ atMs: performance.now(), ms, status, text }))
        .finally(() => open.delete(call));
      open.add(call);
    }
  }, 5);
  return {
    answers,
    stop: async () => {
      clearInterval(timer);
      await Promise.all(open);
      caller.close();
    },
  };
}

/** Two published versions of one function, and one route for each way to reach them. */
async function splitRoutes(platform: BenchPlatform, folder: string): Promise<void> {
  await isotope(platform, "fn", "publish", "hello", "--wait");
  writeFileSync(join(folder, "functions", "hello.ts"), says("two", "/plain"));
  await isotope(platform, "deploy", folder);
  await isotope(platform, "fn", "publish", "hello", "--wait");
  const ways: readonly [alias: string, ...flags: string[]][] = [
    ["whole"],
    ["split", "--weight", "95", "--secondary-version", "hello-v1"],
    ["sticky", "--weight", "95", "--secondary-version", "hello-v1", "--sticky", "header:x-user"],
  ];
  for (const [alias, ...flags] of ways) {
    await isotope(
      platform,
      "alias",
      "create",
      alias,
      "--function",
      "hello",
      "--version",
      "hello-v2",
      ...flags,
      "--wait",
    );
    await isotope(
      platform,
      "route",
      "create",
      "--name",
      alias,
      "--url",
      `/${alias}`,
      "--function",
      "hello",
      "--function-alias",
      alias,
    );
  }
}

/** Router CPU per request of a plain route and of those with a split, in turn. */
export async function splitCost({ rounds, seconds }: { rounds: number; seconds: number }): Promise<void> {
  printConditions(
    `What a split costs the router: wrk -t1 -c50, ${rounds} rounds of ${seconds} s, the routes in turn`,
  );
  const platform = await startBenchPlatform();
  try {
    const folder = await deploy(platform as TestPlatform & BenchPlatform, {
      "hello.ts": says("one", "/plain"),
    });
    await splitRoutes(platform, folder);
    const scriptFile = join(platform.home, "wrk.lua");
    const routes = ["plain", "whole", "split", "sticky"] as const;
    const url = (route: string): string => `${platform.connection.routerUrl}/${route}`;
    for (const route of routes) {
      await until(`/${route} answers`, async () => (await platform.get(`/${route}`)).status === 200);
      await wrk(url(route), { connections: 50, seconds: 2, byStatus: false, scriptFile });
    }
    const measure = async (route: string) => {
      const before = totalMs(await platform.cpuOf("router"));
      const headers = { "x-user": "somebody-42" };
      const { requests, rps } = await wrk(url(route), {
        connections: 50,
        seconds,
        byStatus: false,
        scriptFile,
        headers,
      });
      return { micros: ((totalMs(await platform.cpuOf("router")) - before) * 1_000) / requests, rps };
    };
    const runs = new Map(routes.map((route) => [route, [] as { micros: number; rps: number }[]]));
    for (let round = 0; round < rounds; round += 1)
      // Another one is first each time.
      for (let i = 0; i < routes.length; i += 1) {
        const route = routes[(i + round) % routes.length] ?? "plain";
        runs.get(route)?.push(await measure(route));
      }
    const plain = runs.get("plain") ?? [];
    const words = {
      plain: "plain",
      whole: "alias, one version",
      split: "alias 95/5, random",
      sticky: "alias 95/5, sticky by header",
    };
    printTable([
      ["route", "router us/request", "by plain, median of rounds", "quartiles", "rps", "target"],
      ...routes.map((route) => {
        const all = runs.get(route) ?? [];
        const ratios = all.map(({ micros }, i) => micros / (plain[i]?.micros ?? micros));
        return [
          words[route],
          median(all.map(({ micros }) => micros)).toFixed(1),
          median(ratios).toFixed(3),
          `${percentile(ratios, 0.25).toFixed(3)}..${percentile(ratios, 0.75).toFixed(3)}`,
          median(all.map(({ rps }) => rps)).toFixed(0),
          route === "plain" ? "" : "<= 1.05",
        ];
      }),
    ]);
  } finally {
    await platform.stop();
  }
  printLoadAfter();
}

const PER_SECOND = 100;
const BREAKS = `
  if (request.url.includes("break")) broken = true;
  if (broken) return new Response("broken", { status: 500 });`;

/** From the first failing answer of a new version at 25 % to the last one that it gives. */
async function faultToNothing(platform: TestPlatform, name: string): Promise<string[]> {
  const folder = await deploy(platform, { [`${name}.ts`]: says("old", `/${name}`) });
  const load = steadyLoad(`${platform.connection.routerUrl}/${name}`, PER_SECOND);
  try {
    writeFileSync(join(folder, "functions", `${name}.ts`), says("new", `/${name}`, BREAKS));
    await isotope(platform, "deploy", folder, "--canary", "25%", "--canary-interval", "10m");
    await until(
      "the new version has traffic",
      () => load.answers.filter(({ text }) => text === "new").length > 100,
    );
    const isBroken = async () => (await (await platform.get(`/${name}?break`)).text()) === "broken";
    await until("the new version is broken", isBroken);
    await until("the rollback", async () =>
      (await isotope(platform, "release", "status", name, "-o", "json")).includes('"failed"'),
    );
    await sleep(2_000);
  } finally {
    await load.stop();
  }
  const failed = load.answers.filter(({ status }) => status === 500).toSorted((a, b) => a.atMs - b.atMs);
  const [first, last] = [failed[0]?.atMs ?? 0, failed.at(-1)?.atMs ?? 0];
  const foreign = load.answers.filter(({ status }) => status !== 200 && status !== 500).length;
  return [((last - first) / 1_000).toFixed(2), String(failed.length), String(foreign), "<= 5 s"];
}

/** Latency of the first requests of a version that had none for longer than idle pods live. */
async function afterRollback(platform: TestPlatform, name: string): Promise<string[]> {
  const config = ', idleTimeout: "2s"';
  const folder = await deploy(platform, { [`${name}.ts`]: says("old", `/${name}`, "", config) });
  const url = `${platform.connection.routerUrl}/${name}`;
  await isotope(platform, "fn", "publish", name, "--wait");
  await isotope(platform, "alias", "create", name, "--function", name, "--version", `${name}-v1`, "--wait");
  await isotope(platform, "route", "update", name, "--function-alias", name);
  const caller = timedCaller(1);
  for (let n = 0; n < 200; n += 1) await caller.get(url);
  writeFileSync(join(folder, "functions", `${name}.ts`), says("new", `/${name}`, "", config));
  await isotope(platform, "deploy", folder);
  await isotope(platform, "fn", "publish", name, "--wait");
  await isotope(platform, "alias", "update", name, "--version", `${name}-v2`, "--wait");
  const load = steadyLoad(url, PER_SECOND);
  await until("the new version answers", () => load.answers.at(-1)?.text === "new");
  await sleep(15_000);
  await isotope(platform, "fn", "rollback", name, "--alias", name);
  await until(
    "the old version answers",
    () => load.answers.filter(({ text }) => text === "old").length >= 200,
  );
  await load.stop();
  caller.close();
  const at = load.answers.findLastIndex(({ text }) => text === "new");
  const before = load.answers.slice(Math.max(0, at - 500), at).map(({ ms }) => ms);
  const old = load.answers.filter(({ text }) => text === "old").map(({ ms }) => ms);
  const failed = load.answers.filter(({ status }) => status !== 200).length;
  const of = (values: readonly number[]): string =>
    `${median(values).toFixed(1)} / ${percentile(values, 0.95).toFixed(1)} / ${Math.max(...values).toFixed(1)}`;
  return [
    (old[0] ?? 0).toFixed(1),
    of(old.slice(0, 20)),
    of(old.slice(20)),
    of(before),
    String(failed),
    "no cold start, 0 failed",
  ];
}

const rowsOf = async (count: number, run: (at: number) => Promise<string[]>): Promise<string[][]> => {
  const rows: string[][] = [];
  for (let at = 0; at < count; at += 1) rows.push([String(at + 1), ...(await run(at))]);
  return rows;
};

export async function faultsAndRollbacks(runs: number): Promise<void> {
  printConditions(
    `A version at 25 % begins to fail, ${PER_SECOND} requests/s; a rollback to a version without traffic for 15 s (idle pods live for 2 s)`,
  );
  const platform = await startTestPlatform();
  try {
    const faults = await rowsOf(runs, (at) => faultToNothing(platform, `fault${at}`));
    printTable([
      ["run", "first failing answer to the last, s", "failed requests", "other failures", "target"],
      ...faults,
    ]);
    const rollbacks = await rowsOf(runs, (at) => afterRollback(platform, `back${at}`));
    console.log("\nms: p50 / p95 / worst");
    printTable([
      [
        "run",
        "first request",
        "first 20 after the rollback",
        "those after them",
        "500 before it",
        "failed",
        "target",
      ],
      ...rollbacks,
    ]);
  } finally {
    await platform.stop();
  }
  printLoadAfter();
}

/** Work of some milliseconds, as functions have, with a tail. */
const WORK = `await new Promise((go) => setTimeout(go, 3 + 20 * Math.random() ** 4));
  let sum = 0;
  for (let i = 0; i < 200_000; i += 1) sum += i % 7;`;

async function sameCode(
  platform: TestPlatform,
  name: string,
): Promise<{ phase: string; seconds: number; said: string }> {
  const folder = await deploy(platform, { [`${name}.ts`]: says("same", `/${name}`, WORK) });
  const load = steadyLoad(`${platform.connection.routerUrl}/${name}`, 40);
  const beganMs = performance.now();
  try {
    // Another text makes another version of it.
    writeFileSync(join(folder, "functions", `${name}.ts`), says("again", `/${name}`, WORK));
    const args = ["deploy", folder, "--canary", "20%,50%", "--canary-interval", "10s", "--watch"];
    const { code, out } = await platform.cli(args);
    return {
      phase: code === 0 ? "promoted" : "taken back",
      seconds: (performance.now() - beganMs) / 1_000,
      said: out,
    };
  } finally {
    await load.stop();
  }
}

/** Releases of the same code with the default gates, some at once. */
export async function identicalReleases(count: number, atOnce: number): Promise<void> {
  printConditions(
    `${count} releases of the same code with the default gates, ${atOnce} at once: 20 %, 50 % for 10 s each, 40 requests/s each`,
  );
  const platform = await startTestPlatform();
  const ended: Awaited<ReturnType<typeof sameCode>>[] = [];
  try {
    let next = 0;
    const worker = async (): Promise<void> => {
      for (let at = next++; at < count; at = next++) {
        const release = await sameCode(platform, `same${at}`);
        ended.push(release);
        if (release.phase !== "promoted") console.log(release.said.trim().split("\n").slice(-3).join("\n"));
      }
    };
    await Promise.all(Array.from({ length: atOnce }, worker));
    const seconds = ended.map((release) => release.seconds);
    const takenBack = ended.filter(({ phase }) => phase !== "promoted").length;
    printTable([
      ["releases", "promoted", "taken back", "seconds p50", "p95", "worst", "target"],
      [
        String(count),
        String(count - takenBack),
        String(takenBack),
        median(seconds).toFixed(0),
        percentile(seconds, 0.95).toFixed(0),
        Math.max(...seconds).toFixed(0),
        "<= 1 % taken back",
      ],
    ]);
  } finally {
    await platform.stop();
  }
  printLoadAfter();
}
