import { isDeepStrictEqual } from "node:util";
import type { MessageQueueTrigger } from "../../../api/kinds/index.ts";
import type { KubeClient } from "../../../kube/client.ts";
import type { FunctionWorld } from "../../../kube/function-world.ts";
import type { Log } from "../../../net/log.ts";
import type { Deliver } from "../delivery/event.ts";
import type { BuryInvocation } from "../invocations/accept.ts";
import type { TopicDestination } from "../invocations/journal.ts";
import { DEFAULT_TYPE, typeOf } from "./check-trigger.ts";
import { type Consumer, consume } from "./consume.ts";
import { type MessageTrigger, messageEvent } from "./message-event.ts";
import { readSecret } from "./read-secret.ts";
import type { Source, SourceMessage, SourceState } from "./source.ts";

export interface RunTriggerDeps {
  readonly client: Pick<KubeClient, "find">;
  readonly functions: Pick<FunctionWorld, "function">;
  readonly deliver: Deliver;
  readonly bury: BuryInvocation;
  readonly sources: ReadonlyMap<string, Source>;
  readonly log: Log;
}

/** A trigger whose messages this replica takes. */
export interface RunningTrigger {
  readonly consumer: Consumer;
  /** Milliseconds since 1970. */
  readonly startedAt: number;
  /** Of the connection, as the source last said. */
  state(): SourceState;
  /** Whether the Secret that it was started with says something else by now. One that is gone does not: what runs goes on. */
  secretChanged(): Promise<boolean>;
}

const DEFAULT_RETRIES = 3;
const BACKOFF = { baseMs: 500, maxMs: 60_000 };
const DEFAULT_CONCURRENCY = 32;
const DEFAULT_TIMEOUT_SECONDS = 60;
/** Beyond the function's own limit, which the router watches over. */
const MARGIN_MS = 5_000;

/** Where the answer goes that a dead letter gets once it is redriven. */
const answerTo = (
  trigger: MessageQueueTrigger,
  topic: string,
  { key, headers }: SourceMessage,
): TopicDestination => ({
  messageQueueType: typeOf(trigger),
  topic,
  metadata: trigger.spec.metadata,
  secret: trigger.spec.secret,
  inReplyTo: { key, headers },
});

/**
 * Begins to take a trigger's messages. Rejects with a sentence when its Secret is not there.
 * @param since as sources take it
 */
export async function runTrigger(
  deps: RunTriggerDeps,
  object: MessageQueueTrigger,
  since: number,
): Promise<RunningTrigger> {
  const { spec, metadata } = object;
  const namespace = metadata.namespace ?? "default";
  const source = deps.sources.get(typeOf(object));
  const target = spec.functionref;
  if (!source || !target) throw new Error(`No source for "${spec.messageQueueType ?? DEFAULT_TYPE}"`);
  const trigger: MessageTrigger & { uid: string } = {
    namespace,
    name: metadata.name,
    uid: metadata.uid ?? `${namespace}-${metadata.name}`,
    topic: spec.topic,
    contentType: spec.contentType || "application/json",
    ...(spec.respTopic ? { responseTopic: spec.respTopic } : {}),
    ...(spec.errorTopic ? { errorTopic: spec.errorTopic } : {}),
  };
  let state: SourceState = { connected: false };
  const readOwnSecret = () =>
    spec.secret ? readSecret(deps.client, namespace, spec.secret) : Promise.resolve({});
  const secret = await readOwnSecret();
  const consumer = await consume<unknown>({
    source,
    config: source.config.parse(spec.metadata ?? {}),
    secret,
    since,
    trigger,
    target,
    retry: { ...BACKOFF, maxRetries: spec.maxRetries ?? DEFAULT_RETRIES },
    concurrency: spec.concurrency ?? DEFAULT_CONCURRENCY,
    timeoutMs: () => {
      const seconds = deps.functions.function(namespace, target.name)?.spec.functionTimeout;
      return (seconds ?? DEFAULT_TIMEOUT_SECONDS) * 1_000 + MARGIN_MS;
    },
    deliver: deps.deliver,
    bury: async ({ message, failure, attempts }) => {
      const event = messageEvent(trigger, message);
      await deps.bury(
        {
          event,
          target,
          source: `mqt/${trigger.name}`,
          dedupKey: event.id,
          ...(trigger.responseTopic === undefined
            ? {}
            : { onSuccess: { topic: answerTo(object, trigger.responseTopic, message) } }),
        },
        failure,
        attempts,
      );
    },
    log: deps.log.with({ trigger: `${namespace}/${metadata.name}` }),
    onState: (next) => (state = next),
  });
  return {
    consumer,
    startedAt: Date.now(),
    state: () => state,
    secretChanged: async () => {
      const now = await readOwnSecret().catch(() => undefined);
      return now !== undefined && !isDeepStrictEqual(now, secret);
    },
  };
}
