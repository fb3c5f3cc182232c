import { request } from "node:http";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/** The container beside the fetcher did not take a connection in time. */
export class NeighbourAway extends Error {
  override readonly name = "NeighbourAway";
}

export interface NeighbourAnswer {
  readonly status: number;
  readonly text: string;
}

export interface NeighbourCall {
  readonly host: string;
  readonly port: number;
  readonly method: "POST" | "DELETE";
  readonly path: string;
  readonly contentType?: string;
  readonly body?: string;
  readonly signal: AbortSignal;
  /** Largest answer that is read; what comes beyond it is cut off. */
  readonly maxBytes: number;
}

const PAUSE_MS = { first: 25, most: 500 };
const NOT_LISTENING = new Set(["ECONNREFUSED", "ENOENT"]);

/** Calls the container beside the fetcher; a refused connection is tried again (25 ms, doubling to 500 ms) for `patienceMs`. */
export async function callNeighbour(call: NeighbourCall, patienceMs: number): Promise<NeighbourAnswer> {
  const until = performance.now() + patienceMs;
  for (let pauseMs = PAUSE_MS.first; ; pauseMs = Math.min(pauseMs * 2, PAUSE_MS.most)) {
    try {
      return await once(call);
    } catch (error) {
      const code = error instanceof Error && "code" in error ? String(error.code) : "";
      if (!NOT_LISTENING.has(code)) throw error;
      if (performance.now() + pauseMs > until)
        throw new NeighbourAway(`nothing listens on ${call.host}:${call.port}`, { cause: error });
    }
    await sleep(pauseMs, undefined, { signal: call.signal });
  }
}

function once(call: NeighbourCall): Promise<NeighbourAnswer> {
  const { host, port, method, path, contentType, body, signal, maxBytes } = call;
  return new Promise((resolve, reject) => {
    const headers = {
      "content-length": String(Buffer.byteLength(body ?? "")),
      ...(contentType === undefined ? {} : { "content-type": contentType }),
    };
    const sent = request({ host, port, method, path, headers, agent: false, signal }, (reply) => {
      const chunks: Buffer[] = [];
      let sizeBytes = 0;
      const done = () =>
        resolve({ status: reply.statusCode ?? 0, text: Buffer.concat(chunks).toString("utf8", 0, maxBytes) });
      reply.on("data", (chunk: Buffer) => {
        chunks.push(chunk);
        sizeBytes += chunk.length;
        if (sizeBytes < maxBytes) return;
        done();
        reply.destroy();
      });
      reply.once("end", done);
      reply.once("error", reject);
    });
    sent.once("error", reject);
    sent.end(body);
  });
}

/**
 * Whether something takes connections at the address now. `silent`: nothing was refused, so it may only have more of them than it can
 * take.
 */
export function look(
  host: string,
  port: number,
  timeoutMs: number,
): Promise<"listens" | "refuses" | "silent"> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: timeoutMs });
    const end = (answer: "listens" | "refuses" | "silent") => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("connect", () => end("listens"));
    socket.once("timeout", () => end("silent"));
    socket.once("error", () => end("refuses"));
  });
}
