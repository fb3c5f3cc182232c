import { randomUUID } from "node:crypto";
import type { SourceType } from "../../../api/sources/index.ts";
import type { Deliver, Outcome } from "../../../engine/triggers/delivery/event.ts";
import { type Consumer, consume } from "../../../engine/triggers/queues/consume.ts";
import type { Buried } from "../../../engine/triggers/queues/failure-record.ts";
import type { OutgoingMessage, SourceState } from "../../../engine/triggers/queues/source.ts";
import { createSources } from "../../../engine/triggers/queues/sources/index.ts";
import { processLog } from "../../../net/log.ts";

/** What the contract needs to know of a source and its broker. */
export interface SourceUnderTest {
  readonly type: SourceType;
  readonly redisUrl?: string;
  readonly secret?: Record<string, string>;
  /** Makes a topic for one test. `lanes`: how many ordered lanes it can keep apart. */
  createTopic(name: string): Promise<void>;
  /** Settings that read a topic from its beginning; with messages of the same key in order, where the source can do that. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Settings under which all of the topic comes in order; undefined = the source promises no order at all. */
  readonly strict?: Readonly<Record<string, string>>;
  /** Settings that begin with what comes from now on; undefined = the source has only messages that are there. */
  readonly latest?: Readonly<Record<string, string>>;
  /** Whether messages of different keys run side by side under `metadata`. */
  readonly keyOrder: boolean;
  /** False: the broker itself loses what it took when it is killed, so that it is stopped in order. */
  readonly brokerSurvivesKill?: false;
  /** Whether keys and headers of messages are kept. */
  readonly carriesHeaders: boolean;
}

export const CONCURRENCY = 8;

export const done = (body = "", headers: Record<string, string> = {}): Outcome => ({
  kind: "done",
  status: 200,
  headers,
  body: Buffer.from(body),
});
export const failed = (message = "no"): Outcome => ({
  kind: "failed",
  failure: { status: 500, reason: "function_error", message },
});
export const textOf = (event: { body: Uint8Array }): string => Buffer.from(event.body).toString("utf8");

export const plain = (texts: readonly string[], key?: (text: string) => string) =>
  texts.map((text) => ({
    body: Buffer.from(text),
    headers: {},
    ...(key ? { key: key(text) } : {}),
  }));
export const numbers = (count: number): string[] =>
  Array.from({ length: count }, (_, index) => String(index));

export interface Begun {
  readonly consumer: Consumer;
  readonly states: SourceState[];
  readonly buried: Buried[];
}

export interface BeginOptions {
  readonly topic: string;
  readonly uid?: string;
  readonly name?: string;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly secret?: Record<string, string>;
  readonly contentType?: string;
  readonly maxRetries?: number;
  readonly concurrency?: number;
  readonly since?: number;
  readonly responseTopic?: string;
  readonly errorTopic?: string;
}

/** Topics, messages and consumers of a source's tests. */
export interface Bench {
  newTopic(): Promise<string>;
  publish(topic: string, messages: readonly Omit<OutgoingMessage, "topic">[]): Promise<void>;
  begin(deliver: Deliver, options: BeginOptions): Promise<Begun>;
  end(begun: Begun, graceMs?: number): Promise<void>;
  closeAll(): Promise<void>;
}

export function createBench(under: SourceUnderTest): Bench {
  const found = createSources({ redisUrl: () => under.redisUrl }).get(under.type);
  if (!found) throw new Error(`No source "${under.type}"`);
  const source = found;
  const consumers: Consumer[] = [];
  return {
    newTopic: async () => {
      const made = `t-${randomUUID().slice(0, 8)}`;
      await under.createTopic(made);
      return made;
    },
    publish: async (topic, messages) => {
      const config: unknown = source.config.parse(under.metadata);
      const producer = await source.produce({ config, namespace: "default", secret: under.secret ?? {} });
      for (const message of messages) await producer.send({ ...message, topic });
      await producer.close();
    },
    begin: async (deliver, more) => {
      const states: SourceState[] = [];
      const buried: Buried[] = [];
      const {
        uid = randomUUID(),
        name = "mine",
        metadata = under.metadata,
        secret = under.secret ?? {},
        maxRetries = 3,
        concurrency = CONCURRENCY,
        contentType = "application/json",
        since,
        ...topics
      } = more;
      const consumer = await consume<unknown>({
        source,
        config: source.config.parse(metadata),
        secret,
        trigger: { namespace: "default", name, uid, contentType, ...topics },
        target: { type: "name", name: "hello" },
        retry: { maxRetries, baseMs: 20, maxMs: 100 },
        concurrency,
        since,
        timeoutMs: () => 30_000,
        deliver,
        bury: (message) => {
          buried.push(message);
          return Promise.resolve();
        },
        log: processLog("test", { level: "error" }),
        onState: (state) => states.push(state),
      });
      consumers.push(consumer);
      return { consumer, states, buried };
    },
    end: async ({ consumer }, graceMs = 5_000) => {
      consumers.splice(consumers.indexOf(consumer), 1);
      await consumer.close(graceMs);
    },
    closeAll: async () => {
      await Promise.all(consumers.splice(0).map((consumer) => consumer.close(0)));
    },
  };
}
