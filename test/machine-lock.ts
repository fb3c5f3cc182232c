import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdirSync, openSync } from "node:fs";
import { join } from "node:path";

const LOCK_WAIT_S = 1200;

/**
 * Runs `work` while no other process of this machine holds the lock of this folder. The lock is the kernel's (flock), so a process that dies
 * lets go of it.
 */
export async function withMachineLock<T>(folder: string, work: () => Promise<T>): Promise<T> {
  mkdirSync(folder, { recursive: true });
  const path = join(folder, "lock");
  const file = openSync(path, "w");
  try {
    // The lock belongs to the open file, which this process keeps after `flock` has ended.
    const locker = spawn("flock", ["--timeout", String(LOCK_WAIT_S), "3"], {
      stdio: ["ignore", "ignore", "inherit", file],
    });
    const [code] = await once(locker, "exit");
    if (code !== 0)
      throw new Error(`Cannot take the lock "${path}": another process has held it for ${LOCK_WAIT_S} s`);
    return await work();
  } finally {
    closeSync(file);
  }
}
