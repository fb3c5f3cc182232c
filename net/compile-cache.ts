import { accessSync, constants } from "node:fs";
import { join, resolve } from "node:path";

const ROOT = resolve(import.meta.dirname, "..");

/**
 * Folder in which the platform's processes keep what they compile, for NODE_COMPILE_CACHE: a process that finds its code there starts in half the time and has
 * no compiler in memory. It lies beside the program, for all platforms that run from it; undefined where nothing may be written there.
 */
export function compileCacheFolder(): string | undefined {
  try {
    accessSync(ROOT, constants.W_OK);
    return join(ROOT, ".cache", "compile");
  } catch {
    return undefined;
  }
}
