/**
 * Takes the messages of one trigger to its function.
 *
 * Invariants
 * C1. A message is acknowledged after its function succeeded and the answer is in the response topic, or after the message is in the error topic or
 *     among the dead letters; never before.
 * C2. Of a lane, one message is under way at a time, in the source's order; a message that fails holds its lane until it succeeded or is buried,
 *     which its retries bound.
 * C3. The function is not called again for an answer that it gave: what fails afterwards (response topic, acknowledgement) is tried by itself.
 * C4. What a topic will never take, for its size, holds nothing up: the message of such an answer is given up, and goes to the dead letters if the error
 *     topic does not take it either.
 * C5. What the platform could not take (overload) uses up no attempt.
 * C6. After `close`, nothing is delivered; what was not acknowledged is the source's to bring again, with the same event id.
 */
import { backoffMs } from "../../../kube/backoff.ts";
import { sleep } from "../../../kube/sleep.ts";
import type { PlatformError } from "../../../api/errors.ts";
import type { Log } from "../../../net/log.ts";
import type { Deliver, Failure, Outcome, Target } from "../delivery/event.ts";
import { decideFate, type RetryPolicy } from "./decide-fate.ts";
import { errorText } from "./error-text.ts";
import { type Buried, errorTopicMessage } from "./failure-record.ts";
import { createLanes } from "./lanes.ts";
import { createHand, type DeliverOnce } from "./messages-in-hand.ts";
import { type MessageTrigger, messageEvent, responseMessage } from "./message-event.ts";
import { isTooLarge } from "./too-large.ts";
import type { Producer, Source, SourceMessage, SourceState, Subscription } from "./source.ts";

export interface ConsumerOptions<Config> {
  readonly source: Source<Config>;
  readonly config: Config;
  readonly secret: Readonly<Record<string, string>>;
  readonly trigger: MessageTrigger & { readonly uid: string };
  readonly target: Target;
  readonly retry: RetryPolicy;
  readonly concurrency: number;
  /** As sources take it. */
  readonly since?: number | undefined;
  /** Of one delivery; read for each. */
  readonly timeoutMs: () => number;
  readonly deliver: Deliver;
  /** Keeps a message that has no error topic to go to. Rejects when it could not: tried again. */
  readonly bury: (buried: Buried) => Promise<void>;
  readonly log: Log;
  readonly now?: () => number;
  readonly onState: (state: SourceState) => void;
}

/** Since the consumer began. */
export interface ConsumerStats {
  readonly delivered: number;
  readonly failed: number;
  readonly buried: number;
  /** Messages fetched and not settled. */
  readonly held: number;
  /** Of the last delivery; milliseconds since 1970. */
  readonly lastAt: number | undefined;
  /** Of the last delivery that did not go well, until one does. */
  readonly lastError: string | undefined;
}

export interface Consumer {
  stats(): ConsumerStats;
  lag(): Promise<number | undefined>;
  /** Nothing more is fetched; what was is delivered. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Begins nothing more; what is under way may end within `graceMs`, then it is aborted. The rest is handed back. */
  close(graceMs: number): Promise<void>;
}

/** Pauses between tries to send an answer, to bury or to begin. */
const AGAIN = { baseMs: 200, maxMs: 10_000 };
/** Deliveries of a message beyond its tries, of which nobody knows how they ended, before it is given up: one that takes its consumer along each time. */
const LOST_TRIES = 10;
/** For acknowledgements of what was under way when the consumer closed. */
const LAST_WORDS_MS = 1_000;

export async function consume<Config>(options: ConsumerOptions<Config>): Promise<Consumer> {
  const { source, trigger } = options;
  const lanes = createLanes(options.concurrency);
  const closing = new AbortController();
  const aborting = new AbortController();
  const counts = { delivered: 0, failed: 0, buried: 0, lastAt: 0, lastError: "" };
  const producer = lazyProducer(options);
  let subscription: Subscription | undefined;

  const { respond, bury, acknowledge, handBack } = aftermath(options, {
    producer,
    counts,
    closing: closing.signal,
    subscription: () => subscription,
  });

  const hand = createHand(lanes, {
    deliverOnce: deliverer(options, {
      counts,
      aborting: aborting.signal,
      respond,
      bury,
      acknowledge,
      handBack,
    }),
    isClosing: () => closing.signal.aborted,
  });
  subscription = await source.subscribe({
    config: options.config,
    namespace: trigger.namespace,
    trigger: `${trigger.namespace}/${trigger.name}`,
    uid: trigger.uid,
    topic: trigger.topic,
    concurrency: options.concurrency,
    since: options.since,
    secret: options.secret,
    onMessage: hand.take,
    withdraw: hand.withdraw,
    onState: options.onState,
  });
  const subscribed = subscription;

  return {
    stats: () => ({
      ...counts,
      held: lanes.held,
      lastAt: counts.lastAt || undefined,
      lastError: counts.lastError || undefined,
    }),
    lag: () => subscribed.lag(),
    pause: () => subscribed.pause(),
    resume: () => subscribed.resume(),
    close: async (graceMs) => {
      const stopped = lanes.stop();
      await subscribed.pause().catch(() => undefined);
      await Promise.race([stopped, sleep(graceMs)]);
      closing.abort();
      aborting.abort(new Error("The consumer is closing"));
      // An acknowledgement that the broker does not take ends when the subscription does.
      await Promise.race([stopped, sleep(LAST_WORDS_MS)]);
      await subscribed.close();
      await stopped;
      await producer.close();
    },
  };
}

interface Counts {
  delivered: number;
  failed: number;
  buried: number;
  lastAt: number;
  lastError: string;
}

interface DelivererDeps extends ReturnType<typeof aftermath> {
  readonly counts: Counts;
  readonly aborting: AbortSignal;
}

