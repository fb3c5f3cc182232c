import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { connectRuntime, killLeftovers, type Runtime } from "./runtime.ts";
import type { ExitRecord, Life, RunSpec } from "./shim/messages.ts";
import { identify, isAlive, processStartMark, readProcStat } from "./shim/process-identity.ts";

let home: string;
let runtimes: Runtime[];
let exits: Map<string, ExitRecord>;
let lost: number;
let children: ChildProcess[];

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "runtime-"));
  runtimes = [];
  children = [];
  exits = new Map();
  lost = 0;
});
afterEach(async () => {
  for (const runtime of runtimes) await runtime.shutdown();
  for (const child of children) child.kill("SIGKILL");
  killLeftovers(join(home, "pods"));
  rmSync(home, { recursive: true, force: true });
});

async function open(life: Life = identify(process.pid)): Promise<Runtime> {
  const runtime = await connectRuntime({
    dir: join(home, "kubelet"),
    podsDir: join(home, "pods"),
    life,
    onExit: (id, exit) => void exits.set(id, exit),
    onLost: () => void (lost += 1),
  });
  runtimes.push(runtime);
  return runtime;
}

function specOf(name: string, script: string, more: Partial<RunSpec> = {}): RunSpec {
  const podDir = join(home, "pods", name);
  return {
    id: `${name}/main/0`,
    argv: ["/bin/sh", "-c", script],
    env: { PATH: "/usr/bin:/bin", HOME: podDir },
    cwd: home,
    logFile: join(home, "logs", name, "0.log"),
    pidFile: join(podDir, "containers", "main", "pid"),
    maxLogBytes: 1_000_000,
    labels: { podIP: "127.64.0.1" },
    ...more,
  };
}

