import { PlatformError } from "../../api/errors.ts";
import type { KubeEnvironment } from "./cluster.ts";
import type { ExecutorLog } from "./executor-log.ts";
import type { Pod } from "./pod.ts";
import { type PodTemplate, podTemplate } from "./pod-manifest.ts";
import { type Ticket, type TicketQueue, ticketQueue } from "./ticket-queue.ts";

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
  /** Pods may be created from now on; before, those of a process before this one are counted. */
  open(): void;
  /** Asks for a generic pod for `owner`; owners take turns. Delivers in the same turn when there is one. */
  take(owner: string, deliver: (pod: Pod) => void, fail: (error: PlatformError) => void): Ticket;
  /** A pod that a process before this one made and that has not said yet what it is. */
  adopt(pod: Pod): void;
  ready(pod: Pod): void;
  /** The pod is no generic one after all. */
  release(pod: Pod): void;
  /** `failed`: the pod ended by itself. */
  gone(pod: Pod, reason: string, failed: boolean): void;
  trouble(pod: Pod, reason: string, message: string): void;
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
  /** Starts of functions that wait for a generic pod. */
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
  /** Told when pods fail to start, once per reason, and with undefined when they start again. */
  readonly onTrouble: (environment: KubeEnvironment, message: string | undefined) => void;
  readonly parallelStarts: number;
  /** 0 = no limit. */
  readonly maxPods: number;
  /** Pods above poolsize that a high rate of claims may ask for. */
  readonly growth: number;
  /** Instead of the Environment's own. */
  readonly poolsize?: number;
  readonly now?: () => number;
}

interface State {
  readonly options: PoolOptions;
  readonly now: () => number;
  environment: KubeEnvironment;
  template: PodTemplate;
  readonly starting: Set<Pod>;
  /** Starting pods whose trouble was counted already. */
  readonly troubled: WeakSet<Pod>;
  readonly ready: Pod[];
  readonly queue: TicketQueue;
  /** Failures to start since the last pod that started. */
  failures: number;
  blockedUntilMs: number;
  refillTimer: NodeJS.Timeout | undefined;
  shrinkTimer: NodeJS.Timeout | undefined;
  trouble: string | undefined;
  phase: "filling" | "open" | "closed";
  /** Times of the latest claims. */
  readonly claims: number[];
  /** Running mean of the time that a pod takes to start. */
  startMs: number;
}

const BACKOFF_MS = { first: 1_000, most: 60_000 };
/** One failure may be chance; from the second on, whoever waits is told. */
const FAILURES_TO_TELL = 2;
const REFILL_DELAY_MS = 150;
const RATE_WINDOW_MS = 10_000;
const DEFAULT_START_MS = 300;

/** Generic pods that an Environment asks for: 3 unless said otherwise, and always 3 under contract versions 1 and 2. */
export const poolsizeOf = ({ spec }: KubeEnvironment): number =>
  spec.version < 3 ? 3 : (spec.poolsize ?? 3);

const sizeOf = ({ options, environment }: State): number => options.poolsize ?? poolsizeOf(environment);

export function createPool(options: PoolOptions): Pool {
  const state: State = {
    options,
    now: options.now ?? Date.now,
    environment: options.environment,
    template: podTemplate(options.environment),
    starting: new Set(),
    troubled: new WeakSet(),
    ready: [],
    queue: ticketQueue(),
    failures: 0,
    blockedUntilMs: 0,
    refillTimer: undefined,
    shrinkTimer: undefined,
    trouble: undefined,
    phase: "filling",
    claims: [],
    startMs: DEFAULT_START_MS,
  };
  warnIgnored(state);
  return {
    configure: (environment) => configure(state, environment),
    open: () => {
      state.phase = "open";
      refill(state);
    },
    take: (owner, deliver, fail) => take(state, owner, deliver, fail),
    adopt: (pod) => void state.starting.add(pod),
    ready: (pod) => ready(state, pod),
    release: (pod) => void state.starting.delete(pod),
    gone: (pod, reason, byItself) => {
      const wasStarting = state.starting.delete(pod);
      const at = state.ready.indexOf(pod);
      if (at >= 0) state.ready.splice(at, 1);
      if (wasStarting && byItself) failed(state, reason, false);
      refill(state);
    },
    trouble: (pod, reason, message) => {
      if (!state.starting.has(pod) || state.troubled.has(pod)) return;
      state.troubled.add(pod);
      failed(state, message === "" ? reason : `${reason}: ${message}`, true);
    },
    close: () => {
      stop(state);
      failWaiters(
        state,
        `Cannot start pods of environment "${state.environment.metadata.name}": it was deleted`,
      );
      for (const pod of [...state.starting, ...state.ready])
        options.discard(pod, "the Environment was deleted");
    },
    stop: () => stop(state),
    snapshot: () => ({
      environment: `${state.environment.metadata.namespace}/${state.environment.metadata.name}`,
      poolsize: sizeOf(state),
      target: target(state),
      ready: state.ready.length,
      starting: state.starting.size,
      waiting: state.queue.size,
      trouble: state.trouble ?? null,
    }),
  };
}

function configure(state: State, environment: KubeEnvironment): void {
  const template = podTemplate(environment);
  const changed = template.hash !== state.template.hash;
  state.environment = environment;
  if (changed) {
    state.template = template;
    state.failures = 0;
    state.blockedUntilMs = 0;
    state.trouble = undefined;
    warnIgnored(state);
    for (const pod of [...state.starting, ...state.ready])
      state.options.discard(pod, "the Environment's pod template changed");
  }
  shrink(state);
  refill(state);
}

