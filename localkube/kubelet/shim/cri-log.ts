import { closeSync, fstatSync, mkdirSync, openSync, renameSync, writeSync } from "node:fs";
import { dirname } from "node:path";

/** Longest piece of text on one log line, as the container runtimes have it. */
const MAX_LINE_BYTES = 16 * 1024;
const NEWLINE = 10;

/** Wall clock with the finer part taken from the monotonic clock, never the same twice. */
function makeClock(): () => string {
  let last = 0n;
  const base = BigInt(Date.now()) * 1_000_000n - process.hrtime.bigint();
  let offset = base;
  return () => {
    let now = offset + process.hrtime.bigint();
    const drift = BigInt(Date.now()) * 1_000_000n - now;
    if (drift > 50_000_000n || drift < -50_000_000n) {
      offset += drift;
      now += drift;
    }
    if (now <= last) now = last + 1n;
    last = now;
    const ms = Number(now / 1_000_000n);
    const rest = String(now % 1_000_000n).padStart(6, "0");
    return `${new Date(ms).toISOString().slice(0, -1)}${rest}Z`;
  };
}

const timestamp = makeClock();

export interface LogSink {
  write(stream: "stdout" | "stderr", chunk: Buffer): void;
  /** Writes what is left of unfinished lines and closes the file. */
  close(): void;
}

/**
 * Writes lines as `<time> <stream> <F|P> <text>`, F ending a line and P a piece of one. The file is renamed to `<file>.1`
 * at `maxBytes`, so that two of them at most exist. Synchronous: what was written survives the death of this process.
 */
export function openCriLog(file: string, maxBytes: number): LogSink {
  mkdirSync(dirname(file), { recursive: true });
  let fd = openSync(file, "a", 0o600);
  let size = fstatSync(fd).size;
  const unfinished: Record<"stdout" | "stderr", Buffer> = {
    stdout: Buffer.alloc(0),
    stderr: Buffer.alloc(0),
  };
  let closed = false;

  const put = (bytes: Buffer): void => {
    if (size > 0 && size + bytes.length > maxBytes) {
      closeSync(fd);
      renameSync(file, `${file}.1`);
      fd = openSync(file, "a", 0o600);
      size = 0;
    }
    writeSync(fd, bytes);
    size += bytes.length;
  };

  const line = (stream: string, tag: "F" | "P", text: Buffer): Buffer =>
    Buffer.concat([Buffer.from(`${timestamp()} ${stream} ${tag} `), text, Buffer.from("\n")]);

  return {
    write(stream, chunk) {
      if (closed) return;
      let data = unfinished[stream].length > 0 ? Buffer.concat([unfinished[stream], chunk]) : chunk;
      let pending: Buffer[] = [];
      let pendingBytes = 0;
      const flush = (): void => {
        if (pending.length > 0) put(Buffer.concat(pending));
        pending = [];
        pendingBytes = 0;
      };
      for (;;) {
        const end = data.indexOf(NEWLINE);
        const full = end >= 0 && end <= MAX_LINE_BYTES;
        if (!full && data.length <= MAX_LINE_BYTES) break;
        const piece = line(stream, full ? "F" : "P", data.subarray(0, full ? end : MAX_LINE_BYTES));
        if (pendingBytes + piece.length > maxBytes) flush();
        pending.push(piece);
        pendingBytes += piece.length;
        data = data.subarray(full ? end + 1 : MAX_LINE_BYTES);
      }
      unfinished[stream] = Buffer.from(data);
      flush();
    },
    close() {
      if (closed) return;
      for (const stream of ["stdout", "stderr"] as const) {
        if (unfinished[stream].length > 0) put(line(stream, "F", unfinished[stream]));
      }
      closed = true;
      closeSync(fd);
    },
  };
}
