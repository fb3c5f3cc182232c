/** What a builder may use. Read once at the start; the worker processes get it as JSON. */
export interface BuilderSettings {
  /** Folder for everything the builder writes; emptied of half-done work at the start. */
  readonly stateFolder: string;
  readonly npm: NpmSettings;
  readonly maxSourceBytes: number;
  readonly maxArtifactBytes: number;
  /** Builds at the same time. */
  readonly concurrency: number;
  /** A build whose processes hold more than this together is stopped. */
  readonly maxMemoryBytes: number;
  /** An unused worker process is ended after this long. */
  readonly idleWorkerMs: number;
}

export interface NpmSettings {
  /** The npm command. */
  readonly command: string;
  /** npm's own cache; undefined = a folder in the state folder. */
  readonly cacheFolder: string | undefined;
  /** Packages whose install scripts may run. */
  readonly allowScripts: readonly string[];
  /** Versions younger than this are not installed, in days; 0 = any. */
  readonly minReleaseAgeDays: number;
  /** Limit of one installation. */
  readonly timeoutMs: number;
  /** Installed sets of packages that are kept. */
  readonly keptInstallations: number;
}