async function until(what: () => boolean, ms = 60_000): Promise<void> {
  const endMs = Date.now() + ms;
  while (!what()) {
    if (Date.now() > endMs) throw new Error(`not within ${ms} ms: ${what.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const logOf = (name: string): string[] => {
  const file = join(home, "logs", name, "0.log");
  if (!existsSync(file)) return [];
  return readFileSync(file, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => line.split(" ").slice(3).join(" "));
};

describe("process runtime", () => {
  it("runs a process with exactly its environment, its output in the log, and tells its end", async () => {
    const runtime = await open();
    await runtime.run(specOf("a", "env | sort | grep -vE '^(PWD|_|SHLVL|OLDPWD)='; echo oops >&2; exit 7"));
    await until(() => exits.has("a/main/0"));
    expect(exits.get("a/main/0")).toMatchObject({ exitCode: 7, signal: 0, oomKilled: false });
    expect(logOf("a").sort()).toEqual([`HOME=${join(home, "pods", "a")}`, "PATH=/usr/bin:/bin", "oops"]);
  });

  it("kills the whole group with SIGTERM and SIGKILL, and with its leader's end", async () => {
    const runtime = await open();
    await runtime.run(specOf("a", "sleep 1000 & echo $!; sleep 1000 & echo $!; wait"));
    await runtime.run(specOf("b", "trap '' TERM; echo ready; while :; do sleep 1; done"));
    await runtime.run(specOf("c", "sleep 1000 & echo $!; exit 0"));
    await until(() => logOf("a").length === 2 && logOf("b").length === 1 && exits.has("c/main/0"));
    const pids = [...logOf("a"), ...logOf("c")].map(Number);
    await runtime.signal("a/main/0", "SIGTERM");
    await until(() => exits.has("a/main/0"));
    expect(exits.get("a/main/0")).toMatchObject({ exitCode: 143, signal: 15 });
    await until(() => pids.every((pid) => processStartMark(pid) === undefined));
    await runtime.signal("b/main/0", "SIGTERM");
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(exits.has("b/main/0")).toBe(false);
    await runtime.signal("b/main/0", "SIGKILL");
    await until(() => exits.has("b/main/0"));
    expect(exits.get("b/main/0")).toMatchObject({ exitCode: 137, signal: 9 });
  });

  it("refuses what cannot be started, saying why", async () => {
    const runtime = await open();
    await expect(runtime.run(specOf("a", "", { argv: ["/no/such/file"] }))).rejects.toThrow(
      'Cannot start "/no/such/file": no such executable',
    );
    await expect(runtime.run(specOf("b", "", { cwd: "/no/such/dir" }))).rejects.toThrow(
      '"/no/such/dir" does not exist',
    );
  });

  it("runs a command beside, within its time", async () => {
    const runtime = await open();
    const exec = { env: { PATH: "/usr/bin:/bin", A: "1" }, cwd: home, timeoutMs: 60_000 };
    expect(await runtime.exec({ ...exec, argv: ["sh", "-c", "echo $A; exit 3"] })).toEqual({
      exitCode: 3,
      output: "1\n",
    });
    expect(await runtime.exec({ ...exec, argv: ["sleep", "10"], timeoutMs: 50 })).toMatchObject({
      exitCode: -1,
    });
  });

  it("gives all that a command beside said, however soon it ends", async () => {
    const runtime = await open();
    const exec = { env: { PATH: "/usr/bin:/bin" }, cwd: home, timeoutMs: 60_000 };
    const words = "x".repeat(4_000);
    for (let round = 0; round < 10; round++) {
      const all = Array.from({ length: 20 }, () => runtime.exec({ ...exec, argv: ["/bin/echo", words] }));
      for (const { output } of await Promise.all(all)) expect(output.length).toBe(words.length + 1);
    }
  });

  it.runIf(process.platform === "linux")("kills a process group over its memory limit", async () => {
    const runtime = await open();
    const hog = "const keep=[];setInterval(()=>keep.push(Buffer.alloc(8<<20,1)),10)";
    const run = (name: string, argv: string[]): Promise<unknown> =>
      runtime.run(specOf(name, "", { argv, memoryLimitBytes: 120 * 2 ** 20 }));
    await run("direct", [process.execPath, "-e", hog]);
    await run("child", ["/bin/sh", "-c", `"${process.execPath}" -e '${hog}'; :`]);
    await run("modest", ["/bin/sleep", "1000"]);
    await until(() => exits.has("direct/main/0") && exits.has("child/main/0"));
    expect(exits.get("direct/main/0")).toMatchObject({ exitCode: 137, signal: 9, oomKilled: true });
    expect(exits.get("child/main/0")).toMatchObject({ exitCode: 137, oomKilled: true });
    expect(exits.has("modest/main/0")).toBe(false);
  });

  it("lets processes outlive the connection and hands over what happened meanwhile", async () => {
    const first = await open();
    const kept = await first.run(specOf("stays", "echo before; sleep 0.3; echo after; sleep 1000"));
    const ends = await first.run(specOf("ends", "sleep 0.2; exit 4"));
    first.disconnect();
    await until(() => logOf("stays").length === 2 && readProcStat(ends.pid) === undefined);
    expect(exits.size).toBe(0);
    const second = await open();
    expect(lost).toBe(0);
    const byId = new Map(second.found.map((record) => [record.id, record]));
    expect(byId.get("stays/main/0")).toEqual({ ...kept, labels: { podIP: "127.64.0.1" } });
    expect(byId.get("ends/main/0")?.exit).toMatchObject({ exitCode: 4 });
    expect(logOf("stays")).toEqual(["before", "after"]);
    await second.forget("ends/main/0");
    second.disconnect();
    expect((await open()).found.map(({ id }) => id)).toEqual(["stays/main/0"]);
  });

  it("ends with the life it follows, and all processes with it", async () => {
    const guardian = spawn("sleep", ["1000"]);
    children.push(guardian);
    const life = identify(guardian.pid ?? 0);
    const runtime = await open(life);
    const { pid } = await runtime.run(specOf("a", "trap '' TERM; while :; do sleep 1; done"));
    const leader = identify(pid);
    guardian.kill("SIGKILL");
    await until(() => !isAlive(leader) && lost === 1);
  });

  it("replaces a shim that follows another life", async () => {
    const guardian = spawn("sleep", ["1000"]);
    children.push(guardian);
    const old = await open(identify(guardian.pid ?? 0));
    const { pid } = await old.run(specOf("a", "sleep 1000"));
    const before = identify(pid);
    old.disconnect();
    const fresh = await open();
    expect(fresh.found).toEqual([]);
    // It is killed by then; the kernel may take a moment to be done with it.
    await until(() => !isAlive(before));
  });

  it.runIf(process.platform === "linux")("loses all processes when the shim is killed", async () => {
    const runtime = await open();
    const { pid } = await runtime.run(specOf("a", "echo up; sleep 1000 & wait"));
    // Before its first word it may not have asked for the signal yet; it would be found at the next start then.
    await until(() => logOf("a").length === 1);
    const leader = identify(pid);
    const shim = readFileSync(`/proc/${pid}/stat`, "utf8").split(" ")[3];
    process.kill(Number(shim), "SIGKILL");
    await until(() => lost === 1 && !isAlive(leader));
  });

  it.runIf(process.platform === "linux")(
    "kills by the next start what a killed shim left of a group",
    async () => {
      const runtime = await open();
      const { pid } = await runtime.run(specOf("a", "sleep 1000 & echo $!; wait"));
      await until(() => logOf("a").length === 1);
      const grandchild = identify(Number(logOf("a")[0]));
      const shim = readFileSync(`/proc/${pid}/stat`, "utf8").split(" ")[3];
      process.kill(Number(shim), "SIGKILL");
      await until(() => lost === 1);
      expect(isAlive(grandchild)).toBe(true);
      await open();
      await until(() => !isAlive(grandchild));
    },
  );

  it("does not touch a process that merely has a noted pid", async () => {
    const stranger = spawn("sleep", ["1000"], { detached: true });
    children.push(stranger);
    const pidFile = join(home, "pods", "x", "containers", "main", "pid");
    const runtime = await open();
    await runtime.run(specOf("x", "sleep 0"));
    await until(() => exits.size === 1);
    writeFileSync(pidFile, JSON.stringify({ pid: stranger.pid, startMark: "other-boot:1" }));
    expect(killLeftovers(join(home, "pods"))).toBe(0);
    expect(isAlive(identify(stranger.pid ?? 0))).toBe(true);
  });
});
