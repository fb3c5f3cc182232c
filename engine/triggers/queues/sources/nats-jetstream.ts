/**
 * NATS JetStream, by durable pull consumers.
 *
 * Invariants
 * J1. Every message in hand is reported as in progress three times per `ackWaitMs`, so that the server brings it to nobody else.
 * J2. A message that the server brings again while it is in hand (lost connection) is not handed over a second time; its acknowledgement goes the new way.
 * J3. A message that is settled, but whose acknowledgement was lost, is acknowledged when it comes again, without a delivery.
 */
import {
  AckPolicy,
  type ConsumerConfig,
  type ConsumerInfo,
  type ConsumerMessages,
  DeliverPolicy,
  type JetStreamManager,
  type JsMsg,
  jetstream,
  jetstreamManager,
} from "@nats-io/jetstream";
import { connect, type NatsConnection, nanos, headers as newHeaders } from "@nats-io/transport-node";
import { JetStreamConfig } from "../../../../api/sources/nats-jetstream.ts";
import { percentDecoded } from "../percent-decoded.ts";
import type { Producer, Source, SourceMessage, SubscribeOptions, Subscription } from "../source.ts";
import { tooLarge } from "../too-large.ts";
import { followForever } from "./follow-forever.ts";

const CONNECT_MS = 5_000;
const PING_MS = 5_000;
const ACK_MS = 5_000;
const SIGNS_PER_WAIT = 3;
const STREAM_MAX_SIZE = 10_054;
const NO_CONSUMER = 10_014;
/** Keys of messages, which NATS does not have, travel in this header. */
const KEY_HEADER = "Isotope-Message-Key";

type Options = SubscribeOptions<JetStreamConfig>;

export const natsJetStream: Source<JetStreamConfig> = {
  type: "nats-jetstream",
  config: JetStreamConfig,
  subscribe: (options) => Promise.resolve(subscribe(options)),
  produce: async (options) => producer(await open(options, `isotope ${options.namespace} sends`)),
  shares: (config) => !ordered(config),
  waiting: async (options) => {
    const connection = await open(options, "isotope looks");
    try {
      const manager = await jetstreamManager(connection);
      const stream = options.config.stream ?? (await manager.streams.find(options.topic));
      const info = await manager.consumers.info(stream, options.config.consumer ?? options.uid);
      return info.num_pending + info.num_ack_pending;
    } finally {
      await connection.close();
    }
  },
  forget: async (options) => {
    const connection = await open(options, "isotope forgets");
    try {
      const manager = await jetstreamManager(connection);
      const stream = options.config.stream ?? (await manager.streams.find(options.topic));
      await manager.consumers.delete(stream, options.config.consumer ?? options.uid);
    } finally {
      await connection.close();
    }
  },
};

function open({ config, secret }: Pick<Options, "config" | "secret">, name: string): Promise<NatsConnection> {
  const { token, username, password, ca, cert, key } = secret;
  return connect({
    servers: config.servers,
    name,
    // The loop below connects anew: a consumer is looked up again then, and what the server brings again is told from what is in hand.
    reconnect: false,
    timeout: CONNECT_MS,
    pingInterval: PING_MS,
    ...(token === undefined ? {} : { token }),
    ...(username === undefined ? {} : { user: username }),
    ...(password === undefined ? {} : { pass: password }),
    ...(config.tls ? { tls: { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) } } : {}),
  });
}

const producer = (connection: NatsConnection): Producer => ({
  send: async ({ topic, key, headers, body }) => {
    const sent = newHeaders();
    for (const [name, value] of Object.entries(headers)) sent.append(name, value);
    if (key !== undefined) sent.set(KEY_HEADER, encodeURIComponent(key));
    try {
      await jetstream(connection).publish(topic, body, { headers: sent });
    } catch (error) {
      throw isRefusedForSize(error) ? tooLarge({ topic, headers, body }, error) : error;
    }
  },
  close: () => connection.close(),
});

/** By the server (its `max_payload`, which clients know), or by the stream. */
const isRefusedForSize = (error: unknown): boolean =>
  error instanceof Error &&
  ((error.name === "InvalidArgumentError" && error.message.includes("max_payload")) ||
    ("code" in error && error.code === STREAM_MAX_SIZE));

/** Messages of one subscription that are fetched and not dealt with, by their sequence in the stream. */
interface InHand {
  readonly messages: Map<number, JsMsg>;
  /** Settled, but the server may not know it. */
  readonly owed: Set<number>;
}

