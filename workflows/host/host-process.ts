import type { HostFrame, HostRequest } from "./host-messages.ts";

/** Begins a definition host: as a child of this process, or where a launcher makes one. */
export type StartHost = (options: HostProcessOptions) => HostProcess;

export interface HostProcessOptions extends HostLimits {
  readonly onFrame: (frame: HostFrame) => void;
  /** Called once, when it has gone, by itself or killed. */
  readonly onExit: (why: HostExit) => void;
}

export interface HostLimits {
  /** Of the JavaScript heap. */
  readonly heapMb: number;
  /** Resident memory at which the process is killed: buffers are not part of the heap. */
  readonly memoryMb: number;
}

/**
 * `memory`: it took too much; `protocol`: it said what no host says; `stuck`: it did not answer; `killed`: it was not needed; `lost`: whatever it ran in has
 * gone, with others; `gone`: anything else.
 */
export const HOST_ENDS = ["memory", "protocol", "stuck", "killed", "lost", "gone"] as const;
export interface HostExit {
  readonly kind: (typeof HOST_ENDS)[number];
  readonly detail: string;
}

/** One definition host: a Deno process without any permission. */
export interface HostProcess {
  /** Of a child of this process. */
  readonly pid: number | undefined;
  send(request: HostRequest): void;
  /** Watches its memory while it works. */
  watch(working: boolean): void;
  /** Resident memory as last known; 0 where the system does not tell. */
  residentMb(): number;
  kill(why: HostExit["kind"]): void;
}
