import { type Dirent, readdirSync } from "node:fs";
import { join } from "node:path";

/** One container's log folder, `<root>/<namespace>_<pod>_<uid>/<container>`. */
export interface LogFolder {
  readonly path: string;
  readonly namespace: string;
  readonly pod: string;
  readonly uid: string;
  readonly container: string;
}

const POD_FOLDER = /^([a-z0-9-]+)_([a-z0-9.-]+)_([A-Za-z0-9-]+)$/;
const LOG_FILE = /^(\d+)\.log$/;

/** All containers that have a log folder. Folders that vanish meanwhile are left out. */
export function findLogFolders(root: string): LogFolder[] {
  return entries(root).flatMap((pod) => {
    const match = pod.isDirectory() ? POD_FOLDER.exec(pod.name) : null;
    if (!match) return [];
    const [, namespace = "", name = "", uid = ""] = match;
    return entries(join(root, pod.name))
      .filter((container) => container.isDirectory())
      .map((container) => ({
        path: join(root, pod.name, container.name),
        namespace,
        pod: name,
        uid,
        container: container.name,
      }));
  });
}

/** The log files of a container, oldest start first: `0.log`, `1.log`, … What was rotated away from them is not among them. */
export function logFiles(folder: string): string[] {
  return entries(folder)
    .filter((entry) => LOG_FILE.test(entry.name))
    .sort((a, b) => Number.parseInt(a.name, 10) - Number.parseInt(b.name, 10))
    .map((entry) => join(folder, entry.name));
}

/** Files that a log file was renamed to, e.g. `0.log.1`; compressed ones cannot be read on. */
export function rotatedFiles(folder: string, logFile: string): string[] {
  const prefix = `${logFile.slice(folder.length + 1)}.`;
  return entries(folder)
    .filter((entry) => entry.name.startsWith(prefix) && !/\.(gz|tmp)$/.test(entry.name))
    .map((entry) => join(folder, entry.name))
    .sort();
}

function entries(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch (error) {
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR"))
      return [];
    throw error;
  }
}
