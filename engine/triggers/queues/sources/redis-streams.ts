/**
 * Redis streams, read by consumer groups: the built-in topics, or the streams of another Redis.
 *
 * Invariants
 * R1. All replicas read under one consumer name; the trigger's lease sees to it that one does at a time. So the successor of one that died finds
 *     what was under way at the head of its own list, in the order of the stream, at once.
 * R2. Whenever a reply may have been lost (start, error), the own list is read again from its beginning before anything new: what was handed out
 *     and never arrived is in it.
 * R3. A message is handed over once at a time: what is in hand is known by its id.
 */
import type { z } from "zod";
import { RedisStreamsConfig, StatestoreConfig } from "../../../../api/sources/redis-streams.ts";
import { type RedisClient, redisClient } from "../../../../net/redis-client.ts";
import type {
  OutgoingMessage,
  Producer,
  Source,
  SourceMessage,
  SubscribeOptions,
  Subscription,
} from "../source.ts";
import { entryFields, listOf, readEntries, type StreamEntry, textOf } from "../topics/stream-entry.ts";
import { topicKey } from "../topics/topic-key.ts";
import { appendToTopic } from "../topics/topics.ts";
import { followForever, untilDone } from "./follow-forever.ts";

const CONSUMER = "isotope";
/** A read waits so long for new entries: what `close` waits for at most when the server does not answer. */
const BLOCK_MS = 2_000;
const PAGE = 100;
/** When streams came to Redis: ids below are none of its making. */
const FIRST_TIME_S = 1_500_000_000;
const CLOCK_SLACK_S = 86_400;
const AGAIN = { baseMs: 100, maxMs: 5_000 };

/** @param platformUrl Redis of the platform, where the built-in topics lie; undefined = it has none */
export const redisStreams = (platformUrl: () => string | undefined): Source<RedisStreamsConfig> =>
  streamsSource("redis-streams", RedisStreamsConfig, platformUrl);

/** The reference system's built-in topics: the same streams, strictly ordered. */
export const statestore = (platformUrl: () => string | undefined): Source<RedisStreamsConfig> =>
  streamsSource("statestore", StatestoreConfig, platformUrl);

function streamsSource(
  type: string,
  config: z.ZodType<RedisStreamsConfig>,
  platformUrl: () => string | undefined,
): Source<RedisStreamsConfig> {
  const open = (
    options: Pick<SubscribeOptions<RedisStreamsConfig>, "config" | "secret">,
    name: string,
  ): RedisClient => {
    const { address } = options.config;
    const url = address ?? platformUrl();
    if (url === undefined) throw new Error("No Redis is set for this platform: set metadata address");
    const { username, password } = options.secret;
    const client = redisClient(url, {
      name,
      // Replies of plain commands are read here.
      protocol: 2,
      patient: false,
      maxRetriesPerRequest: 0,
      retryDelayMs: (attempt) => Math.min(attempt * AGAIN.baseMs, AGAIN.maxMs),
      ...(address === undefined
        ? {}
        : {
            account: {
              ...(username === undefined ? {} : { username }),
              ...(password === undefined ? {} : { password }),
            },
          }),
    });
    // Every command's own failure says it.
    client.on("error", () => undefined);
    return client;
  };
  return {
    type,
    config,
    subscribe: (options) => Promise.resolve(subscribe(options, open)),
    produce: async ({ config, secret, namespace }) => {
      const client = open({ config, secret }, `isotope producer ${namespace}`);
      await connected(client, 5_000).catch((error: unknown) => {
        client.disconnect();
        throw error;
      });
      return producer(client, (message) =>
        config.address === undefined
          ? appendToTopic(client, namespace, message)
          : client.callBuffer("XADD", message.topic, "*", ...entryFields(message)),
      );
    },
    waiting: async ({ config, namespace, uid, topic, secret }) => {
      const client = open({ config, secret }, "isotope looks");
      try {
        await connected(client, 5_000);
        return await groupLag(client, streamKey(config, namespace, topic), config.group ?? uid);
      } finally {
        client.disconnect();
      }
    },
    kept: ({ config, namespace, uid, topic }) =>
      JSON.stringify([config.address ?? "", streamKey(config, namespace, topic), config.group ?? uid]),
    forget: async ({ config, namespace, uid, topic, secret }) => {
      // Others may read a server of its owner's by the name that it was given.
      if (config.address !== undefined && config.group !== undefined) return;
      const client = open({ config, secret }, "isotope forget");
      try {
        await connected(client, 5_000);
        await client.xgroup("DESTROY", streamKey(config, namespace, topic), config.group ?? uid);
      } catch (error) {
        // Without the stream, there is no group either.
        if (!(error instanceof Error && error.message.includes("requires the key to exist"))) throw error;
      } finally {
        client.disconnect();
      }
    },
  };
}

