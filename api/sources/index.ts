import type { z } from "zod";
import { AzureQueueConfig } from "./azure-storage-queue.ts";
import { KafkaConfig } from "./kafka.ts";
import { JetStreamConfig } from "./nats-jetstream.ts";
import { RedisStreamsConfig, StatestoreConfig } from "./redis-streams.ts";
import { settingFacts } from "./setting-facts.ts";

/** What docs, CLI help and validation say of a kind of queue or stream. */
export interface SourceDescription {
  /** `messageQueueType` of triggers. */
  readonly type: string;
  /** One line. */
  readonly what: string;
  /** What the `topic` of a trigger names. */
  readonly topic: string;
  /** Key of the Secret → what it holds. */
  readonly secret: Readonly<Record<string, string>>;
  /** Settings for an example. */
  readonly example: Readonly<Record<string, string>>;
  /** What else its users should know, a sentence or two each. */
  readonly notes: readonly string[];
  readonly config: z.ZodObject;
}

const LOGIN = { username: "User", password: "Password" };
const TLS = {
  ca: "Certificates of the authorities that are trusted (PEM)",
  cert: "Certificate of the client (PEM)",
  key: "Its key (PEM)",
};
const BUILT_IN_NOTES = [
  "The built-in topics lie in the platform's Redis and need no other server: `isotope topic publish`, `peek` and `tail` work on them, and destinations of asynchronous invocations reach them. Each belongs to a namespace.",
  "A built-in topic holds 1,000,000 messages. One that is full drops messages that all triggers have dealt with, and refuses new ones rather than drop others.",
  "With `start: latest`, what is published after the trigger was created is delivered, also before the trigger is connected (in streams of a Redis of your own: where their ids are times, as Redis makes them).",
  "Both may lie in a Redis Cluster.",
  "When a trigger is deleted, or given another topic, its consumer group goes. A group that `group` names on a Redis of your own stays.",
];

/** Every kind of queue or stream that a MessageQueueTrigger can name. */
export const SOURCES = [
  {
    type: "redis-streams",
    what: "The built-in topics, or the streams of a Redis of your own",
    topic: "The built-in topic; with `address`, the key of the stream",
    secret: LOGIN,
    example: { ordering: "key" },
    notes: [
      ...BUILT_IN_NOTES,
      "Entries that others have written with fields of their own are delivered as a JSON object of these fields.",
    ],
    config: RedisStreamsConfig,
  },
  {
    type: "statestore",
    what: "The built-in topics under the reference system's name: strictly ordered",
    topic: "The built-in topic",
    secret: LOGIN,
    example: {},
    notes: BUILT_IN_NOTES,
    config: StatestoreConfig,
  },
  {
    type: "kafka",
    what: "Apache Kafka and what speaks its protocol",
    topic: "The Kafka topic",
    secret: { ...LOGIN, ...TLS },
    example: { bootstrapServers: "kafka:9092" },
    notes: [
      "An offset is committed once every message below it has been dealt with: delivered, or in the error topic or the dead letters.",
      "Response and error topics are topics of the same cluster. Keys and headers are kept.",
    ],
    config: KafkaConfig,
  },
  {
    type: "nats-jetstream",
    what: "NATS JetStream: durable consumers of a stream",
    topic: "The subject; its stream must exist",
    secret: { token: "Token, instead of user and password", ...LOGIN, ...TLS },
    example: { servers: "nats:4222" },
    notes: [
      "With `deliverPolicy: new`, what is published after the trigger was created is delivered, also before the trigger is connected.",
      "The durable consumer is made when the trigger starts, and goes when the trigger is deleted. While a function works on a message, the server is told that it is in progress.",
      "Keys, which NATS does not have, travel in the header `Isotope-Message-Key`.",
    ],
    config: JetStreamConfig,
  },
  {
    type: "azure-storage-queue",
    what: "Queues of Azure Storage",
    topic: "The queue",
    secret: {
      connectionString: "Connection string of the storage account",
      accountName: "Name of the storage account, instead of a connection string",
      accountKey: "Key of the storage account",
    },
    example: {},
    notes: [
      "The service promises no order, and keeps neither keys nor headers.",
      "While a function works on a message, it stays hidden from others.",
    ],
    config: AzureQueueConfig,
  },
] as const satisfies readonly SourceDescription[];

export type SourceType = (typeof SOURCES)[number]["type"];

/** Kinds that are answered with what to use instead. */
const RETIRED: Readonly<Record<string, string>> = Object.fromEntries(
  ["nats-streaming", "stan"].map((type) => [
    type,
    `NATS Streaming ("${type}") reached its end of life in June 2023: use messageQueueType "nats-jetstream" with metadata servers=host:port, stream=<stream>, and the subject as topic`,
  ]),
);

/** What is wrong with a trigger's type of queue, or undefined. */
export function sourceTypeFault(type: string): string | undefined {
  if (SOURCES.some((source) => source.type === type)) return undefined;
  const allowed = SOURCES.map((source) => `"${source.type}"`).join(", ");
  return RETIRED[type] ?? `messageQueueType must be one of ${allowed}, got "${type}"`;
}

/** What is wrong with a trigger's metadata for this type of queue: one sentence each, empty when nothing is. */
export function sourceConfigFaults(type: string, metadata: Readonly<Record<string, string>>): string[] {
  const source = SOURCES.find((known) => known.type === type);
  if (!source) return [sourceTypeFault(type) ?? ""];
  const result = source.config.safeParse(metadata);
  if (result.success) return [];
  const facts = new Map(settingFacts(source.config).map((fact) => [fact.name, fact]));
  // A name that is not known first: what is missing is often what it was meant to be.
  const issues = result.error.issues.toSorted(
    (a, b) => Number(b.code === "unrecognized_keys") - Number(a.code === "unrecognized_keys"),
  );
  return issues.map((issue) => {
    if (issue.code === "unrecognized_keys")
      return `metadata has unknown ${issue.keys.map((key) => `"${key}"`).join(", ")}: allowed are ${[...facts.keys()].join(", ")}`;
    const name = String(issue.path[0] ?? "");
    const fact = facts.get(name);
    if (!fact) return `metadata: ${issue.message}`;
    const given = metadata[name];
    return given === undefined
      ? `metadata "${name}" is required: ${fact.allowed}`
      : `metadata "${name}" must be ${fact.allowed}, got "${given.slice(0, 200)}"`;
  });
}
