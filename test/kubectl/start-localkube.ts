import { type ChildProcess, execFile, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const MAIN = resolve(import.meta.dirname, "../../localkube/main.ts");
const START_TIMEOUT_MS = 120_000;

interface CommandResult {
  exitCode: number;
  stdout: string;
  stderr: string;
}

/** A server with its kubelet and controllers in a process of its own, and a kubectl that talks to it. */
export interface Localkube {
  home: string;
  kubeconfig: string;
  /** Runs kubectl to its end. */
  kubectl(args: string[], stdin?: string): Promise<CommandResult>;
  /** Runs kubectl and gives its stdout; throws with its stderr when it fails. */
  ok(args: string[], stdin?: string): Promise<string>;
  /** Starts kubectl and lets it run; it is ended with the server at the latest. */
  spawn(args: string[]): { child: ChildProcess; output: () => string };
  /** kill -9 of the server, and of what it follows if told so. */
  crash(withParent?: boolean): Promise<void>;
  /** A start on the same state. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

/** A program for pods: `serve` answers HTTP, `talk` prints a line every 50 ms, `fail` ends with code 3. */
const PROGRAM = `
import { createServer } from "node:http";
const [mode, address, port] = process.argv.slice(2);
process.on("SIGTERM", () => { console.log("stopping"); process.exit(0); });
if (mode === "serve") createServer((_q, r) => r.end(process.env.GREETING ?? "hello")).listen(Number(port), address, () => console.log("listening"));
if (mode === "talk") { let n = 0; setInterval(() => console.log("line " + n++), 50); }
if (mode === "fail") { console.log("about to fail"); process.exit(3); }
`;

function writeImages(home: string): string {
  const program = join(home, "program.mjs");
  writeFileSync(program, PROGRAM);
  const rule = (mode: string): object => ({
    match: `test/${mode}:*`,
    command: [process.execPath, program, mode, "${POD_IP}", "${PORT}"],
    env: {},
  });
  const shell = { match: "test/sh:*", command: ["/bin/sh"], containerCommand: "replace" };
  const file = join(home, "images.json");
  writeFileSync(file, JSON.stringify({ images: [rule("serve"), rule("talk"), rule("fail"), shell] }));
  return file;
}

function run(args: string[], env: NodeJS.ProcessEnv, stdin: string | undefined): Promise<CommandResult> {
  return new Promise((done) => {
    const child = execFile(
      "kubectl",
      args,
      { env, timeout: 90_000, maxBuffer: 32 * 2 ** 20 },
      (error, stdout, stderr) => {
        const exitCode = error === null ? 0 : typeof error.code === "number" ? error.code : 1;
        done({ exitCode, stdout, stderr });
      },
    );
    if (stdin !== undefined) child.stdin?.end(stdin);
  });
}

async function waitReady(child: ChildProcess, kubeconfig: string, log: () => string): Promise<void> {
  const endMs = Date.now() + START_TIMEOUT_MS;
  for (;;) {
    if (child.exitCode !== null) throw new Error(`localkube ended with code ${child.exitCode}:\n${log()}`);
    if (existsSync(kubeconfig) && log().includes("ready")) return;
    if (Date.now() > endMs) throw new Error(`localkube was not ready in time:\n${log()}`);
    await new Promise((resolve_) => setTimeout(resolve_, 20));
  }
}

/** Starts a server on a free port and an empty state. */
export async function startLocalkube(): Promise<Localkube> {
  const home = mkdtempSync(join(tmpdir(), "lk-"));
  const kubeconfig = join(home, "kubeconfig");
  const images = writeImages(home);
  mkdirSync(join(home, "cache"));
  const env = {
    PATH: process.env["PATH"],
    HOME: home,
    KUBECONFIG: kubeconfig,
    KUBECACHEDIR: join(home, "cache"),
  };
  // Stands for whoever supervises the server: pods outlive the server, not this.
  const startGuardian = (): ChildProcess => spawn("sleep", ["3600"], { stdio: "ignore" });
  let guardian = startGuardian();
  let server: ChildProcess;
  let log = "";
  const launch = async (): Promise<void> => {
    const args = [
      MAIN,
      "--data-dir",
      join(home, "state"),
      "--port",
      "0",
      "--kubeconfig-out",
      kubeconfig,
      "--images",
      images,
    ];
    log = "";
    rmSync(kubeconfig, { force: true });
    server = spawn(
      process.execPath,
      ["--disable-warning=ExperimentalWarning", ...args, "--parent-pid", String(guardian.pid)],
      {
        stdio: ["ignore", "pipe", "pipe"],
      },
    );
    const take = (chunk: Buffer): void => {
      log += chunk.toString("utf8");
    };
    server.stdout?.on("data", take);
    server.stderr?.on("data", take);
    await waitReady(server, kubeconfig, () => log);
  };
  const end = (signal: NodeJS.Signals): Promise<void> =>
    new Promise((done) => {
      if (server.exitCode !== null || server.signalCode !== null) {
        done();
        return;
      }
      server.once("exit", () => done());
      server.kill(signal);
    });
  const background: ChildProcess[] = [];
  await launch();

  return {
    home,
    kubeconfig,
    kubectl: (args, stdin) => run(args, env, stdin),
    async ok(args, stdin) {
      const { exitCode, stdout, stderr } = await run(args, env, stdin);
      if (exitCode !== 0)
        throw new Error(
          `kubectl ${args.join(" ")}: exit code ${exitCode}\n${stderr}\nserver: ${log.slice(-2000)}`,
        );
      return stdout;
    },
    spawn(args) {
      const child = spawn("kubectl", args, { env, stdio: ["ignore", "pipe", "pipe"] });
      let text = "";
      for (const stream of [child.stdout, child.stderr]) {
        stream.on("data", (chunk: Buffer) => {
          text += chunk.toString("utf8");
        });
      }
      background.push(child);
      return { child, output: () => text };
    },
    async crash(withParent = false) {
      if (withParent) guardian.kill("SIGKILL");
      await end("SIGKILL");
    },
    async restart() {
      if (guardian.killed) guardian = startGuardian();
      await launch();
    },
    async stop() {
      for (const child of background) child.kill("SIGKILL");
      await end("SIGTERM");
      guardian.kill("SIGKILL");
      rmSync(home, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
    },
  };
}
