import type { KafkaMessage } from "kafkajs";
import type { KafkaConfig } from "../../../../api/sources/kafka.ts";
import type { SourceMessage, SubscribeOptions } from "../source.ts";

export function sourceMessage(
  { topic, config }: Pick<SubscribeOptions<KafkaConfig>, "topic" | "config">,
  partition: number,
  message: KafkaMessage,
): SourceMessage {
  const key = message.key?.toString("utf8");
  const byKey = config.ordering === "key" && key !== undefined;
  return {
    id: `${topic}/${partition}/${message.offset}`,
    topic,
    key,
    headers: Object.fromEntries(
      Object.entries(message.headers ?? {}).flatMap(([name, value]) => {
        const first = Array.isArray(value) ? value[0] : value;
        return first === undefined ? [] : [[name, first.toString("utf8")]];
      }),
    ),
    body: message.value ?? new Uint8Array(),
    at: Number(message.timestamp),
    delivery: undefined,
    lane: byKey ? `${partition} ${key}` : config.ordering === "key" ? undefined : String(partition),
  };
}

/** Of a batch: where its first message lies. */
export function placeOf({ id }: Pick<SourceMessage, "id">): { partition: number; offset: bigint } {
  const parts = id.split("/");
  return { partition: Number(parts.at(-2)), offset: BigInt(parts.at(-1)?.split("-")[0] ?? 0) };
}
