import { createHash } from "node:crypto";
import { PlatformError } from "../../api/errors.ts";
import { HEADER_REPLAYED } from "../../api/headers.ts";
import type { Log } from "../../net/log.ts";
import type { RedisConnection } from "../../net/redis.ts";
import type { FunctionSlot } from "./function-table.ts";
import type { Exchange, HeldResponse } from "./http/types.ts";
import type { RouterMetrics } from "./router-metrics.ts";

/**
 * The first answers of calls with an `Idempotency-Key`, in Redis, so that every router knows them.
 *
 * F1. An answer is recorded before the caller gets it; a recorded one is given to whoever asks again, and the function is not called.
 * F2. What is recorded is a whole answer below 400: a failure may be tried again under the same key. So a call that is cut off before its record (a
 *     router or Redis that dies, an answer beyond `maxBytes`) may run again: at least once.
 * F3. Calls of one key that are here at the same time run one after the other, so that the later ones find the first's answer.
 * F4. Records end with their time: the caller says how long they are kept, within `maxTtlS`.
 */
export interface FirstAnswers {
  /**
   * Answers with the record of this key, or calls the function and records what it answers.
   * @param ttlS seconds that the record is kept, at least 1
   */
  answer(exchange: Exchange, ask: { slot: FunctionSlot; key: string; ttlS: number; call: () => void }): void;
  /** To be called at the end of every exchange. */
  ended(exchange: Exchange): void;
}

export interface FirstAnswersDeps {
  readonly redis: Pick<RedisConnection, "client">;
  readonly metrics: Pick<RouterMetrics, "firstAnswers">;
  readonly log: Log;
  /** Larger bodies are passed on and not recorded. */
  readonly maxBytes: number;
  readonly maxTtlS: number;
  readonly refuse: (exchange: Exchange, error: PlatformError) => void;
}

interface Asked {
  readonly exchange: Exchange;
  readonly key: string;
  readonly ttlS: number;
  readonly call: () => void;
}

const KEY_PREFIX = "isotope:answer:";
const REPLAYED = `${HEADER_REPLAYED}: true\r\n`;

export function firstAnswers(deps: FirstAnswersDeps): FirstAnswers {
  /** Who runs under a key, then who waits for its end. */
  const lines = new Map<string, Asked[]>();
  const keys = new WeakMap<Exchange, string>();

  const begin = async (asked: Asked): Promise<void> => {
    const { exchange, key } = asked;
    try {
      const found = await deps.redis.client().getBuffer(key);
      if (exchange.state !== "open") return;
      if (found) return replay(deps, exchange, found);
    } catch (error) {
      if (exchange.state === "open") deps.refuse(exchange, unavailable(error));
      return;
    }
    exchange.holdResponse(deps.maxBytes, (response) => void record(deps, asked, response));
    asked.call();
  };
  return {
    answer: (exchange, { slot, key, ttlS, call }) => {
      const asked = { exchange, key: recordKey(slot, key), ttlS: Math.min(ttlS, deps.maxTtlS), call };
      keys.set(exchange, asked.key);
      const line = lines.get(asked.key);
      if (line) line.push(asked);
      else {
        lines.set(asked.key, [asked]);
        void begin(asked);
      }
    },
    ended: (exchange) => {
      const key = keys.get(exchange);
      const line = key === undefined ? undefined : lines.get(key);
      if (key === undefined || !line) return;
      const at = line.findIndex((asked) => asked.exchange === exchange);
      if (at < 0) return;
      line.splice(at, 1);
      const [next] = line;
      if (!next) lines.delete(key);
      // Not within the end of another exchange, whose hooks run.
      else if (at === 0) queueMicrotask(() => void begin(next));
    },
  };
}

/** Of one function, whichever version of it the key was first used with. */
const recordKey = (slot: FunctionSlot, key: string): string =>
  KEY_PREFIX + createHash("sha256").update(`${slot.namespace}/${slot.name}\n${key}`).digest("base64url");

const unavailable = (error: unknown): PlatformError =>
  error instanceof PlatformError
    ? error
    : new PlatformError(
        "redis_unavailable",
        `Cannot look for the call's first answer: ${error instanceof Error ? error.message : String(error)}`,
        { cause: error },
      );

async function record(deps: FirstAnswersDeps, asked: Asked, held: HeldResponse): Promise<void> {
  const { exchange, key, ttlS } = asked;
  // A reply brings its own date.
  const response = { ...held, lines: held.lines.replace(/^date:[^\r\n]*\r\n/im, "") };
  const { status, lines, body } = response;
  let result: "recorded" | "unrecorded" = "recorded";
  let earlier: Buffer | null = null;
  try {
    const redis = deps.redis.client();
    const stored = await redis.set(key, encode(response), "EX", ttlS, "NX");
    // Another router was first: what it answered holds.
    if (stored === null) earlier = await redis.getBuffer(key);
  } catch (error) {
    result = "unrecorded";
    deps.log.warn("Cannot record an answer: a call that is sent again would run again", { error });
  }
  if (exchange.state !== "open") return;
  if (earlier) return replay(deps, exchange, earlier);
  deps.metrics.firstAnswers.series({ result }).value += 1;
  exchange.reply(status, lines, body);
}

function replay(deps: FirstAnswersDeps, exchange: Exchange, found: Buffer): void {
  const { status, lines, body } = decode(found);
  deps.metrics.firstAnswers.series({ result: "replayed" }).value += 1;
  exchange.reply(status, lines + REPLAYED, body);
}

/** Status, then header lines in latin1, then the body; the lengths first. */
function encode({ status, lines, body }: HeldResponse): Buffer {
  const head = Buffer.alloc(6);
  head.writeUInt16BE(status, 0);
  head.writeUInt32BE(lines.length, 2);
  return Buffer.concat([head, Buffer.from(lines, "latin1"), body]);
}

function decode(bytes: Buffer): HeldResponse {
  const end = 6 + bytes.readUInt32BE(2);
  return {
    status: bytes.readUInt16BE(0),
    lines: bytes.toString("latin1", 6, end),
    body: bytes.subarray(end),
  };
}
