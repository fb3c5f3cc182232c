import { chmodSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { type DenoChild, type DenoPlace, ownMb, residentMb, startDenoChild } from "./deno-child.ts";
import { frameReader } from "./frame-reader.ts";
import type { HostExit } from "./host-process.ts";
import { jsonFrame, launcherFrame, readLauncherFrame, StartMessage } from "./launcher-messages.ts";
import { gatherWrites } from "../../net/gather-writes.ts";
import { lowerPriority } from "./lower-priority.ts";

/**
 * Makes definition hosts for whoever connects to its socket: a connection, a host.
 *
 * Invariants:
 * 1. A host ends with its connection, and the connection with its host, which says why before.
 * 2. All hosts together take no more than `memoryMb`: then hosts that rest go first, and the largest of those that work next. So this process is not ended for what
 *    its children take.
 */
export interface LauncherOptions extends DenoPlace {
  readonly socket: string;
  /** Of all hosts together. */
  readonly memoryMb: number;
  readonly onEvent?: (event: LauncherEvent) => void;
}
export type LauncherEvent =
  | { readonly kind: "started"; readonly pid: number | undefined }
  | { readonly kind: "ended"; readonly pid: number | undefined; readonly why: HostExit };

export interface Launcher {
  /** Hosts that run. */
  readonly hosts: number;
  close(): Promise<void>;
}

interface Host {
  readonly child: DenoChild;
  working: boolean;
}

const MAX_FRAME = 1024 * 1024 * 1024;
const MEMORY_POLL_MS = 10;

/** Resolves once it listens. */
export async function startLauncher(options: LauncherOptions): Promise<Launcher> {
  const hosts = new Set<Host>();
  const budget = memoryBudget(hosts, options.memoryMb);
  const server = createServer((socket) => serve(socket, hosts, options));
  // Of a process that was killed.
  rmSync(options.socket, { force: true });
  await new Promise<void>((done, fail) => {
    server.once("error", fail);
    server.listen(options.socket, done);
  });
  chmodSync(options.socket, 0o660);
  return {
    get hosts() {
      return hosts.size;
    },
    close: async () => {
      budget.stop();
      for (const { child } of hosts) child.kill("lost", "the launcher of definition hosts ends");
      await new Promise<void>((done) => server.close(() => done()));
    },
  };
}

function serve(socket: Socket, hosts: Set<Host>, options: LauncherOptions): void {
  let host: Host | undefined;
  const write = (pieces: readonly Buffer[]): boolean => {
    if (socket.destroyed) return true;
    gatherWrites(socket);
    return pieces.map((piece) => socket.write(piece)).every(Boolean);
  };
  const start = (payload: Buffer): Host => {
    const limits = StartMessage.parse(JSON.parse(payload.toString("utf8")));
    const child = startDenoChild({
      ...options,
      ...limits,
      onBytes: (bytes) => {
        if (!write(launcherFrame("bytes", bytes))) child.holdBack(true);
      },
      onExit: (why) => {
        hosts.delete(made);
        options.onEvent?.({ kind: "ended", pid: child.pid, why });
        write(jsonFrame("exit", why));
        socket.end();
      },
    });
    const made: Host = { child, working: false };
    hosts.add(made);
    lowerPriority(child.pid);
    options.onEvent?.({ kind: "started", pid: child.pid });
    return made;
  };
  const take = (frame: Buffer): void => {
    const { kind, payload } = readLauncherFrame(frame);
    if (kind === "start") {
      host ??= start(payload);
      return;
    }
    if (!host)
      throw new RangeError(`Cannot take a frame of kind "${kind}" before the first: it must be "start"`);
    if (kind === "bytes") host.child.write(payload);
    if (kind !== "watch") return;
    host.working = payload[0] === 1;
    host.child.watch(host.working);
    if (!host.working) write(jsonFrame("memory", residentMb(host.child.pid)));
  };
  const reader = frameReader(MAX_FRAME, take);
  socket.on("data", (chunk: Buffer) => {
    try {
      reader.push(chunk);
    } catch {
      socket.destroy();
    }
  });
  socket.on("drain", () => host?.child.holdBack(false));
  socket.on("error", () => undefined);
  socket.on("close", () => host?.child.kill("killed", "it is not needed any more"));
}

function memoryBudget(hosts: ReadonlySet<Host>, budgetMb: number): { stop: () => void } {
  const look = (): void => {
    const working = [...hosts].some((host) => host.working);
    if (!working) return;
    const sizes = [...hosts].map((host) => ({ host, megabytes: ownMb(host.child.pid) }));
    const sum = sizes.reduce((all, { megabytes }) => all + megabytes, 0);
    if (sum <= budgetMb) return;
    const resting = sizes.filter(({ host }) => !host.working);
    for (const { host } of resting) host.child.kill("lost", "its memory was needed");
    if (resting.length > 0) return;
    const [largest] = sizes.toSorted((a, b) => b.megabytes - a.megabytes);
    largest?.host.child.kill(
      "memory",
      `it took ${largest.megabytes} of the ${budgetMb} MB of memory that all definitions have together`,
    );
  };
  const timer = setInterval(look, MEMORY_POLL_MS);
  return { stop: () => clearInterval(timer) };
}
