/**
 * The benchmarks of the whole platform, one after the other, each on a platform of its own.
 * Usage: npm run bench [-- name ...], e.g. npm run bench -- cold-start bursts. Parts of the platform have benchmarks of their own beside this file.
 */
import { spawn } from "node:child_process";
import { join } from "node:path";

const BENCHES: Readonly<Record<string, string>> = {
  "start-up": "npm start to the first answer",
  "cold-start": "first calls, 3 s apart",
  bursts: "10 and 100 first calls at once",
  "warm-path": "c = 1, 20, 50, 500 through the router",
  "hot-reload": "isotope dev: save to new answer",
  streaming: "1 GB up and down",
  "many-routes": "10,000 routes beside 10",
  footprint: "memory of the idle platform and of warm functions",
};

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !(name in BENCHES));
if (unknown.length > 0) {
  const allowed = Object.entries(BENCHES)
    .map(([name, what]) => `  ${name.padEnd(12)} ${what}`)
    .join("\n");
  console.error(`Cannot run benchmark "${unknown[0]}"; there are:\n${allowed}`);
  process.exit(2);
}

let failed = 0;
for (const name of Object.keys(BENCHES)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  const child = spawn(
    process.execPath,
    ["--disable-warning=ExperimentalWarning", join(import.meta.dirname, `${name}.ts`)],
    { stdio: "inherit" },
  );
  const code = await new Promise<number>((resolve) => child.once("exit", (status) => resolve(status ?? 1)));
  if (code !== 0) {
    failed += 1;
    console.error(`Benchmark "${name}" failed`);
  }
}
process.exitCode = failed === 0 ? 0 : 1;
