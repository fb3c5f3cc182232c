/**
 * Takes the messages of the MessageQueueTriggers that are this replica's, and says in their status how it goes.
 *
 * Invariants
 * P1. A trigger is consumed by the replica that holds its lease, and by no other, unless its source shares messages out and the trigger asks for more;
 *     without Redis by none.
 * P2. One that fails to start, to connect or to be closed changes nothing for the others: each is seen to by itself.
 * P3. A consumer runs with the trigger and the Secret as they are written now: a change of either closes it and begins another.
 * P4. The status says what is so: also that nobody takes the messages, since Redis is away.
 */
import type { MessageQueueTrigger } from "../../../api/kinds/index.ts";
import { createInformer, type Informer } from "../../../kube/informer.ts";
import { MESSAGE_QUEUE_TRIGGERS } from "../../../kube/kinds.ts";
import { sleep } from "../../../kube/sleep.ts";
import type { Part, PartDeps } from "../part.ts";
import { type TriggerFault, typeOf } from "./check-trigger.ts";
import { keptGroups } from "./kept-groups.ts";
import { createLeases, type Holding, MAX_PLACES } from "./leases.ts";
import type { Source } from "./source.ts";
import { createSources } from "./sources/index.ts";
import { createTasks } from "./tasks.ts";
import { type Task, type TaskKeeper, taskKeeper } from "./trigger-task.ts";

export type QueuesDeps = Pick<
  PartDeps,
  | "client"
  | "log"
  | "name"
  | "redis"
  | "redisUrl"
  | "functions"
  | "withoutWorkflows"
  | "deliver"
  | "bury"
  | "metrics"
>;

export interface QueuesOptions {
  readonly leaseMs?: number;
  /** Between two rounds. */
  readonly roundMs?: number;
  /** As the keeper of tasks has it. */
  readonly lookMs?: number;
}

const LEASE_MS = 15_000;
const ROUND_MS = 2_000;
const LOOK_MS = 10_000;
const SWEEP_EVERY_MS = 60_000;
const NO_REDIS: TriggerFault = {
  reason: "NoRedis",
  message: "Nobody takes the messages: the platform runs without a Redis, which message queue triggers need",
};
const REDIS_AWAY: TriggerFault = {
  reason: "RedisUnavailable",
  message: "Nobody takes the messages until the platform's Redis is back",
};

export function queuesPart(deps: QueuesDeps, options: QueuesOptions = {}): Part {
  const { log } = deps;
  const { leaseMs = LEASE_MS, roundMs = ROUND_MS, lookMs = LOOK_MS } = options;
  const redis = () => deps.redis.client();
  const sources = createSources({ redisUrl: () => deps.redisUrl });
  const leases = createLeases(redis, deps.name, leaseMs);
  const kept = keptGroups({ client: deps.client, redis, sources, isFree: (uid) => leases.isFree(uid), log });
  const stopping = new AbortController();
  const informer = watchTriggers(deps);
  const bell = doorbell();
  let sweptAt = -Infinity;
  const sweepSoon = (): void => {
    sweptAt = -Infinity;
    bell.ring();
  };
  const keeper = taskKeeper({ ...deps, sources, leases, kept, informer, lookMs, onRestart: sweepSoon });
  const tasks = createTasks({
    informer,
    log,
    onNews: () => bell.ring(),
    onGone: (task, uid) => {
      if (!task) return sweepSoon();
      void tasks
        .see(task, async () => {
          // What is under way is nobody's any more.
          await keeper.close(task, 0);
          await leases.release(uid);
        })
        .finally(sweepSoon);
    },
  });

  const sweep = async (): Promise<void> => {
    if (performance.now() - sweptAt < SWEEP_EVERY_MS) return;
    sweptAt = performance.now();
    await kept.sweep((uid) => {
      const task = tasks.get(uid);
      return task?.running !== undefined && task.generation === task.object.metadata.generation;
    });
  };
  const share = sharer({
    leases,
    keeper,
    see: (task, act) => tasks.see(task, act),
    leaseMs,
    placesOf: placesIn(sources),
  });
  const run = async (): Promise<void> => {
    informer.start();
    await informer.synced;
    while (!stopping.signal.aborted) {
      const present = tasks.list();
      if (deps.redisUrl === undefined) {
        for (const task of present)
          if (!task.current) void tasks.see(task, () => keeper.sayIdle(task, NO_REDIS));
      } else if (await share(present))
        await sweep().catch((error: unknown) =>
          log.debug("Cannot look for groups to be forgotten", { error }),
        );
      await bell.rung(roundMs, stopping.signal);
    }
  };
  const running = run();

  return {
    stop: async (graceMs) => {
      stopping.abort();
      await running;
      await informer.stop();
      await Promise.all(
        tasks.list().map((task) =>
          tasks.see(task, async () => {
            if (!task.running) return;
            await keeper.close(task, graceMs);
            await leases.release(task.object.metadata.uid ?? "");
          }),
        ),
      );
      await leases.leave().catch(() => undefined);
    },
  };
}

