/**
 * Sends messages to topics of any kind that has a source.
 *
 * Invariants
 * T1. Of the same namespace, settings and Secret there is one producer. It is closed when it was idle for a while; after a failure the next message gets a
 *     new one, which begins with the Secret as it is then.
 * T2. While a broker is away, messages to it are refused at once, but for one after each growing pause: nothing piles up that waits for it. A message that
 *     fails by itself does no harm to others.
 * T3. Credentials come from the namespace that sends, whatever the topic says.
 */
import { PlatformError } from "../../../../api/errors.ts";
import { topicAddressFault } from "../../../../api/sources/topic-address-fault.ts";
import { isBuiltInTopic } from "../../../../api/sources/topics-fault.ts";
import { backoffMs } from "../../../../kube/backoff.ts";
import type { Log } from "../../../../net/log.ts";
import type { PublishToTopic } from "../../invocations/tell-destination.ts";
import { errorText } from "../error-text.ts";
import type { OutgoingMessage, Producer, Source } from "../source.ts";
import { isTooLarge } from "../too-large.ts";
import type { Topics } from "./topics.ts";

export interface TopicPublisherDeps {
  readonly sources: ReadonlyMap<string, Source>;
  /** For the built-in topics. */
  readonly append: Topics["append"];
  readonly readSecret: (namespace: string, name: string) => Promise<Record<string, string>>;
  readonly log: Log;
  readonly sendMs?: number;
  readonly idleMs?: number;
}

export interface TopicPublisher {
  readonly publish: PublishToTopic;
  /** Producers that are there. */
  readonly size: number;
  close(): Promise<void>;
}

type Address = Parameters<PublishToTopic>[1];

/** To one broker, as one address names it. */
interface Line {
  opened: Opened | undefined;
  usedAt: number;
  /** In a row, of opening, or by time. */
  failures: number;
  error: string;
  /** Until then nothing is tried, by the process's own clock. */
  pauseUntil: number;
}

interface Opened {
  readonly producer: Promise<Producer>;
  sending: number;
  /** No more is sent by it. */
  left: boolean;
}

class Late extends Error {}

const SEND_MS = 15_000;
const IDLE_MS = 60_000;
const PAUSE = { baseMs: 1_000, maxMs: 15_000 };

export function topicPublisher(deps: TopicPublisherDeps): TopicPublisher {
  const { append, log, sendMs = SEND_MS, idleMs = IDLE_MS } = deps;
  const lines = new Map<string, Line>();

  const sweep = setInterval(() => {
    const now = performance.now();
    for (const [key, line] of lines) {
      if (line.opened?.sending || now - line.usedAt < idleMs || now < line.pauseUntil) continue;
      lines.delete(key);
      leave(line);
    }
  }, idleMs / 4);
  sweep.unref();

  const send = async (
    line: Line,
    namespace: string,
    address: Address,
    message: OutgoingMessage,
  ): Promise<void> => {
    if (performance.now() < line.pauseUntil) throw away(address, line.error);
    // One attempt after a pause; the others wait for what comes of it.
    if (line.failures > 0) line.pauseUntil = performance.now() + sendMs;
    line.usedAt = performance.now();
    line.opened ??= { producer: open(deps, namespace, address), sending: 0, left: false };
    const { opened } = line;
    opened.sending++;
    let isOpen = false;
    try {
      await within(sendMs, async () => {
        const producer = await opened.producer;
        isOpen = true;
        await producer.send(message);
      });
      line.failures = 0;
      line.pauseUntil = 0;
    } catch (error) {
      if (isTooLarge(error)) throw error;
      const isAway = !isOpen || error instanceof Late;
      // Of those that fail together, the first has left it.
      if (line.opened === opened) {
        leave(line);
        line.failures = isAway ? line.failures + 1 : 0;
        line.error = errorText(error);
        line.pauseUntil = isAway ? performance.now() + backoffMs(line.failures, PAUSE) : 0;
        if (line.failures === 1)
          log.warn("A broker does not take what is sent to a topic; it waits", {
            namespace,
            topic: address.topic,
            error,
          });
      }
      throw away(address, errorText(error), error);
    } finally {
      opened.sending--;
      line.usedAt = performance.now();
      closeIfLeft(opened);
    }
  };

  return {
    publish: async (namespace, address, message) => {
      const { messageQueueType: type, metadata = {}, secret = "", topic } = address;
      const fault = topicAddressFault(address);
      if (fault !== undefined)
        throw new PlatformError("bad_request", `Cannot send to topic "${topic}": ${fault}`);
      if (isBuiltInTopic(address)) {
        await append(namespace, { ...message, topic });
        return;
      }
      const settings = Object.entries(metadata).toSorted(([a], [b]) => (a < b ? -1 : 1));
      const key = JSON.stringify([namespace, type, settings, secret]);
      const line = lines.get(key) ?? newLine();
      lines.set(key, line);
      await send(line, namespace, address, { ...message, topic });
    },
    get size() {
      return lines.size;
    },
    close: async () => {
      clearInterval(sweep);
      const all = [...lines.values()].flatMap(({ opened }) => (opened ? [opened] : []));
      lines.clear();
      await Promise.all(all.map(close));
    },
  };
}

const newLine = (): Line => ({
  opened: undefined,
  usedAt: performance.now(),
  failures: 0,
  error: "",
  pauseUntil: 0,
});

function leave(line: Line): void {
  const { opened } = line;
  line.opened = undefined;
  if (!opened) return;
  opened.left = true;
  closeIfLeft(opened);
}

function closeIfLeft(opened: Opened): void {
  if (opened.left && opened.sending === 0) void close(opened);
}

const close = ({ producer }: Opened): Promise<void> =>
  producer.then((open) => open.close()).catch(() => undefined);

async function open(
  { sources, readSecret }: TopicPublisherDeps,
  namespace: string,
  { messageQueueType, metadata = {}, secret }: Address,
): Promise<Producer> {
  const source = sources.get(messageQueueType);
  if (!source) throw new Error(`There is no source "${messageQueueType}"`);
  return source.produce({
    config: source.config.parse(metadata),
    namespace,
    secret: secret ? await readSecret(namespace, secret) : {},
  });
}

const away = ({ messageQueueType, topic }: Address, why: string, cause?: unknown): Error =>
  new Error(`Cannot send to topic "${topic}" (${messageQueueType}) now: ${why}`, { cause });

async function within(ms: number, act: () => Promise<void>): Promise<void> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Late(`It was not taken within ${ms} ms`)), ms);
  try {
    await Promise.race([act(), late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
