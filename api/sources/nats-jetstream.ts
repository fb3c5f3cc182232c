import { z } from "zod";
import { flag, servers, whole } from "./setting.ts";

/** `messageQueueType: nats-jetstream`. Secret: `token`, or `username` and `password`; `ca`, `cert`, `key` (TLS, PEM). The topic is a subject. */
export const JetStreamConfig = z.strictObject({
  servers: servers.describe("Servers of the cluster: host:port, with commas between"),
  stream: z
    .string()
    .regex(/^[^\s.*>/\\]{1,255}$/)
    .meta({ allowed: "the name of a stream, without spaces, dots, stars and slashes" })
    .optional()
    .describe("Stream that holds the topic's messages; default: found by the subject"),
  consumer: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,128}$/)
    .meta({ allowed: "1..128 characters of A-Z a-z 0-9 _ -" })
    .optional()
    .describe("Name of the durable consumer; default: the trigger's uid"),
  ordering: z
    .enum(["none", "stream"])
    .prefault("none")
    .describe(
      "What is delivered in order: nothing, or all messages of the subject, one after the other (the server then lets out one at a time)",
    ),
  deliverPolicy: z
    .enum(["new", "all"])
    .prefault("new")
    .describe("Where a new consumer begins: with what comes from now on, or with the oldest message"),
  ackWaitMs: whole(1_000, 3_600_000, 30_000).describe(
    "Without a sign of life for so long the server brings a message again",
  ),
  maxAckPending: whole(1, 65_536, 256).describe("Most messages that are fetched and not dealt with yet"),
  tls: flag(false).describe("Whether the connection is encrypted"),
});
export type JetStreamConfig = z.infer<typeof JetStreamConfig>;
