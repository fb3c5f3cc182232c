import { z } from "zod";
import { flag, servers, whole } from "./setting.ts";

/** `messageQueueType: kafka`. Secret: `username`, `password` (SASL); `ca`, `cert`, `key` (TLS, PEM). */
export const KafkaConfig = z.strictObject({
  bootstrapServers: servers.describe("Brokers to begin with: host:port, with commas between"),
  consumerGroup: z.string().min(1).max(249).optional().describe("Consumer group; default: the trigger's uid"),
  offsetResetPolicy: z
    .enum(["latest", "earliest"])
    .prefault("latest")
    .describe(
      "Where a group without offsets begins: with what comes from now on, or with the oldest message",
    ),
  ordering: z
    .enum(["partition", "key"])
    .prefault("partition")
    .describe(
      "What is delivered in order: all messages of a partition, or those of the same key, side by side inside a partition",
    ),
  batchSize: whole(1, 1_000, 1).describe(
    "Most messages that are delivered in one call, as a batch of CloudEvents (`application/cloudevents-batch+json`); of what is there, and in order; 1: each by itself",
  ),
  maxBytes: whole(1024, 64 * 2 ** 20, 2 ** 20).describe(
    "Most bytes that are fetched of a partition at a time",
  ),
  sessionTimeoutMs: whole(6_000, 300_000, 30_000).describe(
    "Without a heartbeat for so long the broker gives the partitions to others",
  ),
  tls: z.enum(["disable", "enable"]).prefault("disable").describe("Whether the connection is encrypted"),
  unsafeSsl: flag(false).describe("With TLS: takes any certificate of the broker"),
  sasl: z
    .enum(["none", "plaintext", "scram_sha256", "scram_sha512"])
    .prefault("none")
    .describe("How to authenticate; the Secret holds `username` and `password`"),
});
export type KafkaConfig = z.infer<typeof KafkaConfig>;
