import { type FSWatcher, watch } from "node:fs";
import { dirname } from "node:path";

/** How long nothing must change before a change counts as finished: editors write a file in several steps. */
const SETTLE_MS = 15;

/**
 * Watches folders (not files, which editors replace) and reports changed paths, several at once when they come together.
 * `update` says anew which folders matter.
 */
export interface FileWatch {
  update(folders: Iterable<string>): void;
  close(): void;
}

export function watchFolders(onChange: (paths: ReadonlySet<string>) => void): FileWatch {
  const watchers = new Map<string, FSWatcher>();
  let changed = new Set<string>();
  let timer: NodeJS.Timeout | undefined;
  const report = (): void => {
    const paths = changed;
    changed = new Set();
    onChange(paths);
  };
  const open = (folder: string): FSWatcher | undefined => {
    try {
      const watcher = watch(folder, (_event, name) => {
        if (name === null) return;
        changed.add(`${folder}/${name}`);
        clearTimeout(timer);
        timer = setTimeout(report, SETTLE_MS);
      });
      watcher.on("error", () => {
        watchers.get(folder)?.close();
        watchers.delete(folder);
      });
      return watcher;
    } catch {
      // The folder went away meanwhile: its parent reports that.
      return undefined;
    }
  };
  return {
    update(folders) {
      const wanted = new Set(folders);
      for (const [folder, watcher] of watchers) {
        if (wanted.has(folder)) continue;
        watcher.close();
        watchers.delete(folder);
      }
      for (const folder of wanted) {
        if (watchers.has(folder)) continue;
        const watcher = open(folder);
        if (watcher) watchers.set(folder, watcher);
      }
    },
    close() {
      clearTimeout(timer);
      for (const watcher of watchers.values()) watcher.close();
      watchers.clear();
    },
  };
}

/** Folders of files. */
export const foldersOf = (paths: Iterable<string>): Set<string> =>
  new Set([...paths].map((path) => dirname(path)));
