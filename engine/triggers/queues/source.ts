import type { z } from "zod";

/** A record of a queue or stream, as every source hands it over. */
export interface SourceMessage {
  /** Of the record within its source, the same on each delivery: `<topic>/<partition>/<offset>`, `<stream>/<sequence>` … */
  readonly id: string;
  readonly topic: string;
  readonly key: string | undefined;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  /** Milliseconds since 1970, if the source knows it. */
  readonly at: number | undefined;
  /** Deliveries so far, counted by the source; 1 = the first; undefined = it does not count. */
  readonly delivery: number | undefined;
  /**
   * Messages of the same lane are delivered one after the other, in the order in which they were handed over; lanes run side by side: a partition,
   * or a key inside it; undefined = no order was promised.
   */
  readonly lane: string | undefined;
  /** Messages that are delivered in one call; each is acknowledged by itself. Should the call fail for good, they are delivered one by one. */
  readonly parts?: readonly SourceMessage[];
}

/**
 * Takes messages of one subscription. A source hands over as many messages as it likes to have unsettled at a time, and no more; the consumer keeps the
 * order of lanes and runs `concurrency` of them at once. The source keeps its session (heartbeats, visibility) for every unsettled message.
 */
export interface Subscription {
  /** The message is dealt with: it must never come again (but for duplicates that a crash makes). Tries until that is so, or the subscription is closed.
   * @param buried it was given up: some brokers tell that on */
  ack(message: SourceMessage, buried?: boolean): Promise<void>;
  /**
   * Hands a message without a lane back to the broker, which brings it again after `delayMs`, counted in `delivery`. Absent: the broker cannot; the
   * consumer then keeps the message and tries it again itself, as it does with every message of a lane.
   */
  nack?(message: SourceMessage, delayMs: number): Promise<void>;
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Messages that nobody has dealt with yet; undefined = the source cannot say. */
  lag(): Promise<number | undefined>;
  /** Unsettled messages are handed back; then all is closed. Called once nothing of this subscription is under way. */
  close(): Promise<void>;
}

export interface SubscribeOptions<Config> {
  readonly config: Config;
  readonly namespace: string;
  /** `namespace/name` of the trigger, and its uid: the default for group names and client ids. */
  readonly trigger: string;
  readonly uid: string;
  readonly topic: string;
  readonly concurrency: number;
  /**
   * Of a subscription that begins with what comes from now on: `now` was then, in milliseconds since 1970. What is published after a trigger exists is its
   * to deliver, though it takes a while until it is connected. Undefined = when the broker first hears of the subscription.
   */
  readonly since?: number | undefined;
  /** Contents of the Secret that the trigger names. */
  readonly secret: Readonly<Record<string, string>>;
  readonly onMessage: (message: SourceMessage) => void;
  /**
   * Takes back messages that were handed over and that nothing runs of: they are forgotten, and given. One that runs is not given; with `lost`, it is not
   * tried again when it fails, since the broker brings it to somebody else.
   */
  readonly withdraw: (which: (message: SourceMessage) => boolean, lost?: boolean) => SourceMessage[];
  /** Connected or not, with the reason: becomes the trigger's status. The source itself goes on trying for ever. */
  readonly onState: (state: SourceState) => void;
}

export interface SourceState {
  readonly connected: boolean;
  readonly error?: string;
}

export interface OutgoingMessage {
  readonly topic: string;
  readonly key?: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

export interface ProduceOptions<Config> {
  readonly config: Config;
  /** Of the trigger: the built-in topics belong to one. */
  readonly namespace: string;
  readonly secret: Readonly<Record<string, string>>;
}

/** A kind of queue or stream: one file under `sources/`, listed in `sources/index.ts`; its settings are described in `api/sources/`. */
export interface Source<Config = unknown> {
  /** `messageQueueType` of triggers. */
  readonly type: string;
  /** Of the trigger's `metadata`: strings in, a checked configuration out; each field described. */
  readonly config: z.ZodType<Config>;
  /** Resolves at once, also when the broker is away: the connection is sought in the background. */
  subscribe(options: SubscribeOptions<Config>): Promise<Subscription>;
  /** For response and error topics, destinations and `isotope topic publish`. */
  produce(options: ProduceOptions<Config>): Promise<Producer>;
  /** Where messages of a trigger without an error topic go when they are given up. Absent, or undefined: to the platform's dead letters. */
  poisonTopic?(config: Config, topic: string): string | undefined;
  /** Whether several subscriptions of one trigger share its messages, keeping what order was promised. Absent: one at a time. */
  shares?(config: Config): boolean;
  /**
   * How many messages wait for a trigger that is not subscribed at the moment, asked by a connection that is closed again; undefined = it is to be
   * subscribed to find out. Absent: its connection is never let go of.
   */
  waiting?(
    options: SubscriptionFacts<Config> & Pick<SubscribeOptions<Config>, "secret">,
  ): Promise<number | undefined>;
  /** Forgets what the broker keeps for a trigger that is deleted (its consumer group). Absent: nothing, or it goes by itself. Twice is as good as once. */
  forget?(options: SubscriptionFacts<Config> & Pick<SubscribeOptions<Config>, "secret">): Promise<void>;
  /**
   * Names what `forget` would forget. Where a change of the trigger changes it, what the name before stood for is forgotten. Absent: a change leaves
   * nothing behind.
   */
  kept?(options: SubscriptionFacts<Config>): string;
}

/** What a broker can tell a subscription by. */
export type SubscriptionFacts<Config = unknown> = Pick<
  SubscribeOptions<Config>,
  "config" | "namespace" | "uid" | "topic"
>;

export interface Producer {
  /** Resolves once the source holds the message durably. Rejects when it does not: the caller tries again, unless it is `tooLarge`. */
  send(message: OutgoingMessage): Promise<void>;
  close(): Promise<void>;
}
