/**
 * Messages of a topic of Kafka, as a member of a consumer group of the classic protocol.
 *
 * Invariants
 * K1. What is committed of a partition is the offset below which every message is settled; so in key order, too, nothing unsettled is ever skipped.
 * K2. Messages are handed over without waiting for those before: heartbeats go on however long a function takes, and a partition whose messages wait
 *     holds up no other. One with `WINDOW` messages in hand is not fetched from.
 * K3. A message that is fetched again (rebalance, lost connection) while it is in hand is not handed over a second time.
 * K4. Before the member joins its group anew, what has not begun is withdrawn, what runs has time to end, and what is settled is committed. What still
 *     runs of a partition that went to another member is not tried again here.
 * K5. A group that has committed anything of a topic skips nothing of it any more, whatever `offsetResetPolicy` says: partitions that appear later are read
 *     from their beginning, and a group that was asked for the latest notes at its start where that is.
 */
import {
  type Consumer as KafkaConsumer,
  type EachBatchPayload,
  type Kafka,
  type PartitionAssigner,
  PartitionAssigners,
} from "kafkajs";
import type { KafkaConfig } from "../../../../api/sources/kafka.ts";
import { sleep } from "../../../../kube/sleep.ts";
import { inBatches } from "../message-batch.ts";
import type { SourceMessage, SubscribeOptions, Subscription } from "../source.ts";
import { followForever } from "./follow-forever.ts";
import { type KafkaAdmin, lagOf, lazyAdmin } from "./kafka-admin.ts";
import { placeOf, sourceMessage } from "./kafka-message.ts";
import { createOffsetTrack, type OffsetTrack } from "./offset-track.ts";

const RETRY = { initialRetryTime: 200, maxRetryTime: 2_000, retries: 3 };
const HEARTBEATS_PER_SESSION = 10;
const MAX_WAIT_MS = 500;
const COMMIT_EVERY_MS = 100;
const LAST_COMMIT_MS = 5_000;
/** Messages in hand of one partition. */
const WINDOW = 512;

type Options = SubscribeOptions<KafkaConfig>;

/** State of one subscription; `consumer` changes with every connection. */
interface Member {
  readonly options: Options;
  readonly groupId: string;
  readonly tracks: Map<number, OffsetTrack>;
  /** Not fetched from, since they have enough in hand. */
  readonly full: Set<number>;
  readonly admin: KafkaAdmin;
  readonly closed: AbortSignal;
  paused: boolean;
  consumer: KafkaConsumer | undefined;
  /** It is noted where the group began. */
  started: boolean;
  /** One at a time. */
  committing: Promise<void> | undefined;
  /** When the wait of K4 is over; undefined = the group is joined. */
  joinBy: number | undefined;
}

export function subscribeToKafka(kafka: Kafka, options: Options): Subscription {
  const { config, topic } = options;
  const closed = new AbortController();
  const leaving = new AbortController();
  const member: Member = {
    options,
    groupId: config.consumerGroup ?? options.uid,
    tracks: new Map(),
    full: new Set(),
    admin: lazyAdmin(kafka),
    closed: closed.signal,
    paused: false,
    consumer: undefined,
    started: false,
    committing: undefined,
    joinBy: undefined,
  };
  const running = followForever(closed.signal, options.onState, () => follow(kafka, member, leaving.signal));
  const commits = setInterval(() => void commit(member), COMMIT_EVERY_MS);
  const setPaused = (paused: boolean): Promise<void> => {
    member.paused = paused;
    regulateAll(member);
    return Promise.resolve();
  };
  return {
    ack: (message) => {
      const { partition, offset } = placeOf(message);
      member.tracks.get(partition)?.settle(offset);
      regulate(member, partition);
      return Promise.resolve();
    },
    pause: () => setPaused(true),
    resume: () => setPaused(false),
    lag: async () => {
      const places = await member.admin.places(member.groupId, topic).catch(() => undefined);
      return places && lagOf(places, config.offsetResetPolicy === "earliest");
    },
    close: async () => {
      closed.abort();
      clearInterval(commits);
      // A consumer that has left its group can commit no more.
      await Promise.race([commit(member).then(() => commit(member)), sleep(LAST_COMMIT_MS)]);
      leaving.abort();
      await running;
      await member.admin.close();
    },
  };
}

/** Takes part in the group until `leaving`. Rejects when the connection is lost. */
async function follow(kafka: Kafka, member: Member, leaving: AbortSignal): Promise<void> {
  const { config, topic, onState, concurrency } = member.options;
  const consumer = kafka.consumer({
    groupId: member.groupId,
    sessionTimeout: config.sessionTimeoutMs,
    rebalanceTimeout: config.sessionTimeoutMs * 2,
    heartbeatInterval: config.sessionTimeoutMs / HEARTBEATS_PER_SESSION,
    maxWaitTimeInMs: MAX_WAIT_MS,
    maxBytesPerPartition: config.maxBytes,
    partitionAssigners: [assignerAfter(() => settleBeforeJoin(member))],
    retry: { ...RETRY, restartOnFailure: () => Promise.resolve(false) },
  });
  const crashed = Promise.withResolvers<never>();
  crashed.promise.catch(() => undefined);
  consumer.on(consumer.events.CRASH, ({ payload }) => crashed.reject(payload.error));
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    member.consumer = consumer;
    joined(member, payload.memberAssignment[topic] ?? []);
    onState({ connected: true });
    if (!member.started) noteStart(member).catch((error: unknown) => crashed.reject(error));
  });
  const left = new Promise<void>((resolve) => leaving.addEventListener("abort", () => resolve()));
  try {
    await consumer.connect();
    const places = await member.admin.places(member.groupId, topic);
    const isNew = places.every(({ committed }) => committed === undefined);
    await consumer.subscribe({ topic, fromBeginning: config.offsetResetPolicy === "earliest" || !isNew });
    await consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      partitionsConsumedConcurrently: Math.max(1, concurrency),
      eachBatch: (payload) => takeBatch(member, payload),
    });
    await Promise.race([crashed.promise, left]);
  } finally {
    member.consumer = undefined;
    await consumer.disconnect().catch(() => undefined);
  }
}

