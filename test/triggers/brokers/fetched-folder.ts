import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { withMachineLock } from "../../machine-lock.ts";

const CACHE = join(homedir(), ".cache", "isotope-brokers");
const TRIES = 4;
const PAUSE_MS = 5_000;

export const fetchedFolder = (name: string): string => join(CACHE, name);

/**
 * The folder of what is fetched once per machine, by the first that asks; others wait for it. `fetch` fills an empty folder and throws where
 * something is missing or not what it should be: then it is asked again a few times. The folder is there whole or not at all.
 */
export async function fetchOnce(name: string, fetch: (folder: string) => Promise<void>): Promise<string> {
  const home = fetchedFolder(name);
  if (existsSync(home)) return home;
  mkdirSync(CACHE, { recursive: true });
  // Where there is no flock, two may fetch at once, and the first wins.
  const inTurn =
    process.platform === "linux" ? withMachineLock : <T>(_: string, work: () => Promise<T>) => work();
  return inTurn(join(CACHE, "locks", name), async () => {
    for (let tries = 1; !existsSync(home); tries++) {
      const made = mkdtempSync(join(CACHE, `${name}-`));
      try {
        await fetch(made);
        renameSync(made, home);
      } catch (error) {
        rmSync(made, { recursive: true, force: true });
        if (existsSync(home)) break;
        if (tries === TRIES) throw error;
        await sleep(tries * PAUSE_MS);
      }
    }
    return home;
  });
}
