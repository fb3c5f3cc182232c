import type { FastifyInstance } from "fastify";
import type { KubeClient } from "../../kube/client.ts";
import type { FunctionWorld } from "../../kube/function-world.ts";
import type { KeyRing } from "../../net/keys.ts";
import type { Log } from "../../net/log.ts";
import type { RedisConnection } from "../../net/redis.ts";
import type { SignedClient } from "../../net/signed-client.ts";
import type { Deliver } from "./delivery/event.ts";
import type { AcceptInvocation, BuryInvocation } from "./invocations/accept.ts";
import type { InvocationJournal } from "./invocations/journal.ts";
import type { TriggerMetrics } from "./trigger-metrics.ts";

/** What every part of the trigger service is given. */
export interface PartDeps {
  readonly client: KubeClient;
  readonly keys: KeyRing;
  readonly log: Log;
  /** Of this replica; unlike any other's. */
  readonly name: string;
  readonly redis: RedisConnection;
  /** For connections of its own (blocking reads, subscriptions); undefined = no Redis. */
  readonly redisUrl: string | undefined;
  /** Functions, versions and aliases as they are now. Synced before parts start. */
  readonly functions: FunctionWorld;
  /** Delivers durably, in its own time. */
  readonly accept: AcceptInvocation;
  /** What has become of those that were accepted. */
  readonly invocations: Pick<InvocationJournal, "get" | "cancel" | "pinned">;
  readonly executor: Pick<SignedClient, "postJson">;
  /** There is no workflow service: triggers that start runs say so. */
  readonly withoutWorkflows?: boolean;
  /** Keeps a dead letter of an event that this part has tried itself. */
  readonly bury: BuryInvocation;
  readonly metrics: TriggerMetrics;
  /** Delivers now, once. */
  readonly deliver: Deliver;
}

/** Timers, watches, queues: each begins to work when it is made. */
export interface Part {
  /** Registers what it serves, below `/v1/`, behind the check of signatures. */
  readonly routes?: (scope: FastifyInstance) => void;
  /** Lets go of everything; what is under way may end within `graceMs`. */
  stop(graceMs: number): Promise<void>;
}
