import { PlatformError } from "../../api/errors.ts";
import type {
  AcquireReply,
  AcquireRequest,
  SuspectReport,
  WarmReply,
  WarmRequest,
} from "../../api/wire/executor.ts";
import type { LoadReport } from "../../api/wire/load.ts";
import type { Executor, ExecutorSnapshot, RevisionOf } from "./executor.ts";
import type { ExecutorLog } from "./executor-log.ts";
import { ownerOf } from "./ownership.ts";

/**
 * Several executors share the environments of a cluster: each runs the pools of those that it owns and passes calls for others on.
 *
 * Invariants
 * 1. An environment that changes hands is let go before it is taken: who loses it stops at once, who gains it waits `handoverMs` first,
 *    then adopts its pods as after a restart.
 * 2. A call is passed on at most once.
 * 3. A call that meets a change of hands is tried again until its own time limit.
 * 4. Who was ready once stays so: members change for all at the same time, and a Service without any endpoint would refuse what may wait.
 */
export interface ShardedExecutorOptions {
  /** Own identity among the members. */
  readonly self: string;
  /** An executor that minds only environments for which `owns` is true. */
  readonly create: (owns: (environment: string) => boolean) => Executor;
  /** Passes a call on to another member. */
  readonly forward: (member: string, request: AcquireRequest, signal?: AbortSignal) => Promise<AcquireReply>;
  readonly forwardWarm: (member: string, request: WarmRequest, signal?: AbortSignal) => Promise<WarmReply>;
  readonly forwardSuspect: (member: string, report: SuspectReport) => void;
  readonly forwardLoad: (member: string, report: LoadReport) => void;
  readonly handoverMs: number;
  readonly log: ExecutorLog;
}

export interface ShardedExecutor {
  /** The members that live now, own identity included. */
  readonly membersChanged: (members: readonly string[]) => void;
  readonly acquire: (
    request: AcquireRequest,
    forwarded: boolean,
    signal?: AbortSignal,
  ) => Promise<AcquireReply>;
  readonly warm: (request: WarmRequest, forwarded: boolean, signal?: AbortSignal) => Promise<WarmReply>;
  readonly suspect: (report: SuspectReport, forwarded: boolean) => void;
  readonly load: (report: LoadReport, forwarded: boolean) => void;
  readonly ready: () => boolean;
  readonly snapshot: () => ExecutorSnapshot | undefined;
  readonly metrics: () => string;
  readonly stop: () => Promise<void>;
}

const RETRY_PAUSE_MS = 50;

type Shared = RevisionOf & { readonly waitMs: number };
interface Call<Q extends Shared> {
  readonly request: Q;
  readonly forwarded: boolean;
  readonly signal: AbortSignal | undefined;
}

export function createShardedExecutor(options: ShardedExecutorOptions): ShardedExecutor {
  const { self, log } = options;
  let members: readonly string[] = [];
  let current: Executor | undefined;
  let changing: Promise<void> = Promise.resolve();
  let epoch = 0;
  let stopped = false;
  let wasReady = false;

  /** Takes what is owned now, once what was owned before is let go; a later change overtakes one that still waits. */
  const take = async (old: Executor | undefined, mine: number, first: boolean): Promise<void> => {
    await old?.stop();
    if (mine !== epoch) return;
    if (!first || members.length > 1) await new Promise((resolve) => setTimeout(resolve, options.handoverMs));
    if (stopped || mine !== epoch) return;
    const owners = members;
    current = options.create((environment) => ownerOf(environment, owners) === self);
    await current.start();
  };

  const membersChanged = (given: readonly string[]) => {
    if (stopped || given.join("\n") === members.join("\n")) return;
    const first = members.length === 0;
    // In the same turn, so that no call is decided by the new members and served by what the old ones owned.
    const old = current;
    current = undefined;
    members = given;
    epoch += 1;
    const mine = epoch;
    log.info("executors share the environments anew", { members: given.join(", ") });
    changing = changing
      .then(() => take(old, mine, first))
      .catch((error: unknown) => log.error("cannot take over environments", { error }));
  };

  const others = () => members.filter((member) => member !== self);

  /** By whoever minds the revision, until the call's own time limit. */
  const served = <Q extends Shared, R>(
    { request, forwarded, signal }: Call<Q>,
    here: (executor: Executor, request: Q) => Promise<R>,
    there: (member: string, request: Q) => Promise<R>,
  ): Promise<R> => {
    return untilServed(
      request.waitMs,
      () => stopped || signal?.aborted === true,
      async (waitMs) => {
        const left = { ...request, waitMs };
        const executor = current;
        if (!executor) throw changingHands();
        const environment = await executor.environmentOf(left);
        if (executor !== current) throw changingHands();
        const owner = environment === undefined ? self : ownerOf(environment, members);
        if (owner === self) return here(executor, left);
        if (forwarded || owner === undefined) throw changingHands();
        return there(owner, left);
      },
    );
  };

  return {
    membersChanged,
    acquire: (request, forwarded, signal) =>
      served(
        { request, forwarded, signal },
        (executor, left) => executor.acquire(left, signal),
        (member, left) => options.forward(member, left, signal),
      ),
    warm: (request, forwarded, signal) =>
      served(
        { request, forwarded, signal },
        (executor, left) => executor.warm(left, signal),
        (member, left) => options.forwardWarm(member, left, signal),
      ),
    suspect: (report, forwarded) => {
      current?.suspect(report);
      if (!forwarded) for (const member of others()) options.forwardSuspect(member, report);
    },
    load: (report, forwarded) => {
      current?.load(report);
      if (!forwarded) for (const member of others()) options.forwardLoad(member, report);
    },
    ready: () => {
      wasReady ||= current?.ready ?? false;
      return wasReady && !stopped;
    },
    snapshot: () => current?.snapshot(),
    metrics: () => current?.metrics() ?? "",
    stop: async () => {
      stopped = true;
      epoch += 1;
      await current?.stop();
      await changing;
    },
  };
}

/** Tries again as long as it meets a change of hands and has time left. */
async function untilServed<R>(
  limitMs: number,
  givenUp: () => boolean,
  attempt: (waitMs: number) => Promise<R>,
): Promise<R> {
  const until = performance.now() + limitMs;
  for (;;) {
    const waitMs = Math.ceil(until - performance.now());
    try {
      return await attempt(Math.max(1, waitMs));
    } catch (error) {
      const again = error instanceof PlatformError && error.code === "executor_unavailable";
      if (!again || givenUp() || waitMs <= RETRY_PAUSE_MS) throw error;
      await new Promise((resolve) => setTimeout(resolve, RETRY_PAUSE_MS));
    }
  }
}

const changingHands = () =>
  new PlatformError("executor_unavailable", "The environment is changing hands between executors");
