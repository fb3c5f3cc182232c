import { type ChildProcess, spawn } from "node:child_process";
import { join, resolve } from "node:path";
import { compileCacheFolder } from "../../net/compile-cache.ts";
import { type Connection, findLocalPlatform } from "../../net/local-connection.ts";
import { CliError, type Command, defineCommand } from "../command.ts";
import type { CliContext } from "../context.ts";

const EXTENSION = import.meta.filename.endsWith(".ts") ? "ts" : "js";
const SUPERVISOR = join(import.meta.dirname, "..", "..", "local", `main.${EXTENSION}`);
const START_TIMEOUT_MS = 90_000;
const POLL_MS = 50;

const FLAGS = ["--disable-warning=ExperimentalWarning", "--max-semi-space-size=1"];

function supervisor(args: readonly string[], context: CliContext, stdio: "inherit" | "pipe"): ChildProcess {
  const cache = compileCacheFolder();
  return spawn(process.execPath, [...FLAGS, SUPERVISOR, ...args], {
    cwd: context.cwd,
    env: { ...(cache ? { NODE_COMPILE_CACHE: cache } : {}), ...context.env },
    stdio: ["ignore", stdio, "inherit"],
  });
}

const ended = (child: ChildProcess): Promise<number> =>
  new Promise((done) => {
    child.once("exit", (code) => done(code ?? 1));
    child.once("error", () => done(1));
  });

/** A platform that runs as long as this process does. */
export interface StartedPlatform {
  connection: Connection;
  stop(): Promise<void>;
}

/** Starts a platform with its state in `home` and resolves when it is ready. @throws {CliError} with what it said, when it does not. */
export async function startPlatform(
  home: string,
  args: readonly string[],
  context: CliContext,
): Promise<StartedPlatform> {
  const child = supervisor(["--home", home, ...args], context, "pipe");
  let said = "";
  child.stdout?.on("data", (chunk: Buffer) => {
    said += chunk.toString("utf8");
  });
  const life = { over: false };
  const end = ended(child).finally(() => {
    life.over = true;
  });
  const deadline = performance.now() + START_TIMEOUT_MS;
  const stop = async (): Promise<void> => {
    if (!life.over) child.kill("SIGTERM");
    await end;
  };
  while (!life.over && performance.now() < deadline && !context.signal.aborted) {
    if (said.includes("Isotope is ready")) {
      const connection = findLocalPlatform({ home, cwd: context.cwd, env: context.env });
      if (connection) return { connection, stop };
    }
    await new Promise((done) => setTimeout(done, POLL_MS));
  }
  await stop();
  throw new CliError(`The platform did not start in "${home}"${said ? `:\n${said.trim()}` : ""}`);
}

export const start: Command = defineCommand({
  noun: "",
  verb: "start",
  summary: "Run the whole platform on this machine",
  description:
    "Stays in the foreground; Ctrl-C stops it. Its state is kept in --home (default .isotope), so that the next start goes on where this one ended.",
  examples: ["isotope start", "isotope start --port-base 9000 --home /tmp/second"],
  flags: {
    "port-base": {
      type: "integer",
      help: "First of the platform's ports; the router listens on it; default 8888",
      min: 1024,
      max: 65_520,
    },
    deploy: { type: "string", help: "Folder to deploy at the start" },
  },
  async run({ flags }, context) {
    const home = resolve(context.cwd, context.home ?? ".isotope");
    const child = supervisor(
      [
        "--home",
        home,
        ...(flags["port-base"] === undefined ? [] : ["--port-base", String(flags["port-base"])]),
        ...(flags.deploy ? ["--deploy", resolve(context.cwd, flags.deploy)] : []),
      ],
      context,
      "inherit",
    );
    context.signal.addEventListener("abort", () => child.kill("SIGTERM"));
    return ended(child);
  },
});

export const stop: Command = defineCommand({
  noun: "",
  verb: "stop",
  summary: "Stop the local platform",
  flags: { timeout: { type: "duration", help: "How long to wait", default: 60_000 } },
  async run({ flags }, context) {
    const platform = context.platform();
    if (!platform) throw new CliError("No local platform runs");
    process.kill(platform.pid, "SIGTERM");
    const deadline = performance.now() + flags.timeout;
    while (performance.now() < deadline) {
      if (!findLocalPlatform({ home: platform.home, cwd: context.cwd, env: context.env })) {
        context.out(`Stopped the platform in ${platform.home}\n`);
        return 0;
      }
      await new Promise((done) => setTimeout(done, POLL_MS));
    }
    throw new CliError(
      `The platform in "${platform.home}" still runs as process ${platform.pid} after ${flags.timeout / 1000} s`,
    );
  },
});
