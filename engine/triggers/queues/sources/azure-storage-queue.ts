/**
 * Queues of Azure Storage.
 *
 * What is in hand is kept by `azure-hand.ts`.
 */
import {
  type DequeuedMessageItem,
  QueueClient,
  QueueServiceClient,
  RestError,
  StorageSharedKeyCredential,
} from "@azure/storage-queue";
import { AzureQueueConfig } from "../../../../api/sources/azure-storage-queue.ts";
import { backoffMs } from "../../../../kube/backoff.ts";
import { sleep } from "../../../../kube/sleep.ts";
import { errorText } from "../error-text.ts";
import type { Producer, Source, SourceMessage, SubscribeOptions, Subscription } from "../source.ts";
import { tooLarge } from "../too-large.ts";
import { createHand } from "./azure-hand.ts";
import { untilDone } from "./follow-forever.ts";

const AGAIN = { baseMs: 200, maxMs: 10_000 };
const MAX_BATCH = 32;
const TRIES = { maxTries: 1, tryTimeoutInMs: 30_000 };
const POISON = "-poison";
/** Characters of a queue's name. */
const MAX_NAME = 63;
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

type Options = SubscribeOptions<AzureQueueConfig>;

export const azureStorageQueue: Source<AzureQueueConfig> = {
  type: "azure-storage-queue",
  config: AzureQueueConfig,
  subscribe: (options) => Promise.resolve(subscribe(options)),
  produce: (options) => Promise.resolve(producer(options)),
  shares: () => true,
  waiting: async (options) => {
    const queue = serviceOf(options).getQueueClient(options.topic);
    return (await queue.getProperties()).approximateMessagesCount;
  },
  poisonTopic: ({ poisonQueue }, topic) =>
    poisonQueue ? `${topic.slice(0, MAX_NAME - POISON.length)}${POISON}` : undefined,
};

/** @throws {Error} with what the Secret lacks */
function serviceOf({ config, secret }: Pick<Options, "config" | "secret">): QueueServiceClient {
  const { connectionString, accountName, accountKey } = secret;
  const settings = { retryOptions: TRIES };
  if (connectionString !== undefined)
    return QueueServiceClient.fromConnectionString(connectionString, settings);
  if (accountName === undefined || accountKey === undefined)
    throw new Error("The Secret must hold connectionString, or accountName and accountKey");
  const endpoint = config.endpoint ?? `https://${accountName}.queue.core.windows.net`;
  return new QueueServiceClient(endpoint, new StorageSharedKeyCredential(accountName, accountKey), settings);
}

function producer(options: Pick<Options, "config" | "secret">): Producer {
  const service = serviceOf(options);
  const known = new Set<string>();
  return {
    // Keys and headers have no place in a queue of Azure Storage.
    send: async ({ topic, body }) => {
      const queue = service.getQueueClient(topic);
      if (!known.has(topic)) await queue.createIfNotExists();
      known.add(topic);
      const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
      try {
        await queue.sendMessage(bytes.toString(options.config.encoding === "plain" ? "utf8" : "base64"));
      } catch (error) {
        throw isRefusedForSize(error) ? tooLarge({ topic, headers: {}, body }, error) : error;
      }
    },
    close: () => Promise.resolve(),
  };
}

/** Where the answer has no body that says so, the client knows the number only. */
const faultOf = (topic: string, error: unknown): string =>
  error instanceof RestError && error.statusCode === 404
    ? `Queue "${topic}" does not exist in the storage account`
    : errorText(error);

const isRefusedForSize = (error: unknown): boolean =>
  error instanceof RestError && (error.statusCode === 413 || error.code === "MessageTooLarge");

function subscribe(options: Options): Subscription {
  const { config } = options;
  const queue: QueueClient = serviceOf(options).getQueueClient(options.topic);
  const hand = createHand(queue, config.visibilityMs);
  const closed = new AbortController();
  const window = Math.max(options.concurrency, 1);
  let paused = false;
  let connected: boolean | undefined;

  const say = (error?: unknown): void => {
    if (error === undefined && connected === true) return;
    connected = error === undefined;
    options.onState(
      error === undefined ? { connected: true } : { connected: false, error: faultOf(options.topic, error) },
    );
  };
  const fetchSome = async (): Promise<number> => {
    const { receivedMessageItems } = await queue.receiveMessages({
      numberOfMessages: Math.min(MAX_BATCH, window - hand.size),
      visibilityTimeout: Math.ceil(config.visibilityMs / 1_000),
      abortSignal: closed.signal,
    });
    say();
    for (const item of receivedMessageItems) {
      if (hand.take(item.messageId, item.popReceipt)) options.onMessage(sourceMessage(options, item));
    }
    return receivedMessageItems.length;
  };
  const run = async (): Promise<void> => {
    for (let failures = 0, idle = 0; !closed.signal.aborted; ) {
      try {
        if (paused || hand.size >= window) {
          await Promise.race([hand.changed(), sleep(config.pollMs, closed.signal)]);
          continue;
        }
        idle = (await fetchSome()) > 0 ? 0 : idle + 1;
        failures = 0;
        if (idle > 0) await sleep(Math.min(config.pollMs, 20 * 2 ** Math.min(idle, 16)), closed.signal);
      } catch (error) {
        if (closed.signal.aborted) return;
        say(error);
        await sleep(backoffMs(Math.min(++failures, 5), AGAIN), closed.signal);
      }
    }
  };
  const running = run();

  return {
    ack: ({ id }) =>
      untilDone(closed.signal, () =>
        hand.remove(idOf(id)).catch((error: unknown) => {
          // While the hand is full nothing is fetched, which would tell it.
          say(error);
          throw error;
        }),
      ),
    nack: ({ id }, delayMs) => hand.giveBack(idOf(id), delayMs),
    pause: () => {
      paused = true;
      return Promise.resolve();
    },
    resume: () => {
      paused = false;
      return Promise.resolve();
    },
    lag: async () => (await queue.getProperties().catch(() => undefined))?.approximateMessagesCount,
    close: async () => {
      closed.abort();
      hand.wake();
      await running;
      await Promise.race([hand.giveBackAll(), sleep(AGAIN.maxMs)]);
    },
  };
}

function sourceMessage({ topic, config }: Options, item: DequeuedMessageItem): SourceMessage {
  const text = item.messageText;
  const encoded =
    config.encoding === "base64" || (config.encoding === "auto" && text !== "" && BASE64.test(text));
  return {
    id: `${topic}/${item.messageId}`,
    topic,
    key: undefined,
    headers: {},
    body: Buffer.from(text, encoded ? "base64" : "utf8"),
    at: item.insertedOn.getTime(),
    delivery: item.dequeueCount,
    lane: undefined,
  };
}

const idOf = (id: string): string => id.slice(id.lastIndexOf("/") + 1);
