import { linkSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { processIdentity } from "./process-identity.ts";

/**
 * One supervisor per home: writes the lock file, which is valid as long as the process named in it runs.
 * @returns what releases the lock.
 * @throws {Error} naming the process, when another supervisor holds it.
 */
export function lockHome(path: string): () => void {
  const content = `${process.pid} ${processIdentity(process.pid) ?? ""}\n`;
  const own = `${path}.${process.pid}`;
  writeFileSync(own, content, { mode: 0o600 });
  try {
    for (let attempt = 0; attempt < 3; attempt++) {
      try {
        // link() fails when the file exists: of two that start at once, one wins.
        linkSync(own, path);
        return () => rmSync(path, { force: true });
      } catch {
        const holder = holderOf(path);
        if (holder !== undefined) {
          throw new Error(
            `Cannot start: Isotope runs already in this folder as process ${holder}; stop it, or choose another --home`,
          );
        }
        rmSync(path, { force: true });
      }
    }
    throw new Error(`Cannot start: the lock "${path}" keeps being taken`);
  } finally {
    rmSync(own, { force: true });
  }
}

function holderOf(path: string): number | undefined {
  try {
    const [pid, identity] = readFileSync(path, "utf8").trim().split(" ");
    const running = processIdentity(Number(pid));
    return running !== undefined && running === identity ? Number(pid) : undefined;
  } catch {
    return undefined;
  }
}
