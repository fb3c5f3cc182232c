/** A consumer as a process of its own, which the contract's tests kill. Its function is the HTTP server of the test. */
import type { Outcome } from "../../../engine/triggers/delivery/event.ts";
import { consume } from "../../../engine/triggers/queues/consume.ts";
import type { Source } from "../../../engine/triggers/queues/source.ts";
import { processLog } from "../../../net/log.ts";

export interface ConsumerProcessOptions {
  readonly type: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly secret: Readonly<Record<string, string>>;
  readonly redisUrl?: string | undefined;
  readonly topic: string;
  readonly uid: string;
  readonly concurrency: number;
  /** Gets every delivery as POST, with the event's id in `x-event-id`. */
  readonly functionUrl: string;
}

const options: ConsumerProcessOptions = JSON.parse(process.argv[2] ?? "{}");
const redisUrl = (): string | undefined => options.redisUrl;
/** Only what is needed is loaded: a busy machine takes seconds for the libraries of all of them. */
const SOURCES: Readonly<Record<string, () => Promise<Source>>> = {
  kafka: async () => (await import("../../../engine/triggers/queues/sources/kafka.ts")).kafka,
  "nats-jetstream": async () =>
    (await import("../../../engine/triggers/queues/sources/nats-jetstream.ts")).natsJetStream,
  "azure-storage-queue": async () =>
    (await import("../../../engine/triggers/queues/sources/azure-storage-queue.ts")).azureStorageQueue,
  "redis-streams": async () =>
    (await import("../../../engine/triggers/queues/sources/redis-streams.ts")).redisStreams(redisUrl),
  statestore: async () =>
    (await import("../../../engine/triggers/queues/sources/redis-streams.ts")).statestore(redisUrl),
};
const fromList = async (): Promise<Source | undefined> =>
  (await import("../../../engine/triggers/queues/sources/index.ts"))
    .createSources({ redisUrl })
    .get(options.type);
const source = await (SOURCES[options.type] ?? fromList)();
if (!source) throw new Error(`No source "${options.type}"`);
await consume({
  source,
  config: source.config.parse(options.metadata),
  secret: options.secret,
  trigger: {
    namespace: "default",
    name: "killed",
    uid: options.uid,
    topic: options.topic,
    contentType: "application/json",
  },
  target: { type: "name", name: "killed" },
  retry: { maxRetries: 3, baseMs: 20, maxMs: 100 },
  concurrency: options.concurrency,
  timeoutMs: () => 30_000,
  deliver: async (_target, event, { signal }): Promise<Outcome> => {
    const headers = { ...event.headers, "x-event-id": event.id };
    const reply = await fetch(options.functionUrl, {
      method: "POST",
      headers,
      body: Buffer.from(event.body),
      signal,
    });
    return {
      kind: "done",
      status: reply.status,
      headers: {},
      body: new Uint8Array(await reply.arrayBuffer()),
    };
  },
  bury: () => Promise.reject(new Error("Nothing is to be buried here")),
  log: processLog("consumer"),
  onState: ({ connected }) => {
    if (connected) process.stdout.write("connected\n");
  },
});
