/**
 * Sends collected lines to the log store.
 *
 * Invariants
 * L1. Lines are sent in the order in which they were collected, one call at a time, and each call is repeated until it is answered: the
 *     store leaves out what it has, so that a repeated call stores nothing twice.
 * L2. What is collected but not sent stays under `maxPendingBytes` and one look's lines: `isFull` stops the reading, and the log files
 *     keep the rest.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { PlatformError } from "../../api/errors.ts";
import { type CollectedLine, type CollectedLines, LinesStored } from "../../api/wire/logs.ts";
import type { Log } from "../../net/log.ts";
import type { SignedClient } from "../../net/signed-client.ts";

export interface LineSenderOptions {
  readonly store: Pick<SignedClient, "postJson">;
  readonly node: string;
  readonly log: Log;
  /** Called when `isFull` turned false. */
  readonly onRoom: () => void;
  readonly maxPendingBytes?: number;
}

export interface LineSender {
  push(lines: readonly CollectedLine[]): void;
  isFull: () => boolean;
  readonly pendingLines: number;
  /** Lines that the store has taken. */
  readonly sentLines: number;
  /** Why nothing is sent now. */
  trouble(): string | undefined;
  /** Sends what is left for at most so long. */
  stop(deadlineMs: number): Promise<void>;
}

const MAX_CALL_LINES = 2_000;
const MAX_CALL_BYTES = 1024 * 1024;
const CALL_TIMEOUT_MS = 15_000;
const MAX_PAUSE_MS = 5_000;

interface Waiting {
  readonly line: CollectedLine;
  readonly bytes: number;
}

export function createLineSender(options: LineSenderOptions): LineSender {
  const { store, node, log, maxPendingBytes = 16 * 2 ** 20 } = options;
  let waiting: Waiting[] = [];
  let pendingBytes = 0;
  let sentLines = 0;
  let failures = 0;
  let trouble: string | undefined;
  let running: Promise<void> | undefined;
  const ending = new AbortController();

  const isFull = (): boolean => pendingBytes >= maxPendingBytes;
  const send = async (lines: readonly CollectedLine[]): Promise<void> => {
    const body: CollectedLines = { node, lines: [...lines] };
    const started = { timeoutMs: CALL_TIMEOUT_MS, signal: ending.signal };
    try {
      await store.postJson("/v1/lines", body, LinesStored, started);
    } catch (error) {
      if (!(error instanceof PlatformError) || error.code !== "bad_request") throw error;
      // The same lines would be refused for ever, and hold up all others.
      log.error("The log store refuses lines; they are left out", { lines: lines.length, error });
    }
  };
  const run = async (): Promise<void> => {
    while (waiting.length > 0 && !ending.signal.aborted) {
      const call = nextCall(waiting);
      try {
        await send(call.map(({ line }) => line));
      } catch (error) {
        failures += 1;
        trouble = error instanceof Error ? error.message : String(error);
        if (failures === 1) log.warn("Cannot send lines to the log store; trying again", { error });
        const pauseMs =
          Math.min(MAX_PAUSE_MS, 100 * 2 ** Math.min(failures, 10)) * (0.75 + Math.random() / 2);
        await sleep(pauseMs, undefined, { signal: ending.signal, ref: false }).catch(() => undefined);
        continue;
      }
      if (failures > 0) log.info("The log store takes lines again", { failures });
      failures = 0;
      trouble = undefined;
      const wasFull = isFull();
      waiting = waiting.slice(call.length);
      for (const { bytes } of call) pendingBytes -= bytes;
      sentLines += call.length;
      if (wasFull && !isFull()) options.onRoom();
    }
  };
  const start = (): void => {
    running ??= run().finally(() => {
      running = undefined;
      if (waiting.length > 0 && !ending.signal.aborted) start();
    });
  };
  return {
    push: (lines) => {
      for (const line of lines) {
        const bytes = line.line.message.length + 300;
        waiting.push({ line, bytes });
        pendingBytes += bytes;
      }
      start();
    },
    isFull,
    get pendingLines() {
      return waiting.length;
    },
    get sentLines() {
      return sentLines;
    },
    trouble: () => trouble,
    stop: async (deadlineMs) => {
      const late = sleep(deadlineMs, undefined, { ref: false });
      await Promise.race([running, late]);
      ending.abort();
      await running;
    },
  };
}

function nextCall(waiting: readonly Waiting[]): Waiting[] {
  let bytes = 0;
  let count = 0;
  for (const one of waiting) {
    if (count > 0 && (count >= MAX_CALL_LINES || bytes + one.bytes > MAX_CALL_BYTES)) break;
    bytes += one.bytes;
    count += 1;
  }
  return waiting.slice(0, count);
}
