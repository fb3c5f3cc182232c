import type { Readable } from "node:stream";
import { KubeError, kubeErrorOf } from "./kube-error.ts";
import type { KubeObject } from "./object.ts";

export type WatchEventType = "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK";

export interface WatchOptions<T extends KubeObject> {
  /** All namespaces when left out. */
  namespace?: string | undefined;
  labelSelector?: string | undefined;
  fieldSelector?: string | undefined;
  /** Only what happened after this version. */
  resourceVersion?: string | undefined;
  signal: AbortSignal;
  /** A connection that says nothing for so long, not even a bookmark, counts as dead. Default 90 s; real servers bookmark each minute. */
  silenceMs?: number;
  /** Called once the server has accepted the watch. */
  onOpen?: () => void;
  /** Called for each piece of data that arrives, bookmarks and blank lines too. */
  onContact?: () => void;
  /** A BOOKMARK carries metadata.resourceVersion only. */
  onEvent: (type: WatchEventType, object: T) => void;
}

/** How a watch ended without fault: the server closed it, or the caller aborted it. */
export type WatchResult = "ended" | "aborted";

const DEFAULT_SILENCE_MS = 90_000;
/** As client-go: the server ends a watch after 5 to 10 minutes, so that clients spread over its replicas again. */
const MIN_WATCH_SECONDS = 300;

/**
 * Runs one watch over `open`, which sends the request and gives the reply's body. Resolves when it ends; throws `KubeError`
 * when it is refused, breaks, falls silent, or the server reports an error in the stream (410: list again).
 */
export async function runWatch<T extends KubeObject>(
  open: (
    query: Record<string, string | boolean | number | undefined>,
    signal: AbortSignal,
  ) => Promise<Readable>,
  options: WatchOptions<T>,
): Promise<WatchResult> {
  const connection = new AbortController();
  const signal = AbortSignal.any([options.signal, connection.signal]);
  const silence = new SilenceTimer(options.silenceMs ?? DEFAULT_SILENCE_MS, () => connection.abort());
  try {
    const body = await open(
      {
        watch: true,
        allowWatchBookmarks: true,
        timeoutSeconds: Math.round(MIN_WATCH_SECONDS * (1 + Math.random())),
        labelSelector: options.labelSelector,
        fieldSelector: options.fieldSelector,
        resourceVersion: options.resourceVersion,
      },
      signal,
    );
    options.onOpen?.();
    await readLines(
      body,
      (line) => deliver(line, options),
      () => {
        silence.touch();
        options.onContact?.();
      },
    );
    return options.signal.aborted ? "aborted" : "ended";
  } catch (error) {
    if (options.signal.aborted) return "aborted";
    if (silence.expired) {
      throw new KubeError(0, "ConnectionFailed", `Watch was silent for ${silence.ms} ms and counts as dead`);
    }
    if (error instanceof KubeError) throw error;
    throw new KubeError(
      0,
      "ConnectionFailed",
      `Watch broke: ${error instanceof Error ? error.message : String(error)}`,
      {
        cause: error,
      },
    );
  } finally {
    silence.stop();
    connection.abort();
  }
}

function deliver<T extends KubeObject>(line: string, options: WatchOptions<T>): void {
  if (options.signal.aborted) return;
  const event: { type: WatchEventType | "ERROR"; object: T } = JSON.parse(line);
  if (event.type === "ERROR") throw kubeErrorOf(200, JSON.stringify(event.object));
  options.onEvent(event.type, event.object);
}

/** Splits a byte stream into lines; blank lines are heartbeats. Bytes are joined before decoding, so that no character is cut. */
async function readLines(body: Readable, onLine: (line: string) => void, onData: () => void): Promise<void> {
  let rest: Buffer[] = [];
  for await (const chunk of body as AsyncIterable<Buffer>) {
    onData();
    let from = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
      const piece = chunk.subarray(from, end);
      from = end + 1;
      const line =
        rest.length > 0 ? Buffer.concat([...rest, piece]).toString("utf8") : piece.toString("utf8");
      rest = [];
      if (line.trim() !== "") onLine(line);
    }
    if (from < chunk.length) rest.push(chunk.subarray(from));
  }
}

/** Calls back when `touch` was not called for `ms`. One interval instead of a timer per chunk. */
class SilenceTimer {
  readonly ms: number;
  expired = false;
  #last = performance.now();
  readonly #timer: NodeJS.Timeout;
  constructor(ms: number, onSilence: () => void) {
    this.ms = ms;
    this.#timer = setInterval(
      () => {
        if (performance.now() - this.#last < ms) return;
        this.expired = true;
        this.stop();
        onSilence();
      },
      Math.max(10, ms / 4),
    );
    this.#timer.unref();
  }
  touch(): void {
    this.#last = performance.now();
  }
  stop(): void {
    clearInterval(this.#timer);
  }
}