/** kafkajs asks for the group's coordinator right before it joins, and shows no other moment at which it would wait. */
function assignerAfter(beforeJoin: () => Promise<void>): PartitionAssigner {
  return (config) => {
    const { cluster } = config;
    const find = cluster.findGroupCoordinator.bind(cluster);
    cluster.findGroupCoordinator = async (group) => {
      await beforeJoin();
      return find(group);
    };
    return PartitionAssigners.roundRobin(config);
  };
}

/** K4. */
async function settleBeforeJoin(member: Member): Promise<void> {
  const { options, tracks, closed } = member;
  member.joinBy ??= performance.now() + options.config.sessionTimeoutMs / 2;
  for (;;) {
    const dropped = new Map<number, Set<bigint>>();
    for (const message of options.withdraw(() => true))
      for (const part of message.parts ?? [message]) {
        const { partition, offset } = placeOf(part);
        dropped.set(partition, (dropped.get(partition) ?? new Set()).add(offset));
      }
    for (const [partition, offsets] of dropped) tracks.get(partition)?.drop(offsets);
    const busy = [...tracks.values()].some(({ size }) => size > 0);
    if (!busy || closed.aborted || performance.now() > member.joinBy) break;
    await sleep(COMMIT_EVERY_MS / 5, closed);
  }
  await commit(member);
}

/** The partitions are dealt: what is known of others is forgotten. */
function joined(member: Member, assigned: readonly number[]): void {
  const { tracks, options } = member;
  member.joinBy = undefined;
  const isLost = (message: SourceMessage): boolean => !assigned.includes(placeOf(message).partition);
  options.withdraw(isLost, true);
  for (const partition of tracks.keys()) if (!assigned.includes(partition)) tracks.delete(partition);
  member.full.clear();
  regulateAll(member);
}

/** K5. Commits all partitions at once: members that begin together note the same, or find it noted. Nothing is fetched before. */
async function noteStart(member: Member): Promise<void> {
  const { admin, groupId, options, consumer } = member;
  const { topic, since, config } = options;
  const places = await admin.places(groupId, topic);
  const isNew = places.every(({ committed }) => committed === undefined);
  if (isNew && config.offsetResetPolicy === "latest" && consumer) {
    const starts = await admin.starts(topic, since);
    await consumer.commitOffsets(
      starts.map(({ partition, offset }) => ({ topic, partition, offset: String(offset) })),
    );
    for (const { partition, offset } of starts) consumer.seek({ topic, partition, offset: String(offset) });
  }
  member.started = true;
  regulateAll(member);
}

async function takeBatch(member: Member, payload: EachBatchPayload): Promise<void> {
  const { options, tracks, closed } = member;
  const { batch } = payload;
  const { partition, messages } = batch;
  if (closed.aborted || isPaused(member) || !payload.isRunning() || payload.isStale()) return;
  const track = tracks.get(partition) ?? createOffsetTrack();
  tracks.set(partition, track);
  track.begin(BigInt(batch.firstOffset() ?? "0"));
  const fresh = messages
    .filter(({ offset }) => track.take(BigInt(offset)))
    .map((message) => sourceMessage(options, partition, message));
  track.reached(BigInt(batch.lastOffset()) + 1n);
  for (const message of inBatches(fresh, options.config.batchSize)) options.onMessage(message);
  payload.resolveOffset(batch.lastOffset());
  regulate(member, partition);
}

/** Fetches from a partition while it has room, and not while the subscription is paused. */
function regulate(member: Member, partition: number): void {
  const { consumer, tracks, full, options } = member;
  const size = tracks.get(partition)?.size ?? 0;
  const isFull = isPaused(member) || size >= (full.has(partition) ? WINDOW / 2 : WINDOW);
  if (!consumer || isFull === full.has(partition)) return;
  const which = [{ topic: options.topic, partitions: [partition] }];
  if (isFull) {
    full.add(partition);
    consumer.pause(which);
  } else {
    full.delete(partition);
    consumer.resume(which);
  }
}

const isPaused = ({ paused, started }: Member): boolean => paused || !started;

function regulateAll(member: Member): void {
  const { consumer, full, options, tracks } = member;
  if (!consumer) return;
  full.clear();
  if (isPaused(member)) consumer.pause([{ topic: options.topic }]);
  else {
    consumer.resume([{ topic: options.topic }]);
    for (const partition of tracks.keys()) regulate(member, partition);
  }
}

/** Never rejects: what could not be committed now will be later, or is delivered again. */
function commit(member: Member): Promise<void> {
  member.committing ??= commitSettled(member).finally(() => {
    member.committing = undefined;
  });
  return member.committing;
}

async function commitSettled({ consumer, options, tracks }: Member): Promise<void> {
  const { topic } = options;
  const due = [...tracks].flatMap(([partition, track]) => {
    const next = track.uncommitted();
    return next === undefined ? [] : [{ track, partition, next }];
  });
  if (!consumer || due.length === 0) return;
  try {
    await consumer.commitOffsets(
      due.map(({ partition, next }) => ({ topic, partition, offset: String(next) })),
    );
    for (const { track, next } of due) track.committed(next);
  } catch {
    // The group is being joined, or the connection is lost.
  }
}
