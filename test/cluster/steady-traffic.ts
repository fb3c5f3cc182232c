import { Agent, type ClientRequest, type IncomingMessage, request } from "node:http";

/**
 * Constant traffic from a client of the usual kind, and what came of it. Invariants:
 * 1. Requests start at a fixed rate, whatever became of those before (an open loop): a platform that stands still is not spared.
 * 2. Connections are kept alive. A GET on a reused connection that ends before any byte of the answer came is sent once more on a new
 *    connection, as browsers and HTTP libraries do (RFC 9110, 9.2.2); nothing else is tried again unless `retryRefused` says so.
 * 3. Every request ends: with an answer, with an error, or with the time limit, which counts as a failure.
 */
export interface TrafficOptions {
  /** Origin of the router. */
  readonly origin: string;
  /** Called in turn. */
  readonly paths: readonly string[];
  readonly perSecond: number;
  /** Most connections at once. */
  readonly connections?: number;
  /** Also tries again, for two seconds, what met a closed port, as a proxy with several upstreams does. Default false. */
  readonly retryRefused?: boolean;
}

export interface TrafficReport {
  readonly calls: number;
  /** Requests that were sent a second time. */
  readonly retried: number;
  /** What was not answered with 200: when, where and why. */
  readonly failures: readonly string[];
  /** Different answers, with how often each came. */
  readonly answers: ReadonlyMap<string, number>;
  readonly slowestMs: number;
}

export interface Traffic {
  /** Starts no further requests; resolves when all have ended. */
  stop(): Promise<TrafficReport>;
}

const TIME_LIMIT_MS = 60_000;
const REFUSED_RETRY_MS = 100;
const REFUSED_TRIES = 20;

export interface Answer {
  readonly status: number;
  readonly text: string;
  readonly headers: IncomingMessage["headers"];
}

/** A request without an answer. `stale`: its reused connection had ended; `refused`: nobody listened, so nothing was sent. */
class NoAnswer extends Error {
  readonly stale: boolean;
  readonly refused: boolean;
  constructor(message: string, kind: { stale: boolean; refused: boolean }) {
    super(message);
    this.stale = kind.stale;
    this.refused = kind.refused;
  }
}

/** One GET. Rejects with `NoAnswer`. */
export function get(url: string, agent: Agent | false, timeoutMs: number): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const call: ClientRequest = request(url, { agent });
    let readBefore = 0;
    call.once("socket", (socket) => {
      readBefore = socket.bytesRead;
    });
    const limit = setTimeout(() => call.destroy(new Error(`no answer in ${timeoutMs} ms`)), timeoutMs);
    const fail = (error: NodeJS.ErrnoException): void => {
      clearTimeout(limit);
      const reset = error.code === "ECONNRESET" || error.code === "EPIPE";
      const untouched = call.socket === null || call.socket.bytesRead === readBefore;
      reject(
        new NoAnswer(`${error.code ?? ""} ${error.message}`.trim(), {
          stale: call.reusedSocket && reset && untouched,
          refused: error.code === "ECONNREFUSED",
        }),
      );
    };
    call.once("error", fail);
    call.once("response", (reply) => {
      const chunks: Buffer[] = [];
      reply.on("data", (chunk: Buffer) => chunks.push(chunk));
      reply.once("error", fail);
      reply.once("end", () => {
        clearTimeout(limit);
        resolve({
          status: reply.statusCode ?? 0,
          text: Buffer.concat(chunks).toString(),
          headers: reply.headers,
        });
      });
    });
    call.end();
  });
}

/**
 * Sends again, every 100 ms for two seconds, what met a closed port: nothing of it was sent. `again` hears of each time. Rejects with
 * what the last try met.
 */
export async function whileRefused(send: () => Promise<Answer>, again: () => void): Promise<Answer> {
  for (let refused = 0; ; refused++) {
    try {
      return await send();
    } catch (error) {
      if (!(error instanceof NoAnswer) || !error.refused || refused >= REFUSED_TRIES) throw error;
      again();
      await new Promise((go) => setTimeout(go, REFUSED_RETRY_MS));
    }
  }
}

/** Starts calling. */
export function startTraffic(options: TrafficOptions): Traffic {
  const { origin, paths, perSecond, connections = 16, retryRefused = false } = options;
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const started = performance.now();
  const failures: string[] = [];
  const answers = new Map<string, number>();
  const running = new Set<Promise<void>>();
  let calls = 0;
  let retried = 0;
  let slowestMs = 0;

  const sendAgain = (): void => {
    retried += 1;
  };
  const send = (url: string): Promise<Answer> =>
    get(url, agent, TIME_LIMIT_MS).catch((error: unknown) => {
      if (!(error instanceof NoAnswer) || !error.stale) throw error;
      sendAgain();
      return get(url, false, TIME_LIMIT_MS);
    });
  const answerOf = (url: string): Promise<Answer> =>
    retryRefused ? whileRefused(() => send(url), sendAgain) : send(url);
  const call = async (path: string): Promise<void> => {
    const at = performance.now();
    const failed = (why: string): void => {
      failures.push(`${Math.round(at - started)} ms ${path}: ${why}`);
    };
    try {
      const { status, text } = await answerOf(`${origin}${path}`);
      if (status === 200) answers.set(text, (answers.get(text) ?? 0) + 1);
      else failed(`${status} ${text.slice(0, 300)}`);
    } catch (error) {
      failed(error instanceof Error ? error.message : String(error));
    }
    slowestMs = Math.max(slowestMs, performance.now() - at);
  };
  const tick = (): void => {
    // What a busy machine has held up is caught up with, so that the rate is what was asked for.
    const due = Math.floor(((performance.now() - started) * perSecond) / 1_000);
    while (calls < due) {
      const one = call(paths[calls % paths.length] ?? "/");
      calls += 1;
      running.add(one);
      void one.finally(() => running.delete(one));
    }
  };
  const timer = setInterval(tick, 1_000 / perSecond);
  return {
    stop: async () => {
      clearInterval(timer);
      await Promise.all(running);
      agent.destroy();
      return { calls, retried, failures, answers, slowestMs: Math.round(slowestMs) };
    },
  };
}
