/**
 * The benchmarks of the whole platform, one after the other, each on a platform of its own.
 * Usage: npm run bench [-- name ...], e.g. npm run bench -- cold-start bursts. Parts of the platform have benchmarks of their own beside this file.
 * --cluster: on Kubernetes instead of a local platform: this machine's test cluster, or the one of --kubeconfig FILE. The chart is installed for
 * it once and uninstalled at the end.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { FOREIGN_KUBECONFIG } from "../cluster/cluster.ts";
import { installBenchRelease } from "./bench-release.ts";

interface Bench {
  readonly what: string;
  /** Whether it runs on a cluster too, and then what of it is different there. */
  readonly onCluster: false | readonly string[];
}

const BENCHES: Readonly<Record<string, Bench>> = {
  "start-up": { what: "npm start to the first answer", onCluster: false },
  "cold-start": { what: "first calls, 3 s apart", onCluster: ["--kinds", "tiny,small,secret,large"] },
  bursts: { what: "10 and 100 first calls at once", onCluster: [] },
  "warm-path": { what: "c = 1, 20, 50, 500 through the router", onCluster: [] },
  "hot-reload": { what: "isotope dev: save to new answer", onCluster: false },
  streaming: { what: "1 GB up and down", onCluster: false },
  "many-routes": { what: "10,000 routes beside 10", onCluster: false },
  "many-objects": { what: "2,000 functions and 200 environments without a pool", onCluster: [] },
  releases: { what: "how soon a worse version is seen and taken back; what a split costs", onCluster: false },
  workflows: { what: "durable workflows: commits, steps, maps, timers, recovery", onCluster: false },
  events: { what: "asynchronous calls, timers, messages of queues", onCluster: false },
  footprint: { what: "memory of the idle platform and of warm functions", onCluster: [] },
};

const stop = (message: string): never => {
  console.error(message);
  process.exit(2);
};

const { values, positionals: wanted } = parseArgs({
  allowPositionals: true,
  options: { cluster: { type: "boolean", default: false }, kubeconfig: { type: "string" } },
});
const onCluster = values.cluster || values.kubeconfig !== undefined;
for (const name of wanted) {
  const bench = BENCHES[name];
  if (!bench) {
    const allowed = Object.entries(BENCHES).map(([known, { what }]) => `  ${known.padEnd(12)} ${what}`);
    stop(`Cannot run benchmark "${name}"; there are:\n${allowed.join("\n")}`);
  } else if (onCluster && bench.onCluster === false) {
    stop(`Cannot run benchmark "${name}" on a cluster: it measures the local platform`);
  }
}
if (values.kubeconfig !== undefined) process.env[FOREIGN_KUBECONFIG] = values.kubeconfig;

let failed = 0;
async function runBenches(env: NodeJS.ProcessEnv): Promise<void> {
  for (const [name, bench] of Object.entries(BENCHES)) {
    if (wanted.length > 0 && !wanted.includes(name)) continue;
    if (onCluster && bench.onCluster === false) continue;
    const args = onCluster ? bench.onCluster || [] : [];
    const child = spawn(
      process.execPath,
      ["--disable-warning=ExperimentalWarning", join(import.meta.dirname, `${name}.ts`), ...args],
      { stdio: "inherit", env },
    );
    const [code] = await once(child, "exit");
    if (code !== 0) {
      failed += 1;
      console.error(`Benchmark "${name}" failed`);
    }
  }
}

if (onCluster) {
  const release = await installBenchRelease();
  try {
    await runBenches({ ...process.env, ISOTOPE_TEST_CLUSTER: release.file });
  } finally {
    await release.remove();
  }
} else {
  await runBenches(process.env);
}
process.exitCode = failed === 0 ? 0 : 1;
