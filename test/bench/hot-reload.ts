/**
 * Hot reload with `isotope dev` on a whole local platform: from the save of a file to the first answer of the new code.
 * Usage: node test/bench/hot-reload.ts [--count 10]
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { writeProject } from "../e2e/project.ts";
import { sleep, startBenchPlatform } from "./bench-platform.ts";
import { printConditions, printLoadAfter, printTable, spread } from "./report.ts";
import { timedCaller } from "./timed-call.ts";

const { values } = parseArgs({ options: { count: { type: "string", default: "10" } } });
const count = Number(values.count);
const PAUSE_MS = 1_500;
const POLL_MS = 2;
const TIMEOUT_MS = 30_000;

const source = (version: number): string => `export default () => new Response("version ${version}");\n`;

printConditions(
  `Hot reload: ${count} saves, ${PAUSE_MS} ms apart, while isotope dev watches; asked every ${POLL_MS} ms`,
);
const platform = await startBenchPlatform();
const caller = timedCaller(2);
const ending = new AbortController();
try {
  const folder = writeProject(platform, { "hello.ts": source(0) });
  let said = "";
  const dev = platform.cli(["dev", folder], { signal: ending.signal, onOut: (text) => (said += text) });
  const url = `${platform.connection.routerUrl}/hello`;
  const answers = async (version: number): Promise<void> => {
    const deadline = performance.now() + TIMEOUT_MS;
    while ((await caller.get(url)).text !== `version ${version}`) {
      if (performance.now() > deadline) throw new Error(`Version ${version} did not answer:\n${said}`);
      await sleep(POLL_MS);
    }
  };
  await answers(0);
  const times: number[] = [];
  let failed = 0;
  for (let version = 1; version <= count; version += 1) {
    await platform.poolFull();
    await sleep(PAUSE_MS);
    const savedAt = performance.now();
    writeFileSync(join(folder, "functions", "hello.ts"), source(version));
    await answers(version);
    times.push(performance.now() - savedAt);
    if ((await caller.get(url)).status !== 200) failed += 1;
  }
  printTable([
    ["", "p50 ms", "p95 ms", "worst ms", "not 200", "target"],
    ["save to new answer", ...spread(times), String(failed), "< 300"],
  ]);
  ending.abort();
  await dev;
} finally {
  ending.abort();
  caller.close();
  await platform.stop();
}
printLoadAfter();
