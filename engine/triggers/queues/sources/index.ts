import type { SourceType } from "../../../../api/sources/index.ts";
import type { Source } from "../source.ts";
import { azureStorageQueue } from "./azure-storage-queue.ts";
import { kafka } from "./kafka.ts";
import { natsJetStream } from "./nats-jetstream.ts";
import { redisStreams, statestore } from "./redis-streams.ts";

export interface SourcesOptions {
  /** Redis of the platform, where the built-in topics lie; undefined = it has none. */
  readonly redisUrl: () => string | undefined;
}

/** Every kind of queue or stream, by the `messageQueueType` of triggers. */
export function createSources({ redisUrl }: SourcesOptions): ReadonlyMap<string, Source> {
  const sources: Readonly<Record<SourceType, Source>> = {
    "redis-streams": redisStreams(redisUrl),
    statestore: statestore(redisUrl),
    kafka,
    "nats-jetstream": natsJetStream,
    "azure-storage-queue": azureStorageQueue,
  };
  return new Map(Object.entries(sources));
}
