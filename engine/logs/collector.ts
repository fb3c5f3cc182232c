/**
 * Collects the output of all containers of a node from their log files.
 *
 * Invariants
 * N1. Lines are handed to the sink before the position behind them is remembered; after a crash, reading resumes at the later of
 *     the checkpoint and what the sink already holds. So no line is lost, and none is stored twice while its file exists.
 * N2. File notifications only make it faster: every folder is looked at every `scanMs` anyway.
 * N3. A container's folder that is gone is read to its end through the open descriptor, then forgotten.
 * N4. While it is not known whether a container is to be read, its files are held open, so that N3 holds for it too.
 */
import { type FSWatcher, watch } from "node:fs";
import type { Log } from "../../net/log.ts";
import { readCheckpoint, writeCheckpoint } from "./checkpoint.ts";
import { FileTail, fileIdentity } from "./file-tail.ts";
import { findLogFolders, type LogFolder, logFiles, rotatedFiles } from "./log-folders.ts";
import { type LineOrigin, logLineOf } from "./log-line.ts";
import type { PodFacts } from "../../kube/pod-facts.ts";
import type { StoredLine } from "./segment.ts";

export interface CollectorOptions {
  root: string;
  /** Without one, `stored` alone says where reading resumes. */
  checkpointFile?: string;
  /** Positions that the sink holds already; asked once, at the start. */
  stored: ReadonlyMap<string, number>;
  /** Takes lines of one pod. */
  sink: (lines: readonly StoredLine[], uid: string) => void;
  /** By pod UID. */
  factsOf: (uid: string) => PodFacts | undefined;
  /** Whether a pod's containers are to be read; undefined = not known yet. Default: all. */
  isWanted?: (uid: string) => boolean | undefined;
  /** The sink knows every file that it has lines of: a rotated file that it does not know was never read, and is read whole. */
  readsUnknownRotated?: boolean;
  /** While true nothing is read: the sink has enough. */
  isFull?: () => boolean;
  log: Log;
  /** How often everything is looked at whether or not a notification came. */
  scanMs?: number;
  checkpointMs?: number;
}

export interface Collector {
  start(): void;
  /** Looks at all containers soon: `isWanted` or `isFull` changed. */
  look(): void;
  /** Reads what is there and writes the checkpoint. */
  stop(): void;
  /** Lets go of everything at once: nothing more is read, and no checkpoint is written. */
  abandon(): void;
  readonly containers: number;
}

interface Container {
  readonly folder: LogFolder;
  tails: Map<string, FileTail>;
  watcher: FSWatcher | undefined;
  facts: PodFacts | undefined;
}

const NO_FACTS: PodFacts = { function: "", revision: "" };

export function createCollector(options: CollectorOptions): Collector {
  const containers = new Map<string, Container>();
  const dirty = new Set<Container>();
  const { checkpointFile } = options;
  const resume = checkpointFile === undefined ? new Map<string, number>() : readCheckpoint(checkpointFile);
  for (const [file, offset] of options.stored) resume.set(file, Math.max(offset, resume.get(file) ?? 0));
  const timers: NodeJS.Timeout[] = [];
  let rootWatcher: FSWatcher | undefined;
  let scheduled = false;
  let lastCheckpoint = "";

  const touch = (container: Container) => {
    dirty.add(container);
    if (scheduled) return;
    scheduled = true;
    setImmediate(() => {
      scheduled = false;
      drainDirty();
    });
  };
  const drainDirty = () => {
    for (const container of dirty) {
      dirty.delete(container);
      if (visit(container, options, resume)) touch(container);
    }
  };

  const scan = () => {
    const present = new Set<string>();
    for (const folder of findLogFolders(options.root)) {
      present.add(folder.path);
      const container = containers.get(folder.path) ?? addContainer(folder);
      touch(container);
    }
    for (const [path, container] of containers) {
      if (!present.has(path) && finish(container, options, resume)) containers.delete(path);
    }
    rootWatcher ??= watchFolder(options.root, scan);
  };
  const addContainer = (folder: LogFolder): Container => {
    const container: Container = { folder, tails: new Map(), watcher: undefined, facts: undefined };
    container.watcher = watchFolder(folder.path, () => touch(container));
    containers.set(folder.path, container);
    return container;
  };
  const checkpoint = () => {
    if (checkpointFile === undefined) return;
    const positions = positionsOf(containers.values());
    const text = JSON.stringify([...positions]);
    if (text === lastCheckpoint) return;
    writeCheckpoint(checkpointFile, positions);
    lastCheckpoint = text;
  };

  const abandon = () => {
    for (const timer of timers) clearInterval(timer);
    rootWatcher?.close();
    for (const container of containers.values()) closeContainer(container);
    containers.clear();
    dirty.clear();
  };

  return {
    start: () => {
      const look = guarded(options.log, "look for container logs", scan);
      look();
      timers.push(setInterval(look, options.scanMs ?? 2_000));
      timers.push(
        setInterval(
          guarded(options.log, "write the log checkpoint", checkpoint),
          options.checkpointMs ?? 1_000,
        ),
      );
      for (const timer of timers) timer.unref();
    },
    look: () => {
      for (const container of containers.values()) touch(container);
    },
    stop: () => {
      for (const timer of timers) clearInterval(timer);
      guarded(options.log, "read the container logs", () => {
        scan();
        drainDirty();
      })();
      guarded(options.log, "write the log checkpoint", checkpoint)();
      abandon();
    },
    abandon,
    get containers() {
      return containers.size;
    },
  };
}

