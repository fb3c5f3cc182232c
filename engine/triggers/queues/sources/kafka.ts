/** Apache Kafka. */
import { type KafkaConfig as ClientConfig, Kafka, logLevel, Partitioners, type SASLOptions } from "kafkajs";
import { KafkaConfig } from "../../../../api/sources/kafka.ts";
import { percentDecoded } from "../percent-decoded.ts";
import type { ProduceOptions, Producer, Source, SubscribeOptions } from "../source.ts";
import { tooLarge } from "../too-large.ts";
import { lagOf, lazyAdmin } from "./kafka-admin.ts";
import { subscribeToKafka } from "./kafka-subscription.ts";

const CONNECT_MS = 5_000;
const RETRY = { initialRetryTime: 200, maxRetryTime: 2_000, retries: 3 };
const TOO_LARGE = new Set(["MESSAGE_TOO_LARGE", "RECORD_LIST_TOO_LARGE"]);
/** By its name: the module's classes of errors cannot be imported by theirs. */
const isTooLarge = (error: unknown): boolean =>
  error instanceof Error && "type" in error && TOO_LARGE.has(String(error.type));
/** CloudEvents attributes as Kafka's headers have them. */
const ATTRIBUTE = /^ce-(?=[a-z0-9]+$)/;

type Options = SubscribeOptions<KafkaConfig>;

export const kafka: Source<KafkaConfig> = {
  type: "kafka",
  config: KafkaConfig,
  subscribe: (options) => {
    const kafka = client(options, `isotope-${options.trigger.replace("/", "-")}`);
    return Promise.resolve(subscribeToKafka(kafka, options));
  },
  produce,
  shares: () => true,
  waiting: async (options) => {
    const admin = lazyAdmin(client(options, "isotope-looks"));
    try {
      const places = await admin.places(options.config.consumerGroup ?? options.uid, options.topic);
      // Where a group without offsets would begin is for a member to note.
      if (places.some(({ committed }) => committed === undefined)) return undefined;
      return lagOf(places, true);
    } finally {
      await admin.close();
    }
  },
  forget: async (options) => {
    // A group that somebody named is theirs.
    if (options.config.consumerGroup !== undefined) return;
    const admin = client(options, "isotope-forgets").admin();
    await admin.connect();
    try {
      await admin.deleteGroups([options.uid]);
    } finally {
      await admin.disconnect();
    }
  },
};

const client = ({ config, secret }: Pick<Options, "config" | "secret">, clientId: string): Kafka => {
  const sasl = saslOf(config, secret);
  const ssl = config.tls === "enable";
  const settings: ClientConfig = {
    clientId,
    brokers: config.bootstrapServers,
    connectionTimeout: CONNECT_MS,
    logLevel: logLevel.NOTHING,
    retry: RETRY,
    ...(ssl
      ? {
          ssl: {
            rejectUnauthorized: !config.unsafeSsl,
            ...(secret["ca"] === undefined ? {} : { ca: secret["ca"] }),
            ...(secret["cert"] === undefined ? {} : { cert: secret["cert"] }),
            ...(secret["key"] === undefined ? {} : { key: secret["key"] }),
          },
        }
      : {}),
    ...(sasl ? { sasl } : {}),
  };
  return new Kafka(settings);
};

function saslOf({ sasl }: KafkaConfig, secret: Readonly<Record<string, string>>): SASLOptions | undefined {
  if (sasl === "none") return undefined;
  const { username = "", password = "" } = secret;
  if (sasl === "plaintext") return { mechanism: "plain", username, password };
  return { mechanism: sasl === "scram_sha256" ? "scram-sha-256" : "scram-sha-512", username, password };
}

async function produce(options: ProduceOptions<KafkaConfig>): Promise<Producer> {
  const producer = client(options, `isotope-${options.namespace}-producer`).producer({
    createPartitioner: Partitioners.DefaultPartitioner,
  });
  await producer.connect();
  return {
    send: async ({ topic, key, headers, body }) => {
      const value = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
      const named = Object.entries(headers).map(([name, text]) =>
        ATTRIBUTE.test(name) ? [name.replace(ATTRIBUTE, "ce_"), percentDecoded(text)] : [name, text],
      );
      const message = { key: key ?? null, value, headers: Object.fromEntries(named) };
      try {
        await producer.send({ topic, acks: -1, messages: [message] });
      } catch (error) {
        throw isTooLarge(error) ? tooLarge({ topic, headers, body }, error) : error;
      }
    },
    close: () => producer.disconnect(),
  };
}
