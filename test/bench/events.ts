/**
 * Events: asynchronous calls through a whole local platform, timers, queues. Redis with an fsync on every commit.
 * Usage: npm run bench -- events, or node test/bench/events.ts [--only PART[,PART]] [--short]
 * PART: async, timers, streams, kafka. --short: a tenth of it, to see that it works.
 */
import { parseArgs } from "node:util";
import { benchAsyncCalls } from "./events/async-calls.ts";
import { benchKafka, benchRedisStreams } from "./events/messages.ts";
import { benchTimers } from "./events/timers.ts";
import { sharePriority } from "./process-usage.ts";
import { printConditions, printLoadAfter } from "./report.ts";

/** @param share of the full load, up to 1 */
const PARTS: Readonly<Record<string, (share: number) => Promise<void>>> = {
  async: benchAsyncCalls,
  timers: benchTimers,
  streams: benchRedisStreams,
  kafka: benchKafka,
};

const { values } = parseArgs({
  options: { only: { type: "string" }, short: { type: "boolean", default: false } },
});
const wanted = values.only?.split(",") ?? Object.keys(PARTS);
const unknown = wanted.filter((name) => !(name in PARTS));
if (unknown.length > 0) {
  console.error(`Cannot run part "${unknown.join(",")}"; there are: ${Object.keys(PARTS).join(", ")}`);
  process.exit(2);
}
sharePriority([]);
printConditions(`Events, Redis with appendfsync always${values.short ? "; a tenth of the load" : ""}`);
for (const name of wanted) {
  const from = performance.now();
  await PARTS[name]?.(values.short ? 0.1 : 1);
  console.log(`(${name}: ${((performance.now() - from) / 1_000).toFixed(0)} s)\n`);
}
printLoadAfter();
process.exit(0);
