import { PlatformError } from "../../api/errors.ts";
import type { KubeEnvironment } from "./cluster.ts";
import type { ExecutorLog } from "./executor-log.ts";
import type { Pod } from "./pod.ts";
import { type PodTemplate, podTemplate } from "./pod-manifest.ts";
import { type Ticket, ticketQueue } from "./ticket-queue.ts";

/**
 * The generic pods of one Environment.
 *
 * Invariants
 * 1. A pod is in `starting` or in `ready` or handed out, never in two of them.
 * 2. A pod is handed out once, in the same turn in which it leaves `ready`.
 * 3. A ticket ends once: delivered, failed or cancelled.
 * 4. Never more than `parallelStarts` pods start at a time, and never more pods are made than poolsize (plus growth) and tickets ask for.
 */
export interface Pool {
  /** Takes over the Environment's newest state; pods of another template are replaced. */
  configure(environment: KubeEnvironment): void;
  /** Asks for a generic pod for `owner`; owners take turns. Delivers in the same turn when there is one. */
  take(owner: string, deliver: (pod: Pod) => void, fail: (error: PlatformError) => void): Ticket;
  /** A starting pod that a process before this one made. */
  adopt(pod: Pod): void;
  /** Pods may be created from now on; before, those of a process before this one are counted. */
  open(): void;
  ready(pod: Pod): void;
  gone(pod: Pod, reason: string, failed: boolean): void;
  trouble(pod: Pod, reason: string, message: string): void;
  /** The pod is no generic one after all. */
  release(pod: Pod): void;
  /** The Environment is gone: pods are discarded, tickets fail. */
  close(): void;
  /** The process ends: nothing is created any more, pods stay. */
  stop(): void;
  snapshot(): PoolSnapshot;
}

export interface PoolSnapshot {
  readonly environment: string;
  readonly poolsize: number;
  readonly target: number;
  readonly ready: number;
  readonly starting: number;
  readonly waiting: number;
  readonly trouble: string | null;
}

export interface PoolOptions {
  readonly environment: KubeEnvironment;
  readonly log: ExecutorLog;
  readonly create: (environment: KubeEnvironment, template: PodTemplate) => Pod;
  readonly discard: (pod: Pod, reason: string, graceSeconds?: number) => void;
  /** Pods of the environment in all phases but leaving. */
  readonly population: () => number;
  /** Told when pods fail to start, once per reason, and when they start again. */
  readonly onTrouble: (environment: KubeEnvironment, message: string | undefined) => void;
  readonly parallelStarts: number;
  readonly maxPods: number;
  readonly growth: number;
  readonly now?: () => number;
}

const BACKOFF_MS = { first: 1_000, most: 60_000 };
/** One failure may be chance; from the second on, whoever waits is told. */
const FAILURES_TO_TELL = 2;
const RATE_WINDOW_MS = 10_000;
const DEFAULT_START_MS = 300;

/** Generic pods that an Environment asks for: 3 unless said otherwise, and always 3 under contract versions 1 and 2. */
export const poolsizeOf = ({ spec }: KubeEnvironment): number =>
  spec.version < 3 ? 3 : (spec.poolsize ?? 3);

