import { watch } from "node:fs";
import { type FileHandle, open, readFile, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ApiError, badRequest } from "../api/api-error.ts";
import type { PodLogOptions, PodLogs } from "../logs/pod-logs.ts";
import { nextLine, parseCriLine, tailOffset } from "./cri-log-reader.ts";
import { asPod, type ContainerStatus, type Pod } from "./pod.ts";

const CHUNK_BYTES = 64 * 1024;
/** Changes are told by the file system; this is for what it leaves out. */
const LOOK_AGAIN_MS = 250;

export interface PodLogSource {
  /** `logs/pods/<namespace>_<name>_<uid>` */
  logDir(pod: Pod): string;
  /** Whether the attempt writes no more. */
  isOver(uid: string, container: string, attempt: number): boolean;
}

function attemptOfId(containerId: string | undefined): number | undefined {
  const text = containerId?.slice(containerId.lastIndexOf("/") + 1);
  return text === undefined || !/^\d+$/.test(text) ? undefined : Number(text);
}

const WAITING_WORDS: Readonly<Record<string, string>> = {
  ErrImagePull: "trying and failing to pull image",
  ImagePullBackOff: "trying and failing to pull image",
};

function chooseAttempt(pod: Pod, status: ContainerStatus | undefined, options: PodLogOptions): number {
  const { container } = options;
  const name = pod.metadata.name;
  const before = attemptOfId(status?.lastState.terminated?.containerID);
  if (options.previous) {
    if (before !== undefined) return before;
    throw badRequest(`previous terminated container "${container}" in pod "${name}" not found`);
  }
  const waiting = status?.state.waiting;
  if (status && !waiting) return attemptOfId(status.containerID) ?? status.restartCount;
  if (before !== undefined) return before;
  const reason = waiting?.reason ?? "ContainerCreating";
  throw badRequest(
    `container "${container}" in pod "${name}" is waiting to start: ${WAITING_WORDS[reason] ?? reason}`,
  );
}

function sinceText(options: PodLogOptions): string | undefined {
  if (options.sinceSeconds !== undefined) {
    return `${new Date(Date.now() - options.sinceSeconds * 1000).toISOString().slice(0, -1)}000000Z`;
  }
  if (options.sinceTime === undefined) return undefined;
  const ms = Date.parse(options.sinceTime);
  if (Number.isNaN(ms)) throw badRequest(`sinceTime must be an RFC 3339 time, got "${options.sinceTime}"`);
  const fraction = /\.(\d+)/.exec(options.sinceTime)?.[1] ?? "";
  return `${new Date(ms).toISOString().slice(0, 19)}.${fraction.slice(0, 9).padEnd(9, "0")}Z`;
}

/** Turns log file bytes into the text a reader wants, line by line, within the byte limit. */
function makeRenderer(options: PodLogOptions): { render(data: Buffer): Buffer; full(): boolean } {
  const since = sinceText(options);
  let rest: Buffer = Buffer.alloc(0);
  let lineOpen = false;
  let skipping = false;
  let leftBytes = options.limitBytes ?? Number.POSITIVE_INFINITY;
  return {
    full: () => leftBytes <= 0,
    render(data) {
      let todo = rest.length > 0 ? Buffer.concat([rest, data]) : data;
      const out: Buffer[] = [];
      for (let cut = nextLine(todo); cut; cut = nextLine(todo)) {
        todo = cut.rest;
        const record = parseCriLine(cut.line);
        if (!record) continue;
        if (!lineOpen) skipping = since !== undefined && record.time < since;
        if (!skipping) {
          if (!lineOpen && options.timestamps) out.push(Buffer.from(`${record.time} `));
          out.push(record.text);
          if (record.ends) out.push(Buffer.from("\n"));
        }
        lineOpen = !record.ends;
      }
      rest = Buffer.from(todo);
      const text = Buffer.concat(out);
      const taken = text.length > leftBytes ? text.subarray(0, leftBytes) : text;
      leftBytes -= taken.length;
      return taken;
    },
  };
}