function subscribe(options: Options): Subscription {
  const { config } = options;
  const hand: InHand = { messages: new Map(), owed: new Set() };
  const closed = new AbortController();
  const current: {
    connection?: NatsConnection;
    intake?: ConsumerMessages;
    manager?: JetStreamManager;
    stream?: string;
  } = {};
  const durable = config.consumer ?? options.uid;
  let paused: PromiseWithResolvers<void> | undefined;

  const follow = async (): Promise<void> => {
    const connection = await open(options, `isotope ${options.trigger}`);
    current.connection = connection;
    const signs = setInterval(() => {
      for (const message of hand.messages.values()) message.working();
    }, config.ackWaitMs / SIGNS_PER_WAIT);
    try {
      const manager = await jetstreamManager(connection);
      const stream = config.stream ?? (await manager.streams.find(options.topic));
      Object.assign(current, { manager, stream });
      await ensureConsumer(manager, stream, durable, options);
      options.onState({ connected: true });
      const lost = connection.closed().then((error) => {
        throw error ?? new Error("The connection to NATS was lost");
      });
      lost.catch(() => undefined);
      while (!closed.signal.aborted) {
        await paused?.promise;
        const consumer = await jetstream(connection).consumers.get(stream, durable);
        const intake = await consumer.consume({ max_messages: ordered(config) ? 1 : config.maxAckPending });
        current.intake = intake;
        await Promise.race([takeAll(intake, () => paused !== undefined, options, hand), lost]);
      }
    } finally {
      clearInterval(signs);
      delete current.connection;
      delete current.intake;
      delete current.manager;
      if (!closed.signal.aborted) await connection.close().catch(() => undefined);
    }
  };
  const running = followForever(closed.signal, options.onState, follow);

  return {
    ack: async (message, buried = false) => {
      const sequence = sequenceOf(message);
      const held = hand.messages.get(sequence);
      hand.messages.delete(sequence);
      if (held && !(await settle(held, current.connection, buried).catch(() => false)))
        hand.owed.add(sequence);
    },
    nack: (message, delayMs) => {
      const sequence = sequenceOf(message);
      if (!current.connection) return Promise.reject(new Error("NATS is not connected"));
      hand.messages.get(sequence)?.nak(delayMs);
      hand.messages.delete(sequence);
      return Promise.resolve();
    },
    pause: () => {
      paused ??= Promise.withResolvers();
      current.intake?.stop();
      return Promise.resolve();
    },
    resume: () => {
      paused?.resolve();
      paused = undefined;
      return Promise.resolve();
    },
    lag: async () => {
      const { manager, stream } = current;
      if (!manager || stream === undefined) return undefined;
      const info = await manager.consumers.info(stream, durable).catch(() => undefined);
      return info && info.num_pending + info.num_ack_pending;
    },
    close: async () => {
      closed.abort();
      paused?.resolve();
      const { connection } = current;
      current.intake?.stop();
      if (connection) {
        for (const message of hand.messages.values()) message.nak();
        await connection.flush().catch(() => undefined);
        await connection.close().catch(() => undefined);
      }
      await running;
    },
  };
}

/** Whether the server knows that the message is dealt with. */
async function settle(
  message: JsMsg,
  connection: NatsConnection | undefined,
  buried: boolean,
): Promise<boolean> {
  if (!buried) return message.ackAck({ timeout: ACK_MS });
  // The server tells whoever listens to its advisories.
  // Without the reason, which servers before 2.10 do not understand.
  message.term();
  await connection?.flush();
  return connection !== undefined;
}

async function takeAll(
  intake: ConsumerMessages,
  isPaused: () => boolean,
  options: Options,
  { messages, owed }: InHand,
): Promise<void> {
  for await (const message of intake) {
    const { seq } = message;
    if (owed.delete(seq)) message.ack();
    else if (isPaused() && !messages.has(seq)) message.nak();
    else {
      const known = messages.has(seq);
      messages.set(seq, message);
      if (!known) options.onMessage(sourceMessage(options, message));
    }
  }
}

const ordered = ({ ordering }: JetStreamConfig): boolean => ordering === "stream";

async function ensureConsumer(
  manager: JetStreamManager,
  stream: string,
  durable: string,
  { config, topic, since }: Options,
): Promise<void> {
  const settings = {
    filter_subject: topic,
    ack_wait: nanos(config.ackWaitMs),
    // What is on its way to a consumer that died would otherwise be overtaken.
    max_ack_pending: ordered(config) ? 1 : config.maxAckPending,
  };
  const known = await infoOf(manager, stream, durable);
  // Where a consumer began cannot be changed.
  if (known) {
    await manager.consumers.update(stream, durable, settings);
    return;
  }
  await manager.consumers.add(stream, {
    ...settings,
    ...beginning(config, since),
    durable_name: durable,
    ack_policy: AckPolicy.Explicit,
  });
}

/** Undefined: there is no such consumer. */
async function infoOf(
  manager: JetStreamManager,
  stream: string,
  durable: string,
): Promise<ConsumerInfo | undefined> {
  try {
    return await manager.consumers.info(stream, durable);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === NO_CONSUMER) return undefined;
    throw error;
  }
}

function beginning(
  { deliverPolicy }: JetStreamConfig,
  since: number | undefined,
): Pick<ConsumerConfig, "deliver_policy" | "opt_start_time"> {
  if (deliverPolicy === "all") return { deliver_policy: DeliverPolicy.All };
  if (since === undefined) return { deliver_policy: DeliverPolicy.New };
  return { deliver_policy: DeliverPolicy.StartTime, opt_start_time: new Date(since).toISOString() };
}

function sourceMessage({ config }: Options, message: JsMsg): SourceMessage {
  const { stream, deliveryCount } = message.info;
  const all = Object.fromEntries(
    [...(message.headers ?? [])].map(([name, values]) => [name, values[0] ?? ""]),
  );
  const { [KEY_HEADER]: key, ...headers } = all;
  return {
    id: `${stream}/${message.seq}`,
    topic: message.subject,
    key: key === undefined ? undefined : percentDecoded(key),
    headers,
    body: message.data,
    at: message.time.getTime(),
    delivery: deliveryCount,
    lane: ordered(config) ? "" : undefined,
  };
}

const sequenceOf = ({ id }: SourceMessage): number => Number(id.slice(id.lastIndexOf("/") + 1));
