import { spawn } from "node:child_process";
import { join } from "node:path";
import type { BuilderSettings } from "./builder-settings.ts";
import { redacted } from "./npm-manifest.ts";

export type NpmOutcome =
  | { readonly ok: true; readonly stdout: string }
  /** `code` is npm's, e.g. `E404`; `summary` its explanation without credentials. */
  | { readonly ok: false; readonly code: string; readonly summary: string };

/** Settings of the machine's npm that say where and how to fetch; all others would change what an installation is. */
const PASSED_ON =
  /^npm_config_(?:registry|ca|cafile|https?[-_]proxy|proxy|no[-_]?proxy|strict[-_]ssl|userconfig|globalconfig|cache|maxsockets|fetch[-_].*|@.*|\/\/.*)$/i;
const MAX_OUTPUT = 4 * 2 ** 20;

export interface NpmCall {
  readonly settings: BuilderSettings;
  readonly folder: string;
  readonly args: readonly string[];
}

/** Runs npm in a folder, bounded in time and output. Never throws. */
export function runNpm({ settings, folder, args }: NpmCall): Promise<NpmOutcome> {
  const { npm } = settings;
  const env = npmEnvironment(process.env);
  const cache = npm.cacheFolder ?? (hasCache(env) ? undefined : join(settings.stateFolder, "npm-cache"));
  const flags = [
    "--prefix",
    folder,
    ...(cache === undefined ? [] : ["--cache", cache]),
    // npm's own pauses between tries are made for people who are not waiting.
    "--fetch-retry-mintimeout=500",
    "--fetch-retry-maxtimeout=4000",
    "--loglevel=error",
    "--no-update-notifier",
    "--no-color",
  ];
  return new Promise((resolve) => {
    const child = spawn(npm.command, [...args, ...flags], {
      cwd: folder,
      env,
      stdio: ["ignore", "pipe", "pipe"],
    });
    let stdout = "";
    let stderr = "";
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      child.kill("SIGKILL");
    }, npm.timeoutMs);
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      if (stdout.length < MAX_OUTPUT) stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      if (stderr.length < MAX_OUTPUT) stderr += text;
    });
    child.once("error", (error) => {
      clearTimeout(timer);
      resolve({ ok: false, code: "ENPM", summary: `npm cannot be started: ${error.message}` });
    });
    child.once("close", (code) => {
      clearTimeout(timer);
      if (timedOut)
        resolve({ ok: false, code: "ETIMEOUT", summary: `npm took longer than ${npm.timeoutMs} ms` });
      else if (code === 0) resolve({ ok: true, stdout });
      else resolve({ ok: false, ...npmError(stdout, stderr) });
    });
  });
}

const hasCache = (env: NodeJS.ProcessEnv): boolean =>
  Object.keys(env).some((name) => /^npm_config_cache$/i.test(name));

function npmEnvironment(given: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const kept = Object.entries(given).filter(([name]) => !/^npm_/i.test(name) || PASSED_ON.test(name));
  return { ...Object.fromEntries(kept), NODE_ENV: "production", NO_UPDATE_NOTIFIER: "1", CI: "1" };
}

/** npm's own account of an error: `--json` puts it on stdout, older and odd cases on stderr. */
function npmError(stdout: string, stderr: string): { code: string; summary: string } {
  const json = /\{[\s\S]*"error"[\s\S]*\}/.exec(stdout)?.[0];
  if (json !== undefined) {
    try {
      const error: unknown = JSON.parse(json).error;
      if (typeof error === "object" && error !== null) {
        const code = "code" in error && typeof error.code === "string" ? error.code : "EUNKNOWN";
        const summary = "summary" in error && typeof error.summary === "string" ? error.summary : "";
        if (summary !== "" || code !== "EUNKNOWN") return { code, summary: firstLines(redacted(summary)) };
      }
    } catch {
      // Not JSON after all.
    }
  }
  const code = /npm error code (\S+)/.exec(stderr)?.[1] ?? "EUNKNOWN";
  const text = stderr
    .replaceAll(/^npm error (?:code \S+|A complete log.*)\n?/gm, "")
    .replaceAll(/^npm error /gm, "");
  return { code, summary: firstLines(redacted(text)) };
}

const firstLines = (text: string): string =>
  text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "")
    .slice(0, 6)
    .join(" ");

/** Errors that are about the source: the same installation fails again. All others are trouble of the registry or of this machine. */
const USER_CODES = new Set([
  "E404",
  "ETARGET",
  "ENOVERSIONS",
  "ERESOLVE",
  "EUSAGE",
  "EINTEGRITY",
  "EINVALIDPACKAGENAME",
  "EINVALIDTAGNAME",
  "EUNSUPPORTEDPROTOCOL",
  "EJSONPARSE",
  "EOVERRIDE",
  "EBADENGINE",
  "EBADPLATFORM",
]);

export const npmFault = (code: string): "user" | "platform" => (USER_CODES.has(code) ? "user" : "platform");
