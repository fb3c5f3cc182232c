/**
 * Moves the write-ahead log into the database file now and then, on a thread of its own, since that waits for the disk several times.
 *
 * Invariants:
 * 1. The first pass runs while the log is written on. Where it was, a second one runs while writes are held, which takes the little that
 *    came meanwhile: only a log that is wholly moved begins anew, so without it the log would grow for as long as writes go on.
 * 2. The log does not grow beyond MOST times its length; then writes wait.
 * 3. The thread exists only while there is work for it, and a little longer.
 */
import { Worker } from "node:worker_threads";

/** How long the log becomes, about, before it is moved: the sooner it begins anew, the sooner waiting for the disk is no matter of a file that grows. */
export const CHECKPOINT_BYTES = 4 * 1024 * 1024;
const IDLE_MS = 5_000;
/** Writes that come faster than the log is moved wait when it is this many times as long. */
const MOST = 4;

export class Checkpoints {
  readonly #file: string;
  readonly #afterBytes: number;
  readonly #onRelease: () => void;
  readonly #onFatal: (error: unknown) => void;
  #bytes = 0;
  #phase: "none" | "beside" | "holding" = "none";
  #writtenSince = false;
  #thread: Worker | undefined;
  #idle: NodeJS.Timeout | undefined;

  /** @param onRelease Writes may go on. @param onFatal The log cannot be moved. */
  constructor(file: string, afterBytes: number, onRelease: () => void, onFatal: (error: unknown) => void) {
    this.#file = file;
    this.#afterBytes = afterBytes;
    this.#onRelease = onRelease;
    this.#onFatal = onFatal;
  }

  /** While true, nothing may be written. */
  get holdsWrites(): boolean {
    return this.#phase === "holding" || this.#bytes > MOST * this.#afterBytes;
  }

  /** Takes note of some `bytes` more in the log. */
  written(bytes: number): void {
    this.#bytes += bytes;
    this.#writtenSince = true;
    if (this.#bytes < this.#afterBytes || this.#phase !== "none") return;
    this.#phase = "beside";
    this.#pass();
  }

  #pass(): void {
    this.#writtenSince = false;
    clearTimeout(this.#idle);
    this.#thread ??= this.#startThread();
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
    this.#thread.postMessage("checkpoint");
  }

  #passed(): void {
    if (this.#phase === "beside" && this.#writtenSince) {
      this.#phase = "holding";
      this.#pass();
      return;
    }
    this.#phase = "none";
    this.#bytes = 0;
    this.#idle = setTimeout(() => this.stop(), IDLE_MS).unref();
    this.#onRelease();
  }

  #startThread(): Worker {
    const thread = new Worker(new URL("./checkpoint-thread.mjs", import.meta.url), {
      workerData: { file: this.#file },
      execArgv: ["--disable-warning=ExperimentalWarning"],
      resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 2 },
    });
    thread.unref();
    // After its end nothing that a thread still says counts: the database may be closed.
    thread.on("message", () => {
      if (this.#thread === thread) this.#passed();
    });
    thread.on("error", (error) => {
      if (this.#thread === thread) this.#onFatal(error);
    });
    return thread;
  }

  /** Ends the thread. */
  stop(): void {
    clearTimeout(this.#idle);
    const thread = this.#thread;
    this.#thread = undefined;
    void thread?.terminate();
  }
}
