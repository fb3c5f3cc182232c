import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";

interface OldLog {
  folder: string;
  bytes: number;
  changedMs: number;
}

async function measure(folder: string): Promise<OldLog> {
  let bytes = 0;
  let changedMs = 0;
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const info = await stat(join(entry.parentPath, entry.name)).catch(() => undefined);
    bytes += info?.size ?? 0;
    changedMs = Math.max(changedMs, info?.mtimeMs ?? 0);
  }
  return { folder, bytes, changedMs };
}

/**
 * Removes the logs of pods that are gone, oldest first, until those left are no more than `maxBytes` together.
 * Folders under `logsDir` are named `<namespace>_<name>_<uid>`; those of known pods stay.
 */
export async function boundLogs(
  logsDir: string,
  isKnown: (uid: string) => boolean,
  maxBytes: number,
): Promise<void> {
  const names = await readdir(logsDir);
  const gone = names.filter((name) => !isKnown(name.slice(name.lastIndexOf("_") + 1)));
  const logs = await Promise.all(gone.map((name) => measure(join(logsDir, name))));
  let total = logs.reduce((sum, { bytes }) => sum + bytes, 0);
  for (const { folder, bytes } of logs.sort((left, right) => left.changedMs - right.changedMs)) {
    if (total <= maxBytes) return;
    await rm(folder, { recursive: true, force: true });
    total -= bytes;
  }
}
