/**
 * How soon the judge of canaries sees what is wrong, and how often it sees what is not there, beside one threshold on the errors at the end of
 * each step, which is what the reference system does. Both on the same made-up traffic; seeded, so that every run prints the same.
 * Then the same on a real platform (`releases-on-platform.ts`).
 * Usage: npm run bench -- releases, or node test/bench/releases.ts [--releases N] [--runs N] [--identical N] [--at-once N] [--only PART]
 * PART: simulated, noise, split, fault or identical.
 */
import { parseArgs } from "node:util";
import { planOf } from "../../controller/canary/plan.ts";
import type { Version } from "../releases/made-up-traffic.ts";
import { simulateRelease, simulateThreshold, type SimulatedRelease } from "../releases/simulated-release.ts";
import { BUSY_MACHINE, type Noise } from "../releases/noisy-traffic.ts";
import { faultsAndRollbacks, identicalReleases, splitCost } from "./releases-on-platform.ts";
import { printConditions, printLoadAfter, printTable } from "./report.ts";

const { values } = parseArgs({
  options: {
    releases: { type: "string", default: "400" },
    rounds: { type: "string", default: "10" },
    runs: { type: "string", default: "3" },
    identical: { type: "string", default: "12" },
    "at-once": { type: "string", default: "4" },
    only: { type: "string" },
  },
});
const RELEASES = Number(values.releases);
/** Each request is drawn by itself there. */
const NOISY_RELEASES = Math.ceil(RELEASES / 4);
const PER_SECOND = 100;
const STEPS = [5, 25, 50].map((weight) => ({ weight, duration: "60s" }));
const plan = planOf({ trigger: "t", newfunction: "n", oldfunction: "o", steps: STEPS });
const usual: Version = { errorRate: 0.005, medianMs: 20, sigma: 0.6 };

const CASES: readonly { what: string; version: Version }[] = [
  { what: "identical", version: usual },
  { what: "+1 % errors", version: { ...usual, errorRate: 0.015 } },
  { what: "+2 % errors", version: { ...usual, errorRate: 0.025 } },
  { what: "+3 % errors", version: { ...usual, errorRate: 0.035 } },
  { what: "+15 % errors", version: { ...usual, errorRate: 0.155 } },
  { what: "all fail", version: { ...usual, errorRate: 1 } },
  { what: "1.3 x latency", version: { ...usual, medianMs: 26 } },
  { what: "2 x latency", version: { ...usual, medianMs: 40 } },
];

function told(releases: readonly SimulatedRelease[]): string[] {
  const failed = releases.filter(({ outcome }) => outcome === "failed");
  const middle = (of: (release: SimulatedRelease) => number): string => {
    const sorted = failed.map(of).toSorted((a, b) => a - b);
    return sorted.length === 0 ? "-" : String(sorted[Math.floor(sorted.length / 2)]);
  };
  return [
    `${((100 * failed.length) / releases.length).toFixed(1)} %`,
    middle(({ newRequests }) => newRequests),
    middle(({ seconds }) => seconds),
  ];
}

const run = (simulate: typeof simulateRelease, version: Version, noise?: Noise): string[] =>
  told(
    Array.from({ length: noise ? NOISY_RELEASES : RELEASES }, (_, seed) =>
      simulate(plan, { old: usual, new: version }, { perSecond: PER_SECOND, seed, noise }),
    ),
  );

function simulated(): void {
  printConditions("Releases: how soon a worse version is seen, beside one threshold on errors");
  console.log(
    `${RELEASES} releases a row, ${PER_SECOND} requests/s, steps ${STEPS.map(({ weight }) => `${weight} %`).join(", ")} of 60 s. Old: 0.5 % errors, median 20 ms (log-normal, sigma 0.6)`,
  );
  console.log(
    "Taken back, and the medians of these: requests of the new version, seconds. Target: identical <= 1 %\n",
  );
  printTable([
    ["new version", "judge", "requests", "seconds", "threshold 10 %", "requests", "seconds"],
    ...CASES.map(({ what, version }) => [
      what,
      ...run(simulateRelease, version),
      ...run(simulateThreshold, version),
    ]),
  ]);
  printLoadAfter();
}

function simulatedNoise(): void {
  printConditions(
    "The same on a made-up busy machine: load that comes and goes, pods that pause, fresh pods that are slow at first",
  );
  console.log(`${NOISY_RELEASES} releases a row\n`);
  printTable([
    ["new version", "judge", "requests", "seconds"],
    ...CASES.map(({ what, version }) => [what, ...run(simulateRelease, version, BUSY_MACHINE)]),
  ]);
  printLoadAfter();
}

const PARTS: Readonly<Record<string, () => void | Promise<void>>> = {
  simulated,
  noise: simulatedNoise,
  split: () => splitCost({ rounds: Number(values.rounds), seconds: 2 }),
  fault: () => faultsAndRollbacks(Number(values.runs)),
  identical: () => identicalReleases(Number(values.identical), Number(values["at-once"])),
};
for (const [name, part] of Object.entries(PARTS))
  if (values.only === undefined || values.only === name) await part();
