// `npm test`: set-up, what the tests need from the system, then every test. Runs on Node 20.
//   npm test -- [path or name …]     only these files
//   npm test -- --cluster            the tests on a real Kubernetes instead; --kubeconfig FILE: on that one
//   npm test -- --cluster --traefik  only those with Traefik in front, which takes minutes to build
// With CI=true nothing may be skipped for want of a component: what is missing is installed, or the run fails.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { BIN, installSystemPackage, nodeBinary, ROOT, setUp, toolEnvironment } from "./setup.mjs";

const REQUIRED = process.env.CI === "true";
const CACHE = join(ROOT, ".cache");
const RESULTS = join(CACHE, "test-results.json");
const MIN_KUBECTL_MINOR = 28;

const works = (command, ...args) => spawnSync(command, args, { stdio: "ignore" }).status === 0;

function kubectlIsGood(command) {
  const { status, stdout } = spawnSync(command, ["version", "--client", "-o", "json"], { encoding: "utf8" });
  if (status !== 0) return false;
  try {
    return Number.parseInt(JSON.parse(stdout).clientVersion.minor, 10) >= MIN_KUBECTL_MINOR;
  } catch {
    return false;
  }
}

/** A kubectl on PATH, else one built from the Go modules under test/kubectl/tool where Go is there. */
function findKubectl() {
  if (kubectlIsGood("kubectl")) return { path: undefined };
  const built = join(CACHE, "bin", "kubectl");
  if (!existsSync(built) && works("go", "version")) {
    process.stdout.write("Building kubectl, once\n");
    mkdirSync(join(CACHE, "bin"), { recursive: true });
    spawnSync(
      "go",
      [
        "build",
        "-trimpath",
        "-ldflags",
        "-s -w -X k8s.io/component-base/version.gitVersion=v1.34.2 -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=34",
        "-o",
        built,
        ".",
      ],
      {
        cwd: join(ROOT, "test", "kubectl", "tool"),
        stdio: ["ignore", "inherit", "inherit"],
        env: { ...process.env, CGO_ENABLED: "0" },
      },
    );
  }
  return kubectlIsGood(built) ? { path: join(CACHE, "bin") } : undefined;
}

function components(redis) {
  const missing = [];
  const env = toolEnvironment();
  if (!redis) missing.push("redis-server: tests of what needs Redis");
  const kubectl = findKubectl();
  if (!kubectl) missing.push(`kubectl >= 1.${MIN_KUBECTL_MINOR}: test/kubectl`);
  else if (kubectl.path) env.PATH = `${kubectl.path}:${env.PATH}`;
  if (process.platform === "linux" && !works("setpriv", "--version") && !installSystemPackage("util-linux"))
    missing.push("setpriv: tests that kill the supervisor");
  return { missing, env };
}

function report() {
  if (!existsSync(RESULTS)) return { passed: 0, failed: 1, skipped: 0 };
  const results = JSON.parse(readFileSync(RESULTS, "utf8"));
  const skipped = new Map();
  // A file that does not load has no tests of its own that could fail.
  let broken = 0;
  for (const file of results.testResults) {
    if (file.status === "failed" && file.assertionResults.every(({ status }) => status !== "failed"))
      broken++;
    for (const { status, fullName } of file.assertionResults) {
      if (status === "passed" || status === "failed") continue;
      const name = relative(ROOT, file.name);
      skipped.set(name, [...(skipped.get(name) ?? []), fullName]);
    }
  }
  for (const [file, names] of skipped)
    process.stdout.write(
      `skipped in ${file}: ${names.length > 3 ? `${names.slice(0, 3).join("; ")}; and ${names.length - 3} more` : names.join("; ")}\n`,
    );
  const count = [...skipped.values()].reduce((sum, names) => sum + names.length, 0);
  return { passed: results.numPassedTests, failed: results.numFailedTests + broken, skipped: count };
}

/** Takes the options of this script out of the arguments; the others are vitest's. */
function readArguments(words) {
  const kubeconfigAt = words.indexOf("--kubeconfig");
  const kubeconfig = kubeconfigAt < 0 ? undefined : words[kubeconfigAt + 1];
  const cluster = words.includes("--cluster");
  if (kubeconfigAt >= 0 && (!cluster || kubeconfig === undefined || !existsSync(kubeconfig))) {
    process.stderr.write(
      `Cannot test on a cluster: --kubeconfig goes with --cluster and names a file, got "${kubeconfig ?? ""}"\n`,
    );
    process.exit(1);
  }
  const traefik = words.includes("--traefik");
  if (traefik && (!cluster || kubeconfig !== undefined)) {
    process.stderr.write(
      "Cannot test with Traefik: --traefik goes with --cluster, on this machine's own cluster\n",
    );
    process.exit(1);
  }
  const rest = words.filter(
    (word, at) =>
      word !== "--cluster" &&
      word !== "--traefik" &&
      (kubeconfigAt < 0 || (at !== kubeconfigAt && at !== kubeconfigAt + 1)),
  );
  const env = cluster ? { ISOTOPE_CLUSTER_TESTS: traefik ? "traefik" : "true" } : {};
  if (kubeconfig !== undefined) env.ISOTOPE_CLUSTER_KUBECONFIG = resolve(kubeconfig);
  return { cluster, rest, clusterEnv: env };
}

const { cluster, rest, clusterEnv } = readArguments(process.argv.slice(2));
const { redis } = setUp({ tools: true });
const { missing, env } = components(redis);
mkdirSync(CACHE, { recursive: true });
rmSync(RESULTS, { force: true });
const run = spawnSync(
  nodeBinary(),
  [join(BIN, "vitest"), "run", "--reporter=dot", "--reporter=json", `--outputFile.json=${RESULTS}`, ...rest],
  {
    cwd: ROOT,
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...env, ...clusterEnv, NODE_OPTIONS: "--disable-warning=ExperimentalWarning" },
  },
);
const { passed, failed: failures, skipped } = report();
// A set-up that fails, e.g. of the cluster, leaves no test that could.
const failed = run.status !== 0 && failures === 0 ? 1 : failures;
for (const what of missing) process.stdout.write(`not here: ${what}\n`);
const lacking = REQUIRED ? missing.length : 0;
if (!cluster && rest.length === 0)
  process.stdout.write(
    "Not run: the tests on a real Kubernetes. They are npm test -- --cluster (root on Linux with Go and Debian packages) or npm test -- --cluster --kubeconfig FILE\n",
  );
if (lacking > 0) process.stdout.write("With CI=true every component is required\n");
process.stdout.write(`${passed} passed, ${failed + lacking} failed, ${skipped} skipped\n`);
process.exitCode = run.status !== 0 || failed + lacking > 0 ? 1 : 0;