/** How many replicas may take part in a trigger. */
function placesIn(sources: ReadonlyMap<string, Source>): (trigger: MessageQueueTrigger) => number {
  return (trigger) => {
    const { maxReplicaCount: wanted = 1, metadata = {} } = trigger.spec;
    const source = sources.get(typeOf(trigger));
    const config = source?.config.safeParse(metadata);
    if (wanted <= 1 || !config?.success || !source?.shares?.(config.data)) return 1;
    return Math.min(wanted, MAX_PLACES);
  };
}

interface SharerDeps {
  readonly placesOf: (trigger: MessageQueueTrigger) => number;
  readonly leases: Pick<ReturnType<typeof createLeases>, "share">;
  readonly keeper: TaskKeeper;
  readonly see: (task: Task, act: () => Promise<void>) => Promise<void>;
  readonly leaseMs: number;
}

/** One round over all triggers; false = Redis did not answer. */
function sharer({
  leases,
  keeper,
  see,
  leaseMs,
  placesOf,
}: SharerDeps): (tasks: readonly Task[]) => Promise<boolean> {
  let renewedAt = performance.now();
  /** Those whose status has been told of this outage. */
  const told = new Set<Task>();
  return async (tasks) => {
    let holdings: ReadonlyMap<string, Holding>;
    try {
      holdings = await leases.share(
        new Map(tasks.map(({ object }) => [object.metadata.uid ?? "", placesOf(object)])),
      );
      renewedAt = performance.now();
    } catch {
      // A lease that may have run out meanwhile is no lease.
      if (performance.now() - renewedAt < leaseMs / 2) return false;
      for (const task of tasks) {
        if (task.current || (told.has(task) && !task.running)) continue;
        void see(task, async () => {
          await keeper.close(task, 0);
          await keeper.sayIdle(task, REDIS_AWAY);
          // Once: a replica that still has Redis knows better, and says so.
          told.add(task);
        });
      }
      return false;
    }
    told.clear();
    for (const task of tasks) {
      const holding = holdings.get(task.object.metadata.uid ?? "");
      if (holding && !task.current) void see(task, () => keeper.attend(task, holding));
    }
    return true;
  };
}

/** A wait that can be ended early. */
function doorbell(): { ring(): void; rung(waitMs: number, signal: AbortSignal): Promise<void> } {
  let waiting = Promise.withResolvers<void>();
  return {
    ring: () => waiting.resolve(),
    rung: async (waitMs, signal) => {
      await Promise.race([sleep(waitMs, signal), waiting.promise]);
      waiting = Promise.withResolvers();
    },
  };
}

const watchTriggers = ({ client, log }: Pick<QueuesDeps, "client" | "log">): Informer<MessageQueueTrigger> =>
  createInformer<MessageQueueTrigger>({
    client,
    type: MESSAGE_QUEUE_TRIGGERS,
    onError: (error, failures) => {
      if (failures === 1 || failures % 20 === 0)
        log.warn("Cannot watch MessageQueueTriggers; trying again", { failures, error });
    },
  });
