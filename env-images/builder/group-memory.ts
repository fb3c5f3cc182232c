import { readdir, readFile } from "node:fs/promises";

const PAGE_BYTES = 4096;

/** Resident bytes of all processes of a process group; undefined where there is no /proc to ask. */
export async function groupMemoryBytes(group: number): Promise<number | undefined> {
  let names: string[];
  try {
    names = await readdir("/proc");
  } catch {
    return undefined;
  }
  const sizes = await Promise.all(
    names.filter((name) => /^\d+$/.test(name)).map((pid) => memberBytes(pid, group)),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

async function memberBytes(pid: string, group: number): Promise<number> {
  const line = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  // The second field, the name in parentheses, may hold spaces; what follows does not.
  const fields = line.slice(line.lastIndexOf(")") + 2).split(" ");
  return Number(fields[2]) === group ? Number(fields[21]) * PAGE_BYTES : 0;
}