function shrink(state: State): void {
  state.shrinkTimer = undefined;
  for (const pod of state.ready.slice(target(state))) state.options.discard(pod, "the pool became smaller");
  if (state.ready.length > sizeOf(state)) shrinkLater(state);
}

/** The rate of claims falls without anything else happening, so a pool that has grown looks again. */
function shrinkLater(state: State): void {
  if (state.phase !== "closed") state.shrinkTimer ??= setTimeout(() => shrink(state), RATE_WINDOW_MS);
}

function take(
  state: State,
  owner: string,
  deliver: (pod: Pod) => void,
  fail: (error: PlatformError) => void,
): Ticket {
  const pod = state.ready.shift();
  if (pod) {
    hand(state, pod, deliver);
    // A starting process takes a core from the specialisation and the first reply that were just asked for, so a pool that has more pods waits.
    if (state.ready.length > 0) refillSoon(state, REFILL_DELAY_MS);
    else setImmediate(() => refill(state));
    return SERVED;
  }
  if (
    state.failures >= FAILURES_TO_TELL &&
    state.trouble !== undefined &&
    state.now() < state.blockedUntilMs
  ) {
    fail(new PlatformError("pool_exhausted", state.trouble));
    return SERVED;
  }
  const ticket = state.queue.add(owner, deliver, fail);
  refill(state);
  return ticket;
}

const SERVED: Ticket = { cancel: () => undefined };

function hand(state: State, pod: Pod, deliver: (pod: Pod) => void): void {
  pod.phase = "claimed";
  state.claims.push(state.now());
  deliver(pod);
}

function ready(state: State, pod: Pod): void {
  if (!state.starting.delete(pod)) return;
  if (pod.template !== state.template.hash) {
    state.options.discard(pod, "it was made from an older template of its Environment", 0);
    return refill(state);
  }
  state.startMs = state.startMs * 0.8 + Math.max(1, state.now() - pod.createdAtMs) * 0.2;
  state.failures = 0;
  state.blockedUntilMs = 0;
  tell(state, undefined);
  const ticket = state.queue.next();
  if (ticket) hand(state, pod, ticket.deliver);
  else if (state.ready.length < target(state)) state.ready.push(pod);
  else state.options.discard(pod, "nobody waits for it and the pool is full", 0);
  if (state.ready.length > sizeOf(state)) shrinkLater(state);
  refill(state);
}

/** Generic pods to keep ready: poolsize, and more while claims come faster than pods start. */
function target(state: State): number {
  const poolsize = sizeOf(state);
  if (poolsize === 0) return 0;
  const oldestMs = state.now() - RATE_WINDOW_MS;
  const firstRecent = state.claims.findIndex((claimedMs) => claimedMs >= oldestMs);
  state.claims.splice(0, firstRecent < 0 ? state.claims.length : firstRecent);
  // Little's law: so many pods are claimed while a replacement starts. The window makes one burst grow the pool late.
  const needed = Math.ceil((state.claims.length / RATE_WINDOW_MS) * state.startMs);
  return Math.max(poolsize, Math.min(needed, poolsize + state.options.growth));
}

function refill(state: State): void {
  if (state.phase !== "open") return;
  const pauseMs = state.blockedUntilMs - state.now();
  if (pauseMs > 0) return refillSoon(state, pauseMs);
  const { parallelStarts, maxPods, population, create } = state.options;
  const missing = target(state) + state.queue.size - state.starting.size - state.ready.length;
  const room = maxPods === 0 ? missing : maxPods - population();
  for (let left = Math.min(missing, room, parallelStarts - state.starting.size); left > 0; left -= 1)
    state.starting.add(create(state.environment, state.template));
}

function refillSoon(state: State, delayMs: number): void {
  state.refillTimer ??= setTimeout(() => {
    state.refillTimer = undefined;
    refill(state);
  }, delayMs);
}

/** `certain`: the cause will not go away by itself, e.g. an image that does not exist. */
function failed(state: State, reason: string, certain: boolean): void {
  state.failures = certain ? Math.max(state.failures + 1, FAILURES_TO_TELL) : state.failures + 1;
  state.blockedUntilMs =
    state.now() + Math.min(BACKOFF_MS.first * 2 ** (state.failures - 1), BACKOFF_MS.most);
  const message = `Cannot start pods of environment "${state.environment.metadata.name}" with image "${state.template.image}": ${reason}`;
  tell(state, message);
  if (state.failures >= FAILURES_TO_TELL) failWaiters(state, message);
}

function tell(state: State, message: string | undefined): void {
  if (state.trouble === message) return;
  state.trouble = message;
  state.options.onTrouble(state.environment, message);
}

function failWaiters(state: State, message: string): void {
  for (const ticket of state.queue.drain()) ticket.fail(new PlatformError("pool_exhausted", message));
}

function stop(state: State): void {
  state.phase = "closed";
  clearTimeout(state.refillTimer);
  clearTimeout(state.shrinkTimer);
}

function warnIgnored(state: State): void {
  if (state.template.ignored.length === 0) return;
  const { name, namespace } = state.environment.metadata;
  state.options.log.warn("fields of the Environment are not allowed on function pods and are left out", {
    environment: name,
    namespace,
    fields: state.template.ignored,
  });
}
