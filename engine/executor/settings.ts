/** Settings of the executor; durations in milliseconds. Defaults in `DEFAULT_SETTINGS`. */
export interface ExecutorSettings {
  /** Namespace of the executor's own Lease. */
  readonly namespace: string;
  /** Pods of one environment that may start at the same time. */
  readonly parallelStarts: number;
  /** Pods of one environment, generic and specialised together; 0 = no limit. */
  readonly maxPodsPerEnvironment: number;
  /** Pods that a pool may grow above its poolsize when calls arrive faster than pods start. */
  readonly poolGrowth: number;
  /** A pod that is not ready after this long is given up. */
  readonly startTimeoutMs: number;
  /** Failed pods that one specialisation survives. */
  readonly specializeAttempts: number;
  /** Bytes of archives held in memory. */
  readonly archiveCacheBytes: number;
  /** Pause between two looks at a specialised pod. */
  readonly pollIntervalMs: number;
  /** How long a pod may be silent beyond its function's timeout. */
  readonly silenceGraceMs: number;
  /** How long pods of an old revision stay published, so that routers can switch before. */
  readonly supersedeDelayMs: number;
  /** Pods of a new revision that are started ahead of its first call when the old one is warm. */
  readonly prewarmPods: number;
  /** Whether error replies of functions carry message and stack. */
  readonly debug: boolean;
}

export const DEFAULT_SETTINGS: ExecutorSettings = {
  namespace: "isotope",
  parallelStarts: 8,
  maxPodsPerEnvironment: 0,
  poolGrowth: 8,
  startTimeoutMs: 120_000,
  specializeAttempts: 3,
  archiveCacheBytes: 128 * 1024 * 1024,
  pollIntervalMs: 5_000,
  silenceGraceMs: 5_000,
  supersedeDelayMs: 1_000,
  prewarmPods: 10,
  debug: false,
};
