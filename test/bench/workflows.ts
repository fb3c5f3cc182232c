/**
 * Durable workflows. Redis with an fsync on every commit; worker, definition host and Redis are processes of their own, as on a platform. All but the part
 * `platform` answer the call of a function at once, so that what is measured is the engine.
 * Usage: npm run bench -- workflows, or node test/bench/workflows.ts [--fsync always|everysec] [--only PART[,PART]]
 * PART: commits, bytes, steps, rate, maps, timers, recovery, platform.
 */
import { parseArgs } from "node:util";
import { sharePriority } from "./process-usage.ts";
import { printConditions, printLoadAfter } from "./report.ts";
import type { Fsync } from "./workflows/bench-world.ts";
import { benchBytes } from "./workflows/bytes.ts";
import { benchCommits } from "./workflows/commits.ts";
import { benchMaps } from "./workflows/maps.ts";
import { benchOnPlatform } from "./workflows/on-platform.ts";
import { benchRecovery } from "./workflows/recovery.ts";
import { benchRate, benchSteps } from "./workflows/steps.ts";
import { benchTimers } from "./workflows/timers.ts";

const PARTS: Readonly<Record<string, (fsync: Fsync) => Promise<void>>> = {
  commits: benchCommits,
  bytes: benchBytes,
  steps: benchSteps,
  rate: benchRate,
  maps: benchMaps,
  timers: benchTimers,
  recovery: benchRecovery,
  platform: benchOnPlatform,
};

const { values } = parseArgs({
  options: { fsync: { type: "string", default: "always" }, only: { type: "string" } },
});
const fsync = values.fsync === "everysec" ? "everysec" : "always";
const wanted = values.only?.split(",") ?? Object.keys(PARTS);
const unknown = wanted.filter((name) => !(name in PARTS));
if (unknown.length > 0) {
  console.error(`Cannot run part "${unknown.join(",")}"; there are: ${Object.keys(PARTS).join(", ")}`);
  process.exit(2);
}
sharePriority([]);
printConditions(`Durable workflows, Redis with appendfsync ${fsync}`);
for (const name of wanted) {
  const from = performance.now();
  await PARTS[name]?.(fsync);
  console.log(`(${name}: ${((performance.now() - from) / 1_000).toFixed(0)} s)\n`);
}
printLoadAfter();
process.exit(0);
