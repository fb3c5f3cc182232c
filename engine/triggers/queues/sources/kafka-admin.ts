import type { Admin, Kafka } from "kafkajs";

/** What is asked of the brokers beside messages; connects when something is asked, and anew after a failure. */
export interface KafkaAdmin {
  /** Offsets of each partition of a topic: of its oldest message, of the next one, and what the group committed. */
  places(groupId: string, topic: string): Promise<Place[]>;
  /** Of each partition the offset of the first message that is not older than `since`, or of the next one. */
  starts(topic: string, since: number | undefined): Promise<{ partition: number; offset: bigint }[]>;
  close(): Promise<void>;
}

export interface Place {
  readonly partition: number;
  readonly low: bigint;
  readonly high: bigint;
  /** undefined = nothing. */
  readonly committed: bigint | undefined;
}

export function lazyAdmin(kafka: Kafka): KafkaAdmin {
  let opened: Promise<Admin> | undefined;
  const open = async (): Promise<Admin> => {
    const admin = kafka.admin();
    await admin.connect();
    return admin;
  };
  const close = async (): Promise<void> => {
    const old = opened;
    opened = undefined;
    await old?.then((admin) => admin.disconnect()).catch(() => undefined);
  };
  const ask = async <T>(question: (admin: Admin) => Promise<T>): Promise<T> => {
    try {
      opened ??= open();
      return await question(await opened);
    } catch (error) {
      await close();
      throw error;
    }
  };
  return {
    close,
    places: (groupId, topic) =>
      ask(async (admin) => {
        const [ends, [group]] = await Promise.all([
          admin.fetchTopicOffsets(topic),
          admin.fetchOffsets({ groupId, topics: [topic] }),
        ]);
        const committed = new Map(
          group?.partitions.map(({ partition, offset }) => [partition, BigInt(offset)]),
        );
        return ends.map(({ partition, low, high }) => {
          const known = committed.get(partition) ?? -1n;
          return {
            partition,
            low: BigInt(low),
            high: BigInt(high),
            committed: known >= 0n ? known : undefined,
          };
        });
      }),
    starts: (topic, since) =>
      ask(async (admin) => {
        const offsets = await (since === undefined
          ? admin.fetchTopicOffsets(topic)
          : admin.fetchTopicOffsetsByTimestamp(topic, since));
        return offsets.map(({ partition, offset }) => ({ partition, offset: BigInt(offset) }));
      }),
  };
}

/** Messages of a topic that the group has not dealt with. */
export function lagOf(places: readonly Place[], fromBeginning: boolean): number {
  const isNew = places.every(({ committed }) => committed === undefined);
  const lag = places.reduce((sum, { low, high, committed }) => {
    const from = committed ?? (fromBeginning || !isNew ? low : high);
    return from < high ? sum + high - from : sum;
  }, 0n);
  return Number(lag);
}