export function createPool(options: PoolOptions): Pool {
  const { log } = options;
  const now = options.now ?? Date.now;
  let { environment } = options;
  let template = podTemplate(environment);
  const starting = new Set<Pod>();
  /** Starting pods whose trouble was counted already. */
  const troubled = new WeakSet<Pod>();
  const ready: Pod[] = [];
  const queue = ticketQueue();
  let failures = 0;
  let blockedUntilMs = 0;
  let refillTimer: NodeJS.Timeout | undefined;
  let trouble: string | undefined;
  let closed = false;
  let opened = false;
  const arrivals: number[] = [];
  let startMs = DEFAULT_START_MS;

  const target = (): number => {
    const poolsize = poolsizeOf(environment);
    if (poolsize === 0) return 0;
    while (arrivals.length > 0 && (arrivals[0] ?? 0) < now() - RATE_WINDOW_MS) arrivals.shift();
    // Little's law: pods that are claimed while a replacement starts. A burst counts over the whole window, so it grows the pool late.
    const needed = Math.ceil((arrivals.length / RATE_WINDOW_MS) * startMs);
    return Math.max(poolsize, Math.min(needed, poolsize + options.growth));
  };

  const refill = (): void => {
    if (closed || !opened) return;
    const pauseMs = blockedUntilMs - now();
    if (pauseMs > 0) {
      refillTimer ??= setTimeout(() => {
        refillTimer = undefined;
        refill();
      }, pauseMs);
      return;
    }
    const wanted = target() + queue.size;
    while (
      starting.size + ready.length < wanted &&
      starting.size < options.parallelStarts &&
      (options.maxPods === 0 || options.population() < options.maxPods)
    )
      starting.add(options.create(environment, template));
  };

  const failWaiters = (message: string) => {
    for (const ticket of queue.drain()) ticket.fail(new PlatformError("pool_exhausted", message));
  };

  const tell = (message: string | undefined) => {
    if (trouble === message) return;
    trouble = message;
    options.onTrouble(environment, message);
  };

  const failed = (reason: string, certain = false) => {
    failures = certain ? Math.max(failures + 1, FAILURES_TO_TELL) : failures + 1;
    blockedUntilMs = now() + Math.min(BACKOFF_MS.first * 2 ** (failures - 1), BACKOFF_MS.most);
    const message = `Cannot start pods of environment "${environment.metadata.name}" with image "${template.image}": ${reason}`;
    tell(message);
    if (failures >= FAILURES_TO_TELL) failWaiters(message);
  };

  const offer = (pod: Pod) => {
    const ticket = queue.next();
    if (ticket) hand(pod, ticket.deliver);
    else ready.push(pod);
  };

  const hand = (pod: Pod, deliver: (pod: Pod) => void) => {
    pod.phase = "claimed";
    arrivals.push(now());
    deliver(pod);
  };

  return {
    configure: (next) => {
      environment = next;
      const changed = podTemplate(next);
      if (changed.hash !== template.hash) {
        template = changed;
        failures = 0;
        blockedUntilMs = 0;
        trouble = undefined;
        for (const pod of [...starting, ...ready])
          options.discard(pod, "the Environment's pod template changed");
      }
      if (changed.ignored.length > 0)
        log.warn("fields of the Environment are not allowed on function pods and are left out", {
          environment: next.metadata.name,
          namespace: next.metadata.namespace,
          fields: changed.ignored,
        });
      for (const pod of ready.slice(target())) options.discard(pod, "the pool became smaller");
      refill();
    },
    take: (owner, deliver, fail) => {
      const pod = ready.shift();
      if (pod) {
        hand(pod, deliver);
        // Off the caller's path: creating pods must not delay the specialisation that was just asked for.
        setImmediate(refill);
        return { cancel: () => undefined };
      }
      if (failures >= FAILURES_TO_TELL && trouble !== undefined && now() < blockedUntilMs) {
        fail(new PlatformError("pool_exhausted", trouble));
        return { cancel: () => undefined };
      }
      const ticket = queue.add(owner, deliver, fail);
      refill();
      return ticket;
    },
    adopt: (pod) => {
      if (pod.template === template.hash) starting.add(pod);
      else options.discard(pod, "it was made from an older template of its Environment");
    },
    open: () => {
      opened = true;
      refill();
    },
    ready: (pod) => {
      if (!starting.delete(pod)) return;
      startMs = startMs * 0.8 + Math.max(1, now() - pod.createdAtMs) * 0.2;
      failures = 0;
      blockedUntilMs = 0;
      tell(undefined);
      if (queue.size === 0 && ready.length >= target())
        options.discard(pod, "nobody waits for it and the pool is full", 0);
      else offer(pod);
      refill();
    },
    gone: (pod, reason, byItself) => {
      const wasStarting = starting.delete(pod);
      const at = ready.indexOf(pod);
      if (at >= 0) ready.splice(at, 1);
      if (wasStarting && byItself) failed(reason);
      refill();
    },
    trouble: (pod, reason, message) => {
      if (!starting.has(pod) || troubled.has(pod)) return;
      troubled.add(pod);
      failed(message === "" ? reason : `${reason}: ${message}`, true);
    },
    release: (pod) => void starting.delete(pod),
    stop: () => {
      closed = true;
      clearTimeout(refillTimer);
    },
    close: () => {
      closed = true;
      clearTimeout(refillTimer);
      failWaiters(`Cannot start pods of environment "${environment.metadata.name}": it was deleted`);
      for (const pod of [...starting, ...ready]) options.discard(pod, "the Environment was deleted");
    },
    snapshot: () => ({
      environment: `${environment.metadata.namespace}/${environment.metadata.name}`,
      poolsize: poolsizeOf(environment),
      target: target(),
      ready: ready.length,
      starting: starting.size,
      waiting: queue.size,
      trouble: trouble ?? null,
    }),
  };
}