/** An action whose failure is logged: collecting goes on with the next look. */
function guarded(log: Log, what: string, action: () => void): () => void {
  return () => {
    try {
      action();
    } catch (error) {
      log.warn(`Cannot ${what}`, { error });
    }
  };
}

/** Reads what is new of a container's files; true when there is more. */
function readContainer(
  container: Container,
  options: CollectorOptions,
  resume: Map<string, number>,
): boolean {
  const resumeAt = (file: string): number => takeResume(resume, file);
  const present = logFiles(container.folder.path);
  for (const path of present) {
    if (container.tails.has(path)) continue;
    // What was rotated away while nobody was reading.
    for (const rotated of rotatedFiles(container.folder.path, path)) {
      if (!options.readsUnknownRotated && !resume.has(fileIdentity(rotated))) continue;
      const rest = new FileTail(rotated, resumeAt);
      deliver(container, rest, options);
      rest.close();
    }
    container.tails.set(path, new FileTail(path, resumeAt));
  }
  let more = false;
  for (const [path, tail] of container.tails) {
    more = deliver(container, tail, options) || more;
    if (!present.includes(path) && !more) {
      tail.close();
      container.tails.delete(path);
    }
  }
  return more;
}

const always = (): boolean => true;
const never = (): boolean => false;

/** Reads what is new of a container if it is to be read; true when there is more. */
function visit(container: Container, options: CollectorOptions, resume: Map<string, number>): boolean {
  const { isWanted = always, isFull = never } = options;
  const wanted = isWanted(container.folder.uid);
  if (wanted === undefined) holdContainer(container, resume);
  return wanted === true && !isFull() && readContainer(container, options, resume);
}

/** Reads the rest of a container that is gone and closes it; false when that has to wait (N3, N4). */
function finish(container: Container, options: CollectorOptions, resume: Map<string, number>): boolean {
  const { isWanted = always, isFull = never } = options;
  const wanted = isWanted(container.folder.uid);
  if (wanted === undefined) return false;
  let more = wanted;
  while (more && !isFull()) more = readContainer(container, options, resume);
  if (more) return false;
  closeContainer(container);
  return true;
}

/** Opens a container's files without reading them (N4). */
function holdContainer(container: Container, resume: Map<string, number>): void {
  for (const path of logFiles(container.folder.path)) {
    if (container.tails.has(path)) continue;
    const tail = new FileTail(path, (file) => takeResume(resume, file));
    tail.hold();
    container.tails.set(path, tail);
  }
}

function takeResume(resume: Map<string, number>, file: string): number {
  const offset = resume.get(file) ?? 0;
  resume.delete(file);
  return offset;
}

function deliver(container: Container, tail: FileTail, options: CollectorOptions): boolean {
  const { batches, more } = tail.look();
  if (batches.length === 0) return more;
  container.facts = options.factsOf(container.folder.uid) ?? container.facts;
  const { namespace, pod, container: name } = container.folder;
  const origin: LineOrigin = { namespace, pod, container: name, ...(container.facts ?? NO_FACTS) };
  const lines = batches.flatMap((batch) =>
    batch.lines.map((line) => ({ line: logLineOf(line, origin), from: `${batch.file}@${line.endOffset}` })),
  );
  options.sink(lines, container.folder.uid);
  return more;
}

function positionsOf(containers: Iterable<Container>): Map<string, number> {
  const positions = new Map<string, number>();
  for (const { tails } of containers) {
    for (const tail of tails.values()) {
      if (tail.position) positions.set(tail.position.file, tail.position.offset);
    }
  }
  return positions;
}

function closeContainer(container: Container): void {
  container.watcher?.close();
  for (const tail of container.tails.values()) tail.close();
  container.tails.clear();
}

/** Notifications where the system has them; without (too many watches, network disks) the scan alone does it. */
function watchFolder(path: string, onChange: () => void): FSWatcher | undefined {
  try {
    const watcher = watch(path, { persistent: false }, onChange);
    watcher.on("error", () => watcher.close());
    return watcher;
  } catch {
    return undefined;
  }
}