/** Delivers a message once, and does with it what that came to. */
function deliverer<Config>(options: ConsumerOptions<Config>, deps: DelivererDeps): DeliverOnce {
  const { counts, aborting, respond, bury, acknowledge, handBack } = deps;
  const now = options.now ?? Date.now;
  return async (message, tries) => {
    const { attempt } = tries;
    let outcome: Outcome;
    try {
      if (attempt > options.retry.maxRetries + 1 + LOST_TRIES)
        outcome = { kind: "rejected", failure: WORN_OUT };
      else
        outcome = await options.deliver(options.target, messageEvent(options.trigger, message), {
          attempt,
          timeoutMs: options.timeoutMs(),
          signal: aborting,
        });
    } catch (error) {
      if (aborting.aborted) return undefined;
      outcome = { kind: "overloaded", afterMs: AGAIN.maxMs, failure: unexpected(error) };
    }
    counts.lastAt = now();
    const fate = decideFate(outcome, attempt, options.retry);
    const giveUp = async (failure: Failure): Promise<"apart" | undefined> => {
      counts.failed++;
      counts.lastError = `${failure.reason}: ${failure.message}`;
      if (message.parts) return "apart";
      if (!(await bury({ message, attempts: attempt, failure, at: now() }))) return undefined;
      counts.buried++;
      await acknowledge(message, true);
      return undefined;
    };
    if (fate.kind === "done") {
      counts.lastError = "";
      const responded = await respond(message, fate.answer);
      if (isTooLarge(responded))
        return giveUp({ status: fate.answer.status, reason: responded.code, message: responded.message });
      if (responded) await acknowledge(message);
      counts.delivered += message.parts?.length ?? 1;
      return undefined;
    }
    if (fate.kind === "bury") return giveUp(fate.failure);
    counts.failed++;
    counts.lastError = `${fate.failure.reason}: ${fate.failure.message}`;
    if (!fate.counts) return fate.delayMs;
    tries.attempt++;
    const isBack = message.lane === undefined && !message.parts && (await handBack(message, fate.delayMs));
    return isBack ? undefined : fate.delayMs;
  };
}

interface AftermathDeps {
  readonly producer: Producer;
  readonly counts: { lastError: string };
  readonly closing: AbortSignal;
  readonly subscription: () => Subscription | undefined;
}

/** What is done with a message after its delivery. */
function aftermath<Config>(options: ConsumerOptions<Config>, deps: AftermathDeps) {
  const { source, trigger, log } = options;
  const { producer, counts, closing, subscription } = deps;

  /** Tries until it succeeds, or can never succeed; false = closed before that. */
  const insist = async (what: string, act: () => Promise<void>): Promise<boolean | PlatformError> => {
    for (let failures = 0; !closing.aborted; failures++) {
      try {
        await act();
        return true;
      } catch (error) {
        counts.lastError = `Cannot ${what}: ${errorText(error)}`;
        if (isTooLarge(error)) return error;
        if (failures === 0) log.warn(`Cannot ${what}; trying again`, { error });
        await sleep(backoffMs(failures + 1, AGAIN), closing);
      }
    }
    return false;
  };

  const bury = async (buried: Buried): Promise<boolean> => {
    const topic = trigger.errorTopic ?? source.poisonTopic?.(options.config, trigger.topic);
    const sent =
      topic !== undefined &&
      (await insist(`send to error topic "${topic}"`, () =>
        producer.send(errorTopicMessage(trigger, topic, buried)),
      ));
    if (topic !== undefined && !isTooLarge(sent)) return sent;
    return (await insist("keep a dead letter", () => options.bury(buried))) === true;
  };

  const respond = (
    message: SourceMessage,
    answer: Extract<Outcome, { kind: "done" }>,
  ): Promise<boolean | PlatformError> => {
    const topic = trigger.responseTopic;
    if (topic === undefined) return Promise.resolve(true);
    return insist(`send to response topic "${topic}"`, () =>
      producer.send(responseMessage(topic, message, answer)),
    );
  };

  const acknowledge = async (message: SourceMessage, buried = false): Promise<void> => {
    try {
      for (const part of message.parts ?? [message]) await subscription()?.ack(part, buried);
    } catch (error) {
      log.warn("Cannot acknowledge a message; it will come again", { id: message.id, error });
    }
  };

  /** False: the message stays here. */
  const handBack = async (message: SourceMessage, delayMs: number): Promise<boolean> => {
    const subscribed = subscription();
    if (!subscribed?.nack) return false;
    try {
      await subscribed.nack(message, delayMs);
      return true;
    } catch (error) {
      log.warn("Cannot hand a message back; it is tried again here", { id: message.id, error });
      return false;
    }
  };

  return { respond, bury, acknowledge, handBack };
}

const WORN_OUT = {
  status: 0,
  reason: "delivered_too_often",
  message: "The message was delivered again and again without an answer being known",
};

const unexpected = (error: unknown) => ({
  status: 0,
  reason: "delivery_failed",
  message: errorText(error),
});

/** Connects when something is sent, and anew after a failure. */
function lazyProducer<Config>({ source, config, secret, trigger }: ConsumerOptions<Config>): Producer {
  let opened: Promise<Producer> | undefined;
  const drop = async (): Promise<void> => {
    const old = opened;
    opened = undefined;
    await old?.then((producer) => producer.close()).catch(() => undefined);
  };
  return {
    send: async (message) => {
      opened ??= source.produce({ config, secret, namespace: trigger.namespace });
      try {
        await (await opened).send(message);
      } catch (error) {
        if (!isTooLarge(error)) await drop();
        throw error;
      }
    },
    close: drop,
  };
}
