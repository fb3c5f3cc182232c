import { DefinitionError } from "../definition/definition.ts";
import type { HostFrame, HostRequest } from "./host-messages.ts";
import type { HostExit, HostProcess, StartHost } from "./host-process.ts";

/**
 * One definition host, started when it is needed and again when it has died.
 *
 * Invariants:
 * 1. A host answers in order and in batches: whatever ends it, it was busy with one of the first `MAX_BATCH` requests, of the same definition as the head. These
 *    are the suspects, and are asked again one by one in a fresh host; one that ends that host too fails with it, and nobody else's request does.
 * 2. Every request is answered or rejected, once.
 * 3. A time limit counts against a definition only if it had the processor for it: on a busy machine it is asked again with more.
 */
export interface DefinitionHost {
  /** The answer's `value`, with what the code wrote to its console. Rejects with `DefinitionError`. */
  call(source: CodeSource, method: HostRequest["method"], args: readonly string[]): Promise<HostAnswer>;
  /** Of the process that runs now. */
  readonly pid: number | undefined;
  close(): void;
}

export interface CodeSource {
  /** sha256 of the code. */
  readonly digest: string;
  /** A script that leaves its workflow in the variable `__isotopeWorkflow`. */
  readonly code: string;
}

export interface HostAnswer {
  readonly value: unknown;
  readonly lines: readonly { readonly label: string; readonly value: string }[];
}

export interface HostOptions {
  readonly start: StartHost;
  /** Of one transition; default 200. */
  readonly deadlineMs?: number | undefined;
  /** Default 64. */
  readonly heapMb?: number | undefined;
  /** Default 256. */
  readonly memoryMb?: number | undefined;
  /** A host without work is ended after this; default 5 min. */
  readonly idleMs?: number | undefined;
  readonly onEvent?: ((event: HostEvent) => void) | undefined;
}
export type HostEvent =
  | { readonly kind: "started"; readonly pid: number | undefined }
  | { readonly kind: "ended"; readonly why: HostExit };

interface Job {
  readonly source: CodeSource;
  readonly method: HostRequest["method"];
  readonly args: readonly string[];
  readonly settle: (result: HostAnswer | DefinitionError) => void;
  /** Hosts that ended while they may have been busy with it. */
  deaths: number;
  /** Times that it ran out of time without having had the processor. */
  starved: number;
}
interface Sent {
  readonly id: number;
  /** Absent for what the host is told besides. */
  readonly job?: Job;
  /** A definition's code is being loaded for this one. */
  readonly loadFor?: Job;
  readonly timeoutMs: number;
  /** Of its arguments. */
  readonly chars: number;
}

/** Requests that a host may have at a time: enough to keep it busy, few enough that little is asked again when it dies. */
const WINDOW = 64;
/** What they are about may be large: so much of it is on its way at a time, or one request. */
const MAX_SENT_CHARS = 16 * 1024 * 1024;
/** The same as in `program.ts`. */
const MAX_BATCH = 16;
const MAX_CONTEXTS = 64;
const LOAD_DEADLINE_MS = 3_000;
/** The `vm`'s own limit ends a definition in time; only when it does not, the process is killed. */
const KILL_GRACE_MS = 2_000;
const START_DEADLINE_MS = 30_000;
const MAX_DEATHS = { memory: 2, protocol: 2, stuck: 2, killed: 1, lost: 4, gone: 4 } as const;
const MAX_STARVED = 3;
/** Share of its time limit for which code must have had the processor for the limit to count. */
const HAD_THE_PROCESSOR = 0.75;
const MAX_FAILED_STARTS = 5;
/** A host that has taken this share of its memory is replaced when it has nothing to do. */
const REPLACE_AT = 0.7;
const LOOK_EVERY = 256;

export function definitionHost(options: HostOptions): DefinitionHost {
  return new Host(options);
}

const unavailable = (message: string): DefinitionError =>
  new DefinitionError("definition_unavailable", message);

class Host implements DefinitionHost {
  readonly #options: HostOptions;
  readonly #deadlineMs: number;
  readonly #memoryMb: number;
  readonly #queue: Job[] = [];
  #sent: Sent[] = [];
  #process: HostProcess | undefined;
  #ready = false;
  #closed = false;
  #failedStarts = 0;
  #nextId = 1;
  #answered = 0;
  #headTimer: NodeJS.Timeout | undefined;
  #idleTimer: NodeJS.Timeout | undefined;
  /** Digests that the process has, the least recently used first, with what went wrong when they were loaded. */
  readonly #loaded = new Map<string, DefinitionError | undefined>();

