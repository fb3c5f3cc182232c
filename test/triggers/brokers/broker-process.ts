import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Broker } from "./broker.ts";

/** A JVM on a machine that is busy with everything else takes its time. */
const READY_MS = 180_000;
const POLL_MS = 50;

export interface BrokerProcess extends Broker {
  readonly folder: string;
}

/** A broker that is one program, ready when it takes connections. */
export function brokerProcess(options: {
  readonly name: string;
  readonly folder: string;
  readonly port: number;
  readonly command: string;
  readonly args: readonly string[];
}): BrokerProcess {
  const { folder, port } = options;
  let child: ChildProcess | undefined;
  const broker: BrokerProcess = {
    folder,
    start: async () => {
      const started = spawn(options.command, options.args, { cwd: folder, stdio: "ignore" });
      child = started;
      let failure: Error | undefined;
      started.once("error", (error) => (failure = error));
      const deadline = performance.now() + READY_MS;
      while (!(await takesConnections(port))) {
        if (failure || started.exitCode !== null || performance.now() > deadline)
          throw new Error(`${options.name} did not start: ${failure?.message ?? `exit ${started.exitCode}`}`);
        await sleep(POLL_MS);
      }
    },
    stop: async (signal = "SIGTERM") => {
      const running = child;
      child = undefined;
      if (!running || running.exitCode !== null || running.signalCode !== null) return;
      const ended = once(running, "exit");
      running.kill(signal);
      await ended;
    },
    remove: async () => {
      await broker.stop("SIGKILL");
      rmSync(folder, { recursive: true, force: true });
    },
  };
  // A test run that is interrupted leaves no broker behind.
  process.once("exit", () => child?.kill("SIGKILL"));
  return broker;
}

export const brokerFolder = (name: string): string => mkdtempSync(join(tmpdir(), `isotope-${name}-`));

function takesConnections(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