async function readIfThere(file: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch {
    return Buffer.alloc(0);
  }
}

/** Resolves at the next change in the folder, after a short while, or when the reader leaves. */
function makeWaiter(folder: string, signal: AbortSignal): { wait(): Promise<void>; close(): void } {
  let wake = (): void => {};
  let changed = false;
  const tell = (): void => {
    changed = true;
    wake();
  };
  const watcher = watch(folder, { persistent: false }, tell);
  watcher.on("error", () => {});
  signal.addEventListener("abort", tell);
  return {
    wait: () =>
      new Promise((resolve) => {
        const timer = setTimeout(() => wake(), changed ? 0 : LOOK_AGAIN_MS);
        wake = () => {
          clearTimeout(timer);
          changed = false;
          resolve();
        };
      }),
    close() {
      watcher.close();
      signal.removeEventListener("abort", tell);
    },
  };
}

async function readMore(handle: FileHandle, position: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
  const { bytesRead } = await handle.read(buffer, 0, CHUNK_BYTES, position);
  return buffer.subarray(0, bytesRead);
}

/** What is appended to `file` after `position`, over its turn-overs, until the writer is done or the reader leaves. */
async function* followFile(
  file: string,
  position: number,
  isOver: () => boolean,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const waiter = makeWaiter(dirname(file), signal);
  let handle = await open(file, "r");
  let at = position;
  try {
    while (!signal.aborted) {
      const over = isOver();
      const data = await readMore(handle, at);
      if (data.length > 0) {
        at += data.length;
        yield data;
        continue;
      }
      const [mine, current] = await Promise.all([handle.stat(), stat(file).catch(() => undefined)]);
      if (current && current.ino !== mine.ino) {
        const tail = await readMore(handle, at);
        if (tail.length > 0) {
          at += tail.length;
          yield tail;
          continue;
        }
        await handle.close();
        handle = await open(file, "r");
        at = 0;
        continue;
      }
      if (over) return;
      await waiter.wait();
    }
  } finally {
    waiter.close();
    await handle.close();
  }
}

/** The output of containers, read from the CRI log files that the shim writes. */
export function makePodLogs(source: PodLogSource): PodLogs {
  return {
    async open(object, options, signal) {
      const pod = asPod(object);
      const statuses = [
        ...(pod.status?.containerStatuses ?? []),
        ...(pod.status?.initContainerStatuses ?? []),
      ];
      const status = statuses.find(({ name }) => name === options.container);
      const attempt = chooseAttempt(pod, status, options);
      const file = join(source.logDir(pod), options.container, `${attempt}.log`);
      const renderer = makeRenderer(options);
      const current = await stat(file).catch(() => undefined);
      if (!current) {
        throw new ApiError(
          404,
          "NotFound",
          `the log of container "${options.container}" in pod "${pod.metadata.name}" is gone`,
        );
      }
      const older = await readIfThere(`${file}.1`);
      const newer = await readIfThere(file);
      let all: Buffer = older.length > 0 ? Buffer.concat([older, newer]) : newer;
      if (options.tailLines !== undefined) all = all.subarray(tailOffset(all, options.tailLines));
      const isOver = (): boolean => source.isOver(pod.metadata.uid, options.container, attempt);
      return (async function* read(): AsyncGenerator<Uint8Array> {
        for (
          let offset = 0;
          offset < all.length && !renderer.full() && !signal.aborted;
          offset += CHUNK_BYTES
        ) {
          const text = renderer.render(all.subarray(offset, offset + CHUNK_BYTES));
          if (text.length > 0) yield text;
        }
        all = Buffer.alloc(0);
        if (!options.follow) return;
        for await (const data of followFile(file, newer.length, isOver, signal)) {
          const text = renderer.render(data);
          if (text.length > 0) yield text;
          if (renderer.full()) return;
        }
      })();
    },
  };
}
