import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";

/** Processes that are begun again whenever they die. */
export interface DyingReplicas {
  /** Runs a replica, and another one when it has died: each dies by its own flags, the later ones have none. */
  keepAlive(name: string, deaths: readonly string[][]): void;
  /** How many have died by SIGKILL. */
  kills(): number;
  stop(): Promise<void>;
}

/** @param worker file of the program; it gets `args` and `--name` */
export function dyingReplicas(worker: string, args: readonly string[]): DyingReplicas {
  const children = new Set<ChildProcess>();
  let stopping = false;
  let kills = 0;
  const keepAlive = (name: string, deaths: readonly string[][]): void => {
    const [death = [], ...rest] = deaths;
    const child = spawn(process.execPath, [worker, ...args, "--name", name, ...death], { stdio: "inherit" });
    children.add(child);
    child.once("exit", (_code, signal) => {
      children.delete(child);
      if (stopping) return;
      if (signal === "SIGKILL") kills++;
      keepAlive(name, rest);
    });
  };
  return {
    keepAlive,
    kills: () => kills,
    stop: async () => {
      stopping = true;
      const ended = [...children].map((child) => once(child, "exit"));
      for (const child of children) child.kill("SIGKILL");
      await Promise.all(ended);
    },
  };
}
