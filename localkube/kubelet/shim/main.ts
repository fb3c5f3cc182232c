/**
 * The shim: a small process that is the parent of all container processes, so that the API server and kubelet may be killed
 * and restarted without touching them.
 * 1. It ends, and every container process with it, when the process named by --life-pid is gone.
 * 2. It listens on one unix socket, one kubelet at a time; losing the kubelet changes nothing for the containers.
 */
import { rmSync } from "node:fs";
import { flushCompileCache } from "node:module";
import { createServer, type Socket } from "node:net";
import { parseArgs } from "node:util";
import { readJsonLines, writeJsonLine } from "./json-lines.ts";
import { isRequest, type ShimReply, type ShimRequest } from "./messages.ts";
import { isAlive } from "./process-identity.ts";
import { makeProcesses } from "./processes.ts";

const LIFE_CHECK_MS = 200;

const { values } = parseArgs({
  options: {
    socket: { type: "string" },
    "life-pid": { type: "string" },
    "life-mark": { type: "string" },
  },
});
const socketPath = values.socket;
if (socketPath === undefined) throw new Error("Cannot start the shim: --socket is required");
const life = { pid: Number(values["life-pid"]), startMark: values["life-mark"] ?? "" };
if (!Number.isInteger(life.pid)) {
  throw new Error(
    `Cannot start the shim: --life-pid must be a process id, got "${values["life-pid"] ?? ""}"`,
  );
}

let kubelet: Socket | undefined;
const processes = makeProcesses((id, exit) => {
  if (kubelet) writeJsonLine(kubelet, { notice: "exited", id, exit });
});

function end(): never {
  processes.killAll();
  rmSync(socketPath ?? "", { force: true });
  process.exit(0);
}

async function answer(request: ShimRequest): Promise<ShimReply> {
  const { seq } = request;
  switch (request.op) {
    case "hello":
      return { seq, ok: true, hello: { pid: process.pid, life, processes: processes.list() } };
    case "run":
      return { seq, ok: true, process: processes.run(request.spec) };
    case "signal":
      processes.signal(request.id, request.signal);
      return { seq, ok: true };
    case "exec":
      return { seq, ok: true, exec: await processes.exec(request.spec) };
    case "forget":
      processes.forget(request.id);
      return { seq, ok: true };
    case "shutdown":
      return end();
    default:
      return { seq, ok: false, error: "Cannot answer: the request is not known" };
  }
}

const waiting: (() => void)[] = [];

/** One request a turn: starting a process takes milliseconds, and the answer to the first must not wait for the last. */
function takeNext(): void {
  waiting.shift()?.();
  if (waiting.length > 0) setImmediate(takeNext);
}

function take(request: ShimRequest, socket: Socket): void {
  answer(request).then(
    (reply) => writeJsonLine(socket, reply),
    (error: unknown) => {
      const message = error instanceof Error ? error.message : String(error);
      writeJsonLine(socket, { seq: request.seq, ok: false, error: message });
    },
  );
}

const server = createServer((socket) => {
  kubelet?.destroy();
  kubelet = socket;
  socket.on("error", () => socket.destroy());
  socket.on("close", () => {
    if (kubelet === socket) kubelet = undefined;
  });
  readJsonLines(socket, (message) => {
    if (!isRequest(message)) {
      socket.destroy();
      return;
    }
    waiting.push(() => take(message, socket));
    if (waiting.length === 1) setImmediate(takeNext);
  });
});

server.listen(socketPath, () => flushCompileCache());
process.on("SIGTERM", end);
process.on("SIGINT", () => {});
process.on("SIGHUP", () => {});
setInterval(() => {
  if (!isAlive(life)) end();
}, LIFE_CHECK_MS);