const streamKey = ({ address }: RedisStreamsConfig, namespace: string, topic: string): string =>
  address === undefined ? topicKey(namespace, topic) : topic;

const producer = (client: RedisClient, append: (message: OutgoingMessage) => Promise<unknown>): Producer => ({
  send: async (message) => {
    await append(message);
  },
  close: async () => {
    await client.quit().catch(() => undefined);
    client.disconnect();
  },
});

/** Resolves when there is a connection; rejects with why there is none: the connection is sought further all the same. */
function connected(client: RedisClient, waitMs: number): Promise<void> {
  if (client.status === "ready") return Promise.resolve();
  return new Promise((resolve, reject) => {
    const end = (error?: Error): void => {
      clearTimeout(timer);
      client.off("ready", onReady);
      client.off("error", end);
      if (error) reject(error);
      else resolve();
    };
    const onReady = (): void => end();
    const timer = setTimeout(() => end(new Error(`Redis did not answer within ${waitMs} ms`)), waitMs);
    client.once("ready", onReady);
    client.once("error", end);
  });
}

function subscribe(
  options: SubscribeOptions<RedisStreamsConfig>,
  open: (options: SubscribeOptions<RedisStreamsConfig>, name: string) => RedisClient,
): Subscription {
  const { config } = options;
  const key = streamKey(config, options.namespace, options.topic);
  const group = config.group ?? options.uid;
  const reader = open(options, `isotope ${options.trigger} reads`);
  const commands = open(options, `isotope ${options.trigger}`);
  const closed = new AbortController();
  const inHand = new Set<string>();
  let room = Promise.withResolvers<void>();
  const gate: { paused?: PromiseWithResolvers<void> } = {};
  let start: string | undefined;

  const handOver = (entry: StreamEntry, delivery: number): void => {
    inHand.add(entry.id);
    options.onMessage(streamMessage(options, entry, delivery));
  };
  const settle = (id: string): void => {
    inHand.delete(id);
    room.resolve();
    room = Promise.withResolvers();
  };
  const hasRoom = async (): Promise<void> => {
    while (!closed.signal.aborted && (gate.paused || inHand.size >= config.window))
      await (gate.paused ?? room).promise;
  };
  const read = async (id: string, count: number): Promise<unknown> => {
    const blocking: (string | number)[] = id === ">" ? ["BLOCK", BLOCK_MS] : [];
    const args = ["GROUP", group, CONSUMER, "COUNT", count, ...blocking, "STREAMS", key, id];
    const reply = await reader.callBuffer("XREADGROUP", ...args);
    return listOf(listOf(reply)[0])[1];
  };
  const readOwnList = async (): Promise<void> => {
    for (let after = "0"; ; ) {
      await hasRoom();
      if (closed.signal.aborted) return;
      const counts = await deliveries(commands, key, group, after);
      const { entries, deleted } = readEntries(await read(after, PAGE));
      if (deleted.length > 0) await commands.xack(key, group, ...deleted);
      for (const entry of entries)
        if (!inHand.has(entry.id)) handOver(entry, (counts.get(entry.id) ?? 1) + 1);
      const last = [...entries.map(({ id }) => id), ...deleted].sort(byStreamOrder).at(-1);
      if (last === undefined) return;
      after = last;
    }
  };
  const follow = async (): Promise<void> => {
    await Promise.all([connected(reader, AGAIN.maxMs), connected(commands, AGAIN.maxMs)]);
    await ensureGroup(commands, key, group, start ?? (await firstId(options, commands, key)));
    // A group that is gone later went with the server's data: what was published since is new to it.
    start = "0";
    options.onState({ connected: true });
    await readOwnList();
    for (;;) {
      await hasRoom();
      if (closed.signal.aborted) return;
      const { entries } = readEntries(await read(">", Math.min(PAGE, config.window - inHand.size)));
      for (const entry of entries) handOver(entry, 1);
    }
  };
  const running = followForever(closed.signal, options.onState, follow);

  return {
    ack: (message) =>
      untilDone(closed.signal, async () => {
        const id = entryId(message);
        await commands.xack(key, group, id);
        settle(id);
      }),
    pause: () => {
      gate.paused ??= Promise.withResolvers();
      return Promise.resolve();
    },
    resume: () => {
      gate.paused?.resolve();
      delete gate.paused;
      return Promise.resolve();
    },
    lag: () => groupLag(commands, key, group),
    close: async () => {
      closed.abort();
      gate.paused?.resolve();
      room.resolve();
      reader.disconnect();
      await running;
      commands.disconnect();
    },
  };
}