  constructor(options: HostOptions) {
    this.#options = options;
    this.#deadlineMs = options.deadlineMs ?? 200;
    this.#memoryMb = options.memoryMb ?? 256;
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  call(source: CodeSource, method: HostRequest["method"], args: readonly string[]): Promise<HostAnswer> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(unavailable("The definition host is closed"));
      const settle = (result: HostAnswer | DefinitionError): void =>
        result instanceof DefinitionError ? reject(result) : resolve(result);
      this.#queue.push({ source, method, args, settle, deaths: 0, starved: 0 });
      this.#pump();
    });
  }

  close(): void {
    this.#closed = true;
    this.#retire();
    const error = unavailable("The definition host is closed");
    for (const { job } of this.#sent.splice(0)) job?.settle(error);
    for (const job of this.#queue.splice(0)) job.settle(error);
  }

  #begin(): void {
    const { start, heapMb = 64, onEvent } = this.#options;
    this.#ready = false;
    this.#loaded.clear();
    const started: HostProcess = start({
      heapMb,
      memoryMb: this.#memoryMb,
      onFrame: (frame) => {
        if (this.#process === started) this.#onFrame(frame);
      },
      onExit: (why) => {
        onEvent?.({ kind: "ended", why });
        if (this.#process === started) this.#onExit(why);
      },
    });
    this.#process = started;
    this.#armHead();
    onEvent?.({ kind: "started", pid: started.pid });
  }

  /** Ends a process that has nothing to do, or whose work is of no interest any more. */
  #retire(): void {
    clearTimeout(this.#headTimer);
    clearTimeout(this.#idleTimer);
    const old = this.#process;
    this.#process = undefined;
    this.#ready = false;
    old?.kill("killed");
  }

  #armHead(): void {
    clearTimeout(this.#headTimer);
    const [head] = this.#sent;
    const limitMs = this.#ready ? head && head.timeoutMs + KILL_GRACE_MS : START_DEADLINE_MS;
    if (limitMs !== undefined) this.#headTimer = setTimeout(() => this.#process?.kill("stuck"), limitMs);
  }

  #write(
    digest: string,
    method: HostRequest["method"],
    args: readonly string[],
    entry: Omit<Sent, "id" | "chars">,
  ): void {
    const id = this.#nextId++;
    const chars = args.reduce((sum, text) => sum + text.length, 0);
    this.#sent.push({ id, chars, ...entry });
    this.#process?.send({ id, digest, method, timeoutMs: entry.timeoutMs, args });
  }

  #send(job: Job): void {
    const { digest, code } = job.source;
    if (!this.#loaded.has(digest)) {
      this.#makeRoom();
      this.#write(digest, "load", [code], { loadFor: job, timeoutMs: LOAD_DEADLINE_MS * 2 ** job.starved });
    }
    // To the end: the most recently used.
    const error = this.#loaded.get(digest);
    this.#loaded.delete(digest);
    this.#loaded.set(digest, error);
    this.#write(digest, job.method, job.args, { job, timeoutMs: this.#deadlineMs * 2 ** job.starved });
  }

  #makeRoom(): void {
    const [oldest] = this.#loaded.keys();
    if (this.#loaded.size < MAX_CONTEXTS || oldest === undefined) return;
    this.#loaded.delete(oldest);
    this.#write(oldest, "drop", [], { timeoutMs: LOAD_DEADLINE_MS });
  }

  #pump(): void {
    if (this.#closed || this.#queue.length === 0) return;
    clearTimeout(this.#idleTimer);
    if (!this.#process) this.#begin();
    if (!this.#ready) return;
    const wasIdle = this.#sent.length === 0;
    while (this.#sent.length < WINDOW && this.#sentChars < MAX_SENT_CHARS && this.#maySend()) {
      const job = this.#queue.shift();
      if (job) this.#send(job);
    }
    if (wasIdle && this.#sent.length > 0) {
      this.#process?.watch(true);
      this.#armHead();
    }
  }

  get #sentChars(): number {
    return this.#sent.reduce((sum, { chars }) => sum + chars, 0);
  }

  /** A suspect is alone with its host. */
  #maySend(): boolean {
    const [job] = this.#queue;
    if (!job || this.#sent.some(({ job: other }) => other && other.deaths > 0)) return false;
    return job.deaths === 0 || this.#sent.length === 0;
  }

  #onFrame(frame: HostFrame): void {
    const [head] = this.#sent;
    if (!this.#ready) {
      this.#ready = true;
      this.#failedStarts = 0;
      clearTimeout(this.#headTimer);
    } else if (head?.id !== frame.id) {
      this.#process?.kill("protocol");
      return;
    } else {
      this.#sent.shift();
      this.#settle(head, frame);
      if (this.#sent.length === 0) this.#rest();
      else this.#armHead();
    }
    this.#pump();
  }

  #rest(): void {
    clearTimeout(this.#headTimer);
    this.#process?.watch(false);
    const look = ++this.#answered % LOOK_EVERY === 0;
    if (look && (this.#process?.residentMb() ?? 0) > this.#memoryMb * REPLACE_AT) return this.#retire();
    clearTimeout(this.#idleTimer);
    this.#idleTimer = setTimeout(() => this.#retire(), this.#options.idleMs ?? 300_000).unref();
  }

  #settle({ job, loadFor, timeoutMs }: Sent, frame: HostFrame): void {
    if (loadFor) {
      const error = failure(frame, timeoutMs, "load");
      if (mayAskAgain(loadFor, frame, timeoutMs)) this.#loaded.delete(loadFor.source.digest);
      else if (error) this.#loaded.set(loadFor.source.digest, error);
    }
    if (!job) return;
    if (frame.missing) {
      const why = this.#loaded.get(job.source.digest);
      // Its code is loaded anew: there was no processor for that.
      if (!why && job.starved < MAX_STARVED) {
        job.starved++;
        this.#queue.unshift(job);
        return;
      }
      return job.settle(why ?? unavailable("The definition host does not have the definition"));
    }
    if (mayAskAgain(job, frame, timeoutMs)) {
      job.starved++;
      this.#queue.unshift(job);
      return;
    }
    job.settle(failure(frame, timeoutMs, job.method) ?? { value: frame.value, lines: frame.lines ?? [] });
  }

  #onExit(why: HostExit): void {
    const orphans = this.#sent;
    const wasReady = this.#ready;
    this.#sent = [];
    this.#process = undefined;
    this.#ready = false;
    clearTimeout(this.#headTimer);
    if (this.#closed) return;
    if (!wasReady) return this.#onFailedStart(why);
    const suspects = suspectsOf(orphans);
    for (const suspect of suspects) suspect.deaths++;
    const [only] = suspects;
    const convicted = suspects.length === 1 && only && only.deaths >= MAX_DEATHS[why.kind] ? only : undefined;
    convicted?.settle(endOf(why));
    this.#queue.unshift(...orphans.flatMap(({ job }) => (job && job !== convicted ? [job] : [])));
    this.#pump();
  }

  #onFailedStart(why: HostExit): void {
    if (++this.#failedStarts < MAX_FAILED_STARTS) {
      setTimeout(() => this.#pump(), 50 * 2 ** this.#failedStarts);
      return;
    }
    this.#failedStarts = 0;
    const error = unavailable(`The definition host does not start: ${why.detail}`);
    for (const job of this.#queue.splice(0)) job.settle(error);
  }
}

/** Whether it ran out of time without having had the processor. */
const mayAskAgain = (job: Job, frame: HostFrame, timeoutMs: number): boolean =>
  frame.timedOut === true && frame.cpuMs < timeoutMs * HAD_THE_PROCESSOR && job.starved < MAX_STARVED;

/** Whose code a host may have been running when it ended with these unanswered. */
function suspectsOf(orphans: readonly Sent[]): Job[] {
  const [head] = orphans;
  const first = head?.job ?? head?.loadFor;
  if (!first) return [];
  // A load is no part of a batch.
  if (!head?.job) return [first];
  const end = orphans.findIndex(({ job }) => job?.source.digest !== first.source.digest);
  const batch = orphans.slice(0, Math.min(MAX_BATCH, end === -1 ? orphans.length : end));
  return batch.flatMap(({ job }) => (job ? [job] : []));
}

function failure(frame: HostFrame, timeoutMs: number, what: string): DefinitionError | undefined {
  if (frame.timedOut)
    return new DefinitionError(
      "definition_timeout",
      `The definition's code did not end: ${what} took more than ${timeoutMs} ms`,
    );
  if (frame.threw) {
    const { name, message, stack } = frame.threw;
    return new DefinitionError("definition_threw", `${name}: ${message}`, { cause: stack });
  }
  if (frame.tooLarge)
    return new DefinitionError("definition_memory", "The definition's answer is larger than 64 MiB");
  if (frame.invalid || !("value" in frame))
    return new DefinitionError(
      "definition_invalid",
      "The definition gave an answer of a form that no definition gives",
    );
  return undefined;
}

function endOf({ kind, detail }: HostExit): DefinitionError {
  if (kind === "stuck")
    return new DefinitionError(
      "definition_timeout",
      "The definition's code did not end, and its process was killed",
    );
  return new DefinitionError(
    kind === "memory" ? "definition_memory" : "definition_invalid",
    `The definition's code ended its process: ${detail}`,
  );
}
