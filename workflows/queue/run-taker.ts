import type { RunKey } from "../core/run-record.ts";

/** What the queue asks of the worker beside it. */
export interface RunTaker {
  /**
   * The run may have something to do. Waits until there is room, then claims it and lets it go on by itself. `false`: there was nothing to take (held,
   * finished, of a newer format) or it could not be taken now.
   */
  take(key: RunKey): Promise<boolean>;
  /** Messages wait for a run that this worker holds; one that it does not hold is passed over. */
  nudge(key: RunKey): void;
}
