import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";

/**
 * Makes the folder for this process's builds, and removes those of processes that are gone. The state folder may be shared:
 * on a laptop all builder pods keep their packages in one.
 */
export async function openBuildsFolder(stateFolder: string): Promise<string> {
  const parent = join(stateFolder, "builds");
  const own = join(parent, String(process.pid));
  await mkdir(parent, { recursive: true, mode: 0o700 });
  for (const name of await readdir(parent)) {
    if (name === String(process.pid) || !isRunning(Number(name))) {
      await rm(join(parent, name), { recursive: true, force: true });
    }
  }
  await mkdir(own, { mode: 0o700 });
  return own;
}

function isRunning(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // Another user's process is a process.
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}
