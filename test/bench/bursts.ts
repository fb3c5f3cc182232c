/**
 * Bursts of first calls to a function that was never called, through the router of a whole platform.
 * Usage: node test/bench/bursts.ts [--rounds 5]
 */
import { parseArgs } from "node:util";
import { sleep, startBenchPlatform } from "./bench-platform.ts";
import { median, percentile, printConditions, printLoadAfter, printTable } from "./report.ts";
import { timedCaller } from "./timed-call.ts";

const { values } = parseArgs({ options: { rounds: { type: "string", default: "5" } } });
const rounds = Number(values.rounds);
const PAUSE_MS = 1_500;

const BURSTS: readonly { calls: number; requestsPerPod: number; target: string }[] = [
  { calls: 10, requestsPerPod: 100, target: "1 pod, slowest <= 60 ms, 0 failures" },
  { calls: 100, requestsPerPod: 100, target: "1 pod, 0 failures" },
  { calls: 10, requestsPerPod: 1, target: "at most 10 pods, 0 failures" },
];

const source = (requestsPerPod: number, salt: string): string =>
  `export const config = { requestsPerPod: ${requestsPerPod}, concurrency: 20 };
const pod = crypto.randomUUID();
export default () => new Response(pod + " ${salt}");
`;

printConditions(`Bursts of concurrent first calls, ${rounds} of each kind, pool of 3`);
const platform = await startBenchPlatform();
const caller = timedCaller(128);
try {
  await platform.deploy({ "warm.ts": source(1000, "warm") });
  // Connections of the caller are open before the burst.
  const warm = `${platform.connection.routerUrl}/warm`;
  await Promise.all(Array.from({ length: 100 }, () => caller.get(warm)));
  const rows = [
    [
      "calls at once",
      "requestsPerPod",
      "median of all ms",
      "slowest, median ms",
      "slowest, worst ms",
      "pods",
      "failures",
      "target",
    ],
  ];
  for (const { calls, requestsPerPod, target } of BURSTS) {
    const name = (round: number): string => `burst-${calls}-${requestsPerPod}-${round}`;
    await platform.deploy(
      Object.fromEntries(
        Array.from({ length: rounds }, (_, round) => [
          `${name(round)}.ts`,
          source(requestsPerPod, name(round)),
        ]),
      ),
    );
    const slowest: number[] = [];
    const all: number[] = [];
    const pods: number[] = [];
    let failures = 0;
    for (let round = 0; round < rounds; round += 1) {
      await Promise.all(Array.from({ length: 100 }, () => caller.get(warm)));
      await platform.poolFull();
      await sleep(PAUSE_MS);
      const url = `${platform.connection.routerUrl}/${name(round)}`;
      const answers = await Promise.all(Array.from({ length: calls }, () => caller.get(url)));
      const times = answers.map(({ ms }) => ms);
      slowest.push(Math.max(...times));
      all.push(...times);
      failures += answers.filter(({ status }) => status !== 200).length;
      pods.push(new Set(answers.filter(({ status }) => status === 200).map(({ text }) => text)).size);
    }
    rows.push([
      String(calls),
      String(requestsPerPod),
      percentile(all, 0.5).toFixed(1),
      median(slowest).toFixed(1),
      Math.max(...slowest).toFixed(1),
      Math.min(...pods) === Math.max(...pods)
        ? String(pods[0])
        : `${Math.min(...pods)}..${Math.max(...pods)}`,
      String(failures),
      target,
    ]);
  }
  printTable(rows);
} finally {
  caller.close();
  await platform.stop();
}
printLoadAfter();
