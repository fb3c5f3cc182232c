// Brings a fresh clone to the point where it can run. Plain JavaScript without dependencies: it runs on Node 20.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const MODULES = join(ROOT, "node_modules");
const STAMP = join(MODULES, ".isotope-installed");
export const BIN = join(MODULES, ".bin");

const say = (line) => process.stdout.write(`${line}\n`);
const has = (command, ...args) =>
  spawnSync(command, args.length > 0 ? args : ["--version"], { stdio: "ignore" }).status === 0;

/** What the installed packages depend on: a change of it means that they are stale. */
const wanted = () =>
  createHash("sha256")
    .update(readFileSync(join(ROOT, "package-lock.json")))
    .update(process.platform + process.arch)
    .digest("hex");

function installed() {
  const [digest, tools] = existsSync(STAMP) ? readFileSync(STAMP, "utf8").trim().split(" ") : [];
  return { digest, hasTools: tools === "tools" };
}

/** Installs what is missing. `tools`: also what tests and checks need, which a start has no use for. */
function installPackages(tools) {
  const digest = wanted();
  const before = installed();
  if (before.digest === digest && (before.hasTools || !tools)) return;
  const withTools = tools || before.hasTools;
  // npm ci empties node_modules first; what is there may be in use by a running platform, so it is brought up to date instead.
  const how = before.digest === undefined ? ["ci"] : ["install", "--no-save"];
  say(`Installing packages (npm ${how[0]}), once`);
  const options = [
    ...how,
    ...(withTools ? [] : ["--omit=dev"]),
    "--no-audit",
    "--no-fund",
    "--loglevel=error",
  ];
  const npm = spawnSync("npm", options, {
    cwd: ROOT,
    stdio: ["ignore", "inherit", "inherit"],
    shell: process.platform === "win32",
  });
  if (npm.status !== 0) {
    process.stderr.write(
      `Cannot install packages: \`npm ${how[0]}\` failed; its message is above. Removing node_modules and starting again may help\n`,
    );
    process.exit(1);
  }
  mkdirSync(MODULES, { recursive: true });
  writeFileSync(STAMP, `${digest}${withTools ? " tools" : ""}\n`);
}

/** The packages that the examples import, for their types. */
export function installExamples() {
  const folder = join(ROOT, "examples");
  const stamp = join(folder, "node_modules", ".isotope-installed");
  const digest = createHash("sha256")
    .update(readFileSync(join(folder, "package-lock.json")))
    .digest("hex");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === digest) return;
  say("Installing packages of the examples, once");
  const npm = spawnSync("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], {
    cwd: folder,
    stdio: ["ignore", "inherit", "inherit"],
    shell: process.platform === "win32",
  });
  // Without them the check of the examples' types fails and says what is missing.
  if (npm.status === 0) writeFileSync(stamp, digest);
}

const REDIS = ["redis-server", "valkey-server"];
const hasRedis = () => REDIS.some((name) => has(name));

/** Installs a Debian or Homebrew package where that is allowed without a question; says whether it did. */
export function installSystemPackage(debian, homebrew) {
  if (process.platform === "darwin" && homebrew && has("brew"))
    return spawnSync("brew", ["install", homebrew], { stdio: "inherit" }).status === 0;
  if (process.platform !== "linux" || !has("apt-get")) return false;
  const prefix = process.getuid?.() === 0 ? [] : has("sudo", "-n", "true") ? ["sudo", "-n"] : undefined;
  if (!prefix) return false;
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const apt = (...args) => {
    const [command, ...rest] = [...prefix, "apt-get", "-qq", ...args];
    return spawnSync(command, rest, { stdio: ["ignore", "ignore", "inherit"], env }).status === 0;
  };
  // Debian starts a server that it installs; ours runs under the platform, so the system's stays off where that can be said.
  if (apt("install", "-y", "--no-install-recommends", debian)) return true;
  return apt("update") && apt("install", "-y", "--no-install-recommends", debian);
}

function ensureRedis() {
  if (hasRedis()) return true;
  say("Installing redis-server, once");
  if (installSystemPackage("redis-server", "redis") && hasRedis()) return true;
  say(
    "Notice: no redis-server was found and none may be installed here. HTTP functions work; queues and workflows answer 503 until one is",
  );
  say(
    "        installed (Debian: apt-get install redis-server, macOS: brew install redis) and Isotope is started again.",
  );
  return false;
}

/** Environment of the project's own programs: the packages' Node and tools come first. */
export const toolEnvironment = () => ({
  ...process.env,
  PATH: `${BIN}${process.platform === "win32" ? ";" : ":"}${process.env.PATH ?? ""}`,
});

/** Path of the current Node that comes with the packages. */
export const nodeBinary = () => join(BIN, "node");

/** Does all set-up; says whether Redis is there. `tools`: whether the development tools are needed too. */
export function setUp({ tools }) {
  installPackages(tools);
  return { redis: ensureRedis() };
}
