import { randomUUID } from "node:crypto";
import { access, mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { BuildError, errno } from "./build-error.ts";
import type { BuildContext } from "./build.ts";
import { sha256Hex } from "./digest.ts";
import { findNativePackages, type NativePackage } from "./native-packages.ts";
import { npmFault, type NpmOutcome, runNpm } from "./npm-command.ts";
import type { NpmManifest } from "./npm-manifest.ts";
import { scanModules } from "./scan-modules.ts";

/*
 * Installed sets of packages, each in a folder named after the hash of what was asked for. Invariants:
 * 1. A folder under its final name is complete and never changes (but for its time, which is that of its last use).
 * 2. Install scripts run for packages on the operator's list only.
 */

export interface Installation {
  readonly folder: string;
  readonly native: readonly NativePackage[];
  /** Modules that may refer to files, relative to `node_modules`. */
  readonly referring: readonly string[];
}

type Findings = Omit<Installation, "folder">;

export interface InstallOptions {
  readonly manifest: NpmManifest;
  /** Text of a package-lock.json; the installation follows it exactly, but for what `npm:` imports add. */
  readonly packageLock: string | undefined;
  /** With development packages, for type checks. */
  readonly dev: boolean;
  readonly context: BuildContext;
}

const FINDINGS_FILE = "findings.json";
const PARTIAL = ".partial-";

export async function installPackages(options: InstallOptions): Promise<Installation> {
  const { context, manifest } = options;
  const { npm } = context.settings;
  const asked = {
    packageJson: manifest.packageJson,
    lock: options.packageLock,
    dev: options.dev,
    allowScripts: npm.allowScripts,
    minReleaseAgeDays: npm.minReleaseAgeDays,
  };
  const parent = join(context.settings.stateFolder, "packages");
  const folder = join(parent, sha256Hex(JSON.stringify(asked)).slice(0, 32));
  const present = await readFindings(folder);
  if (present) {
    const now = new Date();
    await utimes(folder, now, now).catch(() => {});
    return { folder, ...present };
  }
  const partial = join(parent, `${PARTIAL}${randomUUID()}`);
  try {
    await mkdir(join(partial, "node_modules"), { recursive: true });
    await writeFile(join(partial, "package.json"), JSON.stringify(manifest.packageJson));
    if (options.packageLock !== undefined)
      await writeFile(join(partial, "package-lock.json"), options.packageLock);
    await install(partial, options);
    const modules = join(partial, "node_modules");
    const native = await findNativePackages(modules);
    const { referring } = await scanModules(modules, true);
    await writeFile(join(partial, FINDINGS_FILE), JSON.stringify({ native, referring }));
    await rename(partial, folder).catch((error: unknown) => {
      // Another build installed the same meanwhile.
      if (errno(error) !== "ENOTEMPTY" && errno(error) !== "EEXIST") throw error;
    });
    await dropOldInstallations(parent, npm.keptInstallations);
    return { folder, native, referring };
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
}

async function readFindings(folder: string): Promise<Findings | undefined> {
  const text = await readFile(join(folder, FINDINGS_FILE), "utf8").catch(() => undefined);
  return text === undefined ? undefined : JSON.parse(text);
}

async function install(
  folder: string,
  { manifest, packageLock, dev, context }: InstallOptions,
): Promise<void> {
  const { settings, log } = context;
  const { npm } = settings;
  // A lock that names what is not installed is no exact one any more.
  const frozen = packageLock !== undefined && manifest.added.length === 0 && !manifest.leftOut;
  const { dependencies, devDependencies, optionalDependencies } = manifest.packageJson;
  const names = Object.keys({ ...dependencies, ...optionalDependencies, ...(dev ? devDependencies : {}) });
  log(
    `installing ${names.length} packages${frozen ? " as package-lock.json says" : ""}: ${names.slice(0, 12).join(", ")}${names.length > 12 ? ", …" : ""}`,
  );
  const startedAt = performance.now();
  const args = [
    frozen ? "ci" : "install",
    "--json",
    "--ignore-scripts",
    "--no-audit",
    "--no-fund",
    "--no-bin-links",
    "--no-save",
    "--install-strategy=hoisted",
    ...(dev ? [] : ["--omit=dev"]),
    ...(frozen ? ["--prefer-offline"] : []),
    ...(npm.minReleaseAgeDays > 0
      ? [`--before=${new Date(Date.now() - npm.minReleaseAgeDays * 86_400_000).toISOString()}`]
      : []),
  ];
  const outcome = await withOfflineFallback(args, folder, context);
  if (!outcome.ok) throw installError(outcome, frozen);
  if (npm.allowScripts.length > 0) await runAllowedScripts(folder, context);
  log(`installed in ${Math.round(performance.now() - startedAt)} ms`);
  if (!frozen) for (const name of names) log(`  ${name} ${await versionOf(folder, name)}`);
}

/** A registry that cannot be reached does not stop a build whose packages were fetched before. */
async function withOfflineFallback(
  args: readonly string[],
  folder: string,
  context: BuildContext,
): Promise<NpmOutcome> {
  const { settings, log } = context;
  const online = await runNpm({ settings, folder, args });
  if (online.ok || npmFault(online.code) === "user" || online.code === "ENPM") return online;
  const offline = await runNpm({ settings, folder, args: [...args, "--offline"] });
  if (!offline.ok) return online;
  log(`warning: the registry cannot be reached (${online.code}); packages come from the cache`);
  return offline;
}

function installError(outcome: Extract<NpmOutcome, { ok: false }>, frozen: boolean): BuildError {
  const fault = npmFault(outcome.code);
  if (outcome.code === "EUSAGE" && frozen) {
    return new BuildError(
      "user",
      `package-lock.json does not fit package.json; run npm install and deploy both again`,
      {
        detail: [`error: ${outcome.summary}`],
      },
    );
  }
  const what =
    fault === "user"
      ? "Cannot install packages"
      : "Cannot install packages now, the registry or the builder is in trouble";
  return new BuildError(fault, `${what}: ${outcome.code}: ${outcome.summary}`);
}

async function runAllowedScripts(folder: string, { settings, log }: BuildContext): Promise<void> {
  const present: string[] = [];
  for (const name of settings.npm.allowScripts) {
    if (
      await access(join(folder, "node_modules", name)).then(
        () => true,
        () => false,
      )
    )
      present.push(name);
  }
  if (present.length === 0) return;
  log(`running install scripts of ${present.join(", ")}`);
  const outcome = await runNpm({
    settings,
    folder,
    args: ["rebuild", "--json", "--foreground-scripts=false", ...present],
  });
  if (!outcome.ok)
    throw new BuildError("user", `The install scripts of ${present.join(", ")} failed: ${outcome.summary}`);
}

async function versionOf(folder: string, name: string): Promise<string> {
  const text = await readFile(join(folder, "node_modules", name, "package.json"), "utf8").catch(() => "{}");
  const version: unknown = JSON.parse(text).version;
  return typeof version === "string" ? version : "(left out: not for this system)";
}

/** Keeps the installations used last; half-done ones of a process that was killed go as well, after an hour. */
async function dropOldInstallations(parent: string, kept: number): Promise<void> {
  const found: { path: string; usedAtMs: number; partial: boolean }[] = [];
  for (const name of await readdir(parent)) {
    const path = join(parent, name);
    const info = await stat(path).catch(() => undefined);
    if (info) found.push({ path, usedAtMs: info.mtimeMs, partial: name.startsWith(PARTIAL) });
  }
  const whole = found.filter(({ partial }) => !partial).sort((a, b) => b.usedAtMs - a.usedAtMs);
  const stale = found.filter(({ partial, usedAtMs }) => partial && Date.now() - usedAtMs > 3_600_000);
  for (const { path } of [...whole.slice(kept), ...stale]) await rm(path, { recursive: true, force: true });
}
