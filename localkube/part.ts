import type { PodLogs } from "./logs/pod-logs.ts";
import type { Store } from "./store/store.ts";

export interface PartContext {
  store: Store;
  /** Absolute directory for the part's own files; exists. */
  dataDir: string;
  /** Address of the API, for processes that want to call back: `https://127.0.0.1:8891`. */
  url: string;
  kubeconfigPath: string;
  /** Makes `/pods/<name>/log` answer from here. */
  provideLogs(logs: PodLogs): void;
  /** One line to the server's own log (stderr). */
  log(message: string): void;
}

export interface RunningPart {
  /** Resolves when the part has let go of everything: processes, timers, watches. */
  stop(): Promise<void>;
}

/** Something that runs inside the server's process once it serves: the kubelet, a controller. */
export type Part = (context: PartContext) => Promise<RunningPart>;
