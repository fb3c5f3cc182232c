/**
 * Lets go of the connection of a trigger with `minReplicaCount: 0` while nothing comes.
 *
 * Invariants
 * R1. A trigger rests only where the broker keeps its place meanwhile, nothing of it is in hand, and the broker says that nothing waits.
 * R2. Whatever is not known for sure ends the rest: then the consumer finds out.
 */
import { typeOf } from "./check-trigger.ts";
import { readSecret } from "./read-secret.ts";
import type { RunTriggerDeps } from "./run-trigger.ts";
import type { Task } from "./trigger-task.ts";

/** By the process's own clock. */
export interface Rest {
  readonly since: number;
  lookedAt: number;
}

export interface RestKeeper {
  /** Whether the consumer may go. */
  isDue(task: Task): Promise<boolean>;
  /** Whether a trigger is to be consumed; looks at the broker now and then. */
  isOver(task: Task): Promise<boolean>;
}

const DEFAULT_COOLDOWN_SECONDS = 300;
const DEFAULT_POLLING_SECONDS = 30;
/** Brokers forget groups that nobody joins. */
const LONGEST_MS = 12 * 3_600_000;

export function restFor({ sources, client }: Pick<RunTriggerDeps, "sources" | "client">): RestKeeper {
  return {
    isDue: async ({ object, running }) => {
      const { minReplicaCount, cooldownPeriod = DEFAULT_COOLDOWN_SECONDS } = object.spec;
      if (minReplicaCount !== 0 || !running?.state().connected) return false;
      if (!sources.get(typeOf(object))?.waiting) return false;
      const { held, lastAt = running.startedAt } = running.consumer.stats();
      if (held > 0 || Date.now() - lastAt < cooldownPeriod * 1_000) return false;
      return (await running.consumer.lag().catch(() => undefined)) === 0;
    },
    isOver: async (task) => {
      const { rest, object } = task;
      if (!rest) return true;
      const now = performance.now();
      const pollingMs = (object.spec.pollingInterval ?? DEFAULT_POLLING_SECONDS) * 1_000;
      if (now - rest.lookedAt < pollingMs) return false;
      rest.lookedAt = now;
      const waiting = await waitingOf(task).catch(() => undefined);
      if (waiting === 0 && now - rest.since < LONGEST_MS) return false;
      task.rest = undefined;
      return true;
    },
  };

  async function waitingOf({ object }: Task): Promise<number | undefined> {
    const { spec, metadata } = object;
    const { namespace = "default", uid = "" } = metadata;
    const source = sources.get(typeOf(object));
    return source?.waiting?.({
      config: source.config.parse(spec.metadata ?? {}),
      namespace,
      uid,
      topic: spec.topic,
      secret: spec.secret ? await readSecret(client, namespace, spec.secret) : {},
    });
  }
}
