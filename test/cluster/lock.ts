import { closeSync, mkdirSync, openSync } from "node:fs";
import { join } from "node:path";
import { spawn } from "node:child_process";
import { once } from "node:events";

const LOCK_WAIT_S = 1200;

/**
 * Runs `work` while no other process of this machine starts or stops the cluster. The lock is the kernel's (flock), so a
 * process that dies lets go of it.
 */
export async function withMachineLock<T>(cache: string, work: () => Promise<T>): Promise<T> {
  mkdirSync(cache, { recursive: true });
  const file = openSync(join(cache, "lock"), "w");
  try {
    // The lock belongs to the open file, which this process keeps after `flock` has ended.
    const locker = spawn("flock", ["--timeout", String(LOCK_WAIT_S), "3"], {
      stdio: ["ignore", "ignore", "inherit", file],
    });
    const [code] = await once(locker, "exit");
    if (code !== 0)
      throw new Error(`Cannot take the test cluster: another process has held it for ${LOCK_WAIT_S} s`);
    return await work();
  } finally {
    closeSync(file);
  }
}
