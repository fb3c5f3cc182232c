/**
 * Start of a local platform with one function deployed: from the start of the supervisor to "Isotope is ready" and to the function's first answer. First start: an empty
 * home. Later starts: the same home, whose function was deployed before.
 * Usage: node test/bench/start-up.ts [--rounds 5]
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { sleep, startBenchPlatform } from "./bench-platform.ts";
import { cpuTime, totalMs } from "./process-usage.ts";
import { percentile, printConditions, printLoadAfter, printTable } from "./report.ts";
import { timedCaller } from "./timed-call.ts";

const { values } = parseArgs({ options: { rounds: { type: "string", default: "5" } } });
const rounds = Number(values.rounds);
const TIMEOUT_MS = 60_000;

interface Start {
  readonly readyMs: number;
  readonly answerMs: number;
  /** CPU time of all processes until the answer. */
  readonly cpuMs: number;
}

async function start(home: string, deploy: boolean): Promise<Start> {
  const caller = timedCaller(1);
  const beganMs = performance.now();
  const platform = await startBenchPlatform(home);
  const readyMs = performance.now() - beganMs;
  try {
    if (deploy) await platform.deploy({ "hello.ts": 'export default () => new Response("Hello world");\n' });
    const deadline = performance.now() + TIMEOUT_MS;
    while ((await caller.get(`${platform.connection.routerUrl}/hello`)).status !== 200) {
      if (performance.now() > deadline) throw new Error("The function did not answer");
      await sleep(5);
    }
    const answerMs = performance.now() - beganMs;
    const cpuMs = (await platform.processes()).reduce((sum, { pid }) => sum + totalMs(cpuTime(pid)), 0);
    await sleep(1_000);
    return { readyMs, answerMs, cpuMs };
  } finally {
    caller.close();
    await platform.stop({ keepHome: true });
  }
}

printConditions(`Start of a local platform: one first start with a deployment, ${rounds} later ones`);
const home = mkdtempSync(join(tmpdir(), "isotope-bench-"));
try {
  const first = await start(home, true);
  const later: Start[] = [];
  for (let round = 0; round < rounds; round += 1) later.push(await start(home, false));
  const cells = (pick: (one: Start) => number): string[] => {
    const all = later.map(pick);
    return [Math.min(...all).toFixed(0), percentile(all, 0.5).toFixed(0), Math.max(...all).toFixed(0)];
  };
  printTable([
    ["milliseconds", "first start", "later: best", "later: median", "later: worst", "target"],
    ["ready", first.readyMs.toFixed(0), ...cells(({ readyMs }) => readyMs), ""],
    [
      "first answer of the function",
      first.answerMs.toFixed(0),
      ...cells(({ answerMs }) => answerMs),
      "first <= 60000 with installs, later <= 3000",
    ],
    ["CPU time of all running processes", first.cpuMs.toFixed(0), ...cells(({ cpuMs }) => cpuMs), ""],
  ]);
} finally {
  rmSync(home, { recursive: true, force: true });
}
printLoadAfter();