function streamMessage(
  { topic, config }: SubscribeOptions<RedisStreamsConfig>,
  { id, key, headers, body }: StreamEntry,
  delivery: number,
): SourceMessage {
  const lanes = { topic: "", key: key === undefined ? undefined : `key ${key}`, none: undefined };
  return {
    id: `${topic}/${id}`,
    topic,
    key,
    headers,
    body,
    at: Number(id.slice(0, id.indexOf("-"))),
    delivery,
    lane: lanes[config.ordering],
  };
}

const entryId = ({ id }: SourceMessage): string => id.slice(id.lastIndexOf("/") + 1);

/** Behind which entry a new group begins. */
async function firstId(
  { config: { start, address }, since }: SubscribeOptions<RedisStreamsConfig>,
  client: RedisClient,
  key: string,
): Promise<string> {
  if (start === "earliest") return "0";
  const hasTimes = since !== undefined && (address === undefined || (await idsAreTimes(client, key)));
  return hasTimes ? `${Math.max(since - 1, 0)}-0` : "$";
}

/** The server makes ids of its time; who adds entries may give others. Of a stream that is empty or not there yet, they will be the server's. */
async function idsAreTimes(client: RedisClient, key: string): Promise<boolean> {
  await connected(client, AGAIN.maxMs);
  const [[last], time] = await Promise.all([
    client.xrevrange(key, "+", "-", "COUNT", 1),
    client.callBuffer("TIME"),
  ]);
  if (!last) return true;
  const seconds = Number(textOf(listOf(time)[0]));
  const at = Number(last[0].slice(0, last[0].indexOf("-"))) / 1_000;
  return at > FIRST_TIME_S && at < seconds + CLOCK_SLACK_S;
}

async function ensureGroup(client: RedisClient, key: string, group: string, start: string): Promise<void> {
  try {
    await client.xgroup("CREATE", key, group, start, "MKSTREAM");
  } catch (error) {
    if (!(error instanceof Error && error.message.startsWith("BUSYGROUP"))) throw error;
  }
}

/** How often the next entries of the own list were handed out so far, by id. */
async function deliveries(
  client: RedisClient,
  key: string,
  group: string,
  after: string,
): Promise<Map<string, number>> {
  const from = after === "0" ? "-" : `(${after}`;
  const rows = listOf(await client.callBuffer("XPENDING", key, group, from, "+", PAGE, CONSUMER));
  return new Map(rows.map((row) => [textOf(listOf(row)[0]), Number(listOf(row)[3])]));
}

/** Entries that nobody has read, and those that are read and not acknowledged. */
async function groupLag(client: RedisClient, key: string, group: string): Promise<number | undefined> {
  const groups = listOf(await client.callBuffer("XINFO", "GROUPS", key));
  for (const row of groups) {
    const facts = new Map<string, unknown>();
    const list = listOf(row);
    for (let at = 0; at + 1 < list.length; at += 2) facts.set(textOf(list[at]), list[at + 1]);
    if (textOf(facts.get("name")) !== group) continue;
    const unread = facts.get("lag");
    return typeof unread === "number" ? unread + Number(facts.get("pending") ?? 0) : undefined;
  }
  return undefined;
}

/** Ids are `<milliseconds>-<sequence>`: of two numbers, not of text. */
function byStreamOrder(a: string, b: string): number {
  const [aMs = 0, aSeq = 0] = a.split("-").map(Number);
  const [bMs = 0, bSeq = 0] = b.split("-").map(Number);
  return aMs - bMs || aSeq - bSeq;
}
