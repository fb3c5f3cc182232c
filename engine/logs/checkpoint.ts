import { readFileSync, renameSync, writeFileSync } from "node:fs";

/** Offsets by file identity, as they were when last written; empty when there is no (readable) file. */
export function readCheckpoint(path: string): Map<string, number> {
  try {
    const value: unknown = JSON.parse(readFileSync(path, "utf8"));
    if (typeof value !== "object" || value === null) return new Map();
    return new Map(Object.entries(value).filter(([, offset]) => Number.isSafeInteger(offset)));
  } catch {
    return new Map();
  }
}

/** Replaces the file in one step, so that a crash leaves the old or the new one. */
export function writeCheckpoint(path: string, positions: ReadonlyMap<string, number>): void {
  const temporary = `${path}.tmp`;
  writeFileSync(temporary, JSON.stringify(Object.fromEntries(positions)), { mode: 0o600 });
  renameSync(temporary, path);
}
