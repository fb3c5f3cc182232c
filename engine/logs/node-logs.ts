import { join } from "node:path";
import type { Log } from "../../net/log.ts";
import { createCollector, type PodFacts } from "./collector.ts";
import { type LogStore, openLogStore } from "./log-store.ts";

export interface NodeLogsOptions {
  /** Where containers' logs are, e.g. `/var/log/pods`. */
  readonly podLogs: string;
  /** Folder of the store and of the collector's checkpoint. */
  readonly folder: string;
  readonly maxBytes: number;
  /** By pod UID; asked when lines come. */
  readonly factsOf: (uid: string) => PodFacts | undefined;
  readonly log: Log;
}

/** The logs of one node's containers: collected into a store of its own, which `reader` answers from. */
export interface NodeLogs {
  readonly reader: Pick<LogStore, "query" | "follow">;
  readonly bytes: number;
  /** Begins to collect; everything written since the last stop, in whatever way it came about, is taken up. */
  start(): void;
  /** Collects what is there and closes the store. */
  stop(): void;
}

export function openNodeLogs(options: NodeLogsOptions): NodeLogs {
  const store = openLogStore({ folder: join(options.folder, "lines"), maxBytes: options.maxBytes });
  const collector = createCollector({
    root: options.podLogs,
    checkpointFile: join(options.folder, "checkpoint.json"),
    stored: store.positions(),
    sink: (lines) => store.append(lines),
    factsOf: options.factsOf,
    log: options.log,
  });
  return {
    reader: store,
    get bytes() {
      return store.bytes;
    },
    start: () => collector.start(),
    stop: () => {
      collector.stop();
      store.close();
    },
  };
}
