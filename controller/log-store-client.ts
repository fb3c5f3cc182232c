import { setTimeout as sleep } from "node:timers/promises";
import { PlatformError } from "../api/errors.ts";
import type { LogRead } from "../api/wire/logs.ts";
import { LogLine } from "../api/wire/ops.ts";
import type { SignedClient } from "../net/signed-client.ts";
import type { LogReader, LogSelection } from "./ops/logs-route.ts";

const QUERY_TIMEOUT_MS = 300_000;
/** The store writes something every 10 s, so a call that follows ends when the reader leaves or the store does. */
const FOLLOW_TIMEOUT_MS = 24 * 3_600_000;
const RECONNECT_MS = 500;
const MAX_RECONNECTS = 240;
const CATCH_UP_LINES = 10_000;

/** The log store's process as the operations API reads it. */
export function logStoreReader(store: Pick<SignedClient, "send">): LogReader {
  const read = (message: LogRead, signal?: AbortSignal): AsyncGenerator<LogLine> =>
    readLines(store, message, signal);
  return {
    query: (filter, { order, limit }) => read({ filter, order, limit, follow: false }),
    follow: (filter, options) => followThrough(read, filter, options),
  };
}

async function* readLines(
  store: Pick<SignedClient, "send">,
  message: LogRead,
  signal: AbortSignal | undefined,
): AsyncGenerator<LogLine> {
  const reply = await store.send({
    method: "POST",
    target: "/v1/read",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(message),
    timeoutMs: message.follow ? FOLLOW_TIMEOUT_MS : QUERY_TIMEOUT_MS,
    ...(signal ? { signal } : {}),
  });
  if (reply.status !== 200) {
    reply.body.destroy();
    throw new PlatformError("log_store_unavailable", `The log store answered ${reply.status}`);
  }
  let rest = "";
  for await (const chunk of reply.body.setEncoding("utf8")) {
    const texts = (rest + String(chunk)).split("\n");
    rest = texts.pop() ?? "";
    for (const text of texts) if (text !== "") yield LogLine.parse(JSON.parse(text));
  }
}

/** Follows on when the store restarts: reads again from the last line's time and leaves out what was seen of that time. */
async function* followThrough(
  read: (message: LogRead, signal: AbortSignal) => AsyncGenerator<LogLine>,
  filter: LogSelection,
  options: { limit: number; signal: AbortSignal },
): AsyncGenerator<LogLine> {
  const { signal } = options;
  let lastTime = "";
  let seen = new Set<string>();
  for (let failures = 0; !signal.aborted; ) {
    const again = lastTime === "" ? {} : { sinceMs: Date.parse(lastTime) };
    const limit = lastTime === "" ? options.limit : CATCH_UP_LINES;
    try {
      for await (const line of read(
        { filter: { ...filter, ...again }, limit, order: "oldest", follow: true },
        signal,
      )) {
        failures = 0;
        const text = JSON.stringify(line);
        if (line.time === lastTime && seen.has(text)) continue;
        if (line.time > lastTime) {
          lastTime = line.time;
          seen = new Set();
        }
        if (line.time === lastTime) seen.add(text);
        yield line;
      }
    } catch (error) {
      if (signal.aborted) return;
      failures += 1;
      // The first answer tells whether there is a store at all.
      if ((lastTime === "" && failures > 1) || failures > MAX_RECONNECTS) throw error;
    }
    await sleep(RECONNECT_MS, undefined, { signal }).catch(() => undefined);
  }
}
