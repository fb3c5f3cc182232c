/** A broker of a test's own, on loopback. */
export interface Broker {
  /** Ends it as if the machine had lost its power (SIGKILL), or in order. */
  stop(signal?: NodeJS.Signals): Promise<void>;
  /** Starts it again on the same port and files. */
  start(): Promise<void>;
  /** Ends it and removes its files. */
  remove(): Promise<void>;
}
