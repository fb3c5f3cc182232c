import type { KubernetesWatchTrigger } from "../../../api/kinds/index.ts";
import { createInformer, type Informer } from "../../../kube/informer.ts";
import { KUBERNETES_WATCH_TRIGGERS } from "../../../kube/kinds.ts";
import { keyOf } from "../../../kube/object.ts";
import { sleep } from "../../../kube/sleep.ts";
import { watchWarnings } from "../../../net/watch-warnings.ts";
import type { Part, PartDeps } from "../part.ts";
import { createLeases } from "../queues/leases.ts";
import type { TriggerMetrics } from "../trigger-metrics.ts";
import { followObjects, LeaseLost } from "./follow-objects.ts";
import { type WatchJournal, type WatchKey, watchJournal } from "./watch-journal.ts";
import { type WatchReporter, watchReporter } from "./watch-status.ts";
import { checkAccess, WatchFault, watchedKind } from "./watched-kind.ts";

export interface WatchDeps
  extends Pick<PartDeps, "client" | "log" | "redis" | "accept" | "name" | "functions" | "withoutWorkflows"> {
  readonly metrics: Pick<TriggerMetrics, "watchEvents">;
  readonly limits?: Partial<WatchLimits>;
}

export interface WatchLimits {
  /** Between two looks at who follows what. */
  readonly roundMs: number;
  /** Of a trigger; renewed with each look. */
  readonly leaseMs: number;
  /** Between two questions whether the service account may still see what it is told of. */
  readonly reviewMs: number;
}

const LIMITS: WatchLimits = { roundMs: 2_000, leaseMs: 15_000, reviewMs: 60_000 };

interface Watches extends Omit<WatchDeps, "limits"> {
  readonly journal: WatchJournal;
  readonly informer: Informer<KubernetesWatchTrigger>;
  readonly reporter: WatchReporter;
  readonly limits: WatchLimits;
}

interface Following {
  /** Of the trigger as it is followed. */
  readonly version: string;
  readonly stop: AbortController;
  readonly ended: Promise<void>;
}

/** Follows what KubernetesWatchTriggers name: each by one replica, from where the one before has left off; replicas hold equal shares. */
export function startWatches(deps: WatchDeps): Part {
  const { client, log } = deps;
  const limits = { ...LIMITS, ...deps.limits };
  const informer = createInformer<KubernetesWatchTrigger>({
    client,
    type: KUBERNETES_WATCH_TRIGGERS,
    onError: (error, failures) => watchWarnings(log)("KubernetesWatchTrigger", error, failures),
  });
  const watches: Watches = {
    ...deps,
    limits,
    informer,
    journal: watchJournal(() => deps.redis.client()),
    reporter: watchReporter({
      client,
      functions: deps.functions,
      withoutWorkflows: deps.withoutWorkflows === true,
      find: (key) => informer.get(key),
      log,
      now: () => new Date(),
    }),
  };
  const stopping = new AbortController();
  let wake = Promise.withResolvers<void>();
  const rounds = sharedRounds(watches, () => wake.resolve());
  informer.subscribe({
    onChange: (change) => {
      if (change.type !== "update" || versionOf(change.object) !== versionOf(change.previous)) wake.resolve();
    },
  });
  informer.start();
  const run = async (): Promise<void> => {
    await informer.synced;
    while (!stopping.signal.aborted) {
      await rounds.look();
      await Promise.race([wake.promise, sleep(limits.roundMs, stopping.signal)]);
      wake = Promise.withResolvers<void>();
    }
  };
  const running = run();
  return {
    stop: async () => {
      stopping.abort();
      await running;
      await rounds.end();
      await Promise.all([informer.stop(), watches.reporter.stop()]);
    },
  };
}

const versionOf = ({ metadata }: KubernetesWatchTrigger): string =>
  `${metadata.uid ?? ""}/${metadata.generation ?? 0}`;
const uidOf = ({ metadata }: KubernetesWatchTrigger): string => metadata.uid ?? "";

/**
 * Follows those triggers that are this replica's by their lease, each as it is written now; lets go of the others.
 * @param onFree a trigger that has changed can be followed anew
 */
function sharedRounds(watches: Watches, onFree: () => void): { look(): Promise<void>; end(): Promise<void> } {
  const { informer, reporter, log, limits } = watches;
  const leases = createLeases(() => watches.redis.client(), watches.name, limits.leaseMs, "watch");
  const following = new Map<string, Following>();
  let renewedAt = performance.now();

  const begin = (key: string, trigger: KubernetesWatchTrigger): void => {
    const stop = new AbortController();
    const run = async (): Promise<void> => {
      try {
        await follow(watches, trigger, stop);
      } catch (error) {
        log.debug("Cannot follow the objects of a trigger; trying again", { trigger: key, error });
      } finally {
        following.delete(key);
      }
    };
    following.set(key, { version: versionOf(trigger), stop, ended: run() });
  };
  /** Ends with whoever takes it over beginning where this replica has left off. */
  const letGo = async (key: string, trigger: KubernetesWatchTrigger): Promise<void> => {
    const mine = following.get(key);
    mine?.stop.abort();
    await mine?.ended;
    reporter.forget(key);
    await leases.release(uidOf(trigger)).catch(() => undefined);
  };
  const share = async (present: readonly KubernetesWatchTrigger[]) => {
    try {
      const holdings = await leases.share(new Map(present.map((trigger) => [uidOf(trigger), 1])));
      renewedAt = performance.now();
      return holdings;
    } catch (error) {
      // A lease that may have run out meanwhile is no lease.
      if (performance.now() - renewedAt < limits.leaseMs / 2) return undefined;
      for (const { stop } of following.values()) stop.abort();
      for (const trigger of present) reporter.report(keyOf(trigger), error);
      return undefined;
    }
  };
  return {
    look: async () => {
      for (const [key, { version, stop, ended }] of following) {
        const trigger = informer.get(key);
        if (trigger && versionOf(trigger) === version) continue;
        stop.abort();
        void ended.then(onFree);
      }
      const present = informer.list().filter(({ metadata }) => !metadata.deletionTimestamp);
      const holdings = await share(present);
      if (!holdings) return;
      for (const trigger of present) {
        const key = keyOf(trigger);
        const holding = holdings.get(uidOf(trigger));
        if (holding === "held") {
          if (!following.has(key)) begin(key, trigger);
        } else if (holding === "surplus" || following.has(key)) void letGo(key, trigger);
        else reporter.forget(key);
      }
    },
    end: async () => {
      for (const { stop } of following.values()) stop.abort();
      await Promise.allSettled([...following.values()].map(({ ended }) => ended));
      await Promise.allSettled([
        ...informer.list().map((trigger) => leases.release(uidOf(trigger))),
        leases.leave(),
      ]);
    },
  };
}

/** One trigger, from where it was left off until this is stopped. */
async function follow(
  watches: Watches,
  trigger: KubernetesWatchTrigger,
  stop: AbortController,
): Promise<void> {
  const { journal, client, reporter, limits, log } = watches;
  const name = keyOf(trigger);
  const key: WatchKey = { trigger: name, uid: trigger.metadata.uid ?? "", owner: watches.name };
  let denied = false;
  const helpers: Promise<void>[] = [];
  try {
    const checkpoint = await journal.claim(key, selectionOf(trigger));
    const kind = await watchedKind(client, trigger);
    await checkAccess(client, trigger, kind.type);
    helpers.push(
      reviewAccess(watches, trigger, kind.type, stop, () => {
        denied = true;
      }),
    );
    await followObjects(
      {
        ...watches,
        key,
        trigger,
        kind,
        onState: (error) => {
          if (error !== undefined) log.debug("Cannot follow; trying again", { trigger: name, error });
          reporter.report(name, error);
        },
        onEvent: (type) => {
          watches.metrics.watchEvents.series({ type }).value++;
          reporter.event(name);
        },
        onLag: (changes) => reporter.lag(name, changes),
      },
      checkpoint,
      stop.signal,
    );
  } catch (error) {
    if (error instanceof LeaseLost) return reporter.forget(name);
    denied ||= error instanceof WatchFault && error.reason === "AccessDenied";
    reporter.report(name, error);
    // Who may not see it now is not told later what happened meanwhile.
    await sleep(limits.roundMs, stop.signal);
  } finally {
    stop.abort();
    await Promise.allSettled(helpers);
    const deleted = watches.informer.get(name) === undefined;
    if (denied || deleted) await journal.forget(key).catch(() => undefined);
  }
}

async function reviewAccess(
  { client, reporter, limits }: Watches,
  trigger: KubernetesWatchTrigger,
  type: Parameters<typeof checkAccess>[2],
  stop: AbortController,
  onDenied: () => void,
): Promise<void> {
  while (!stop.signal.aborted) {
    await sleep(limits.reviewMs, stop.signal);
    if (stop.signal.aborted) return;
    try {
      await checkAccess(client, trigger, type);
    } catch (error) {
      if (!(error instanceof WatchFault)) continue;
      onDenied();
      reporter.report(keyOf(trigger), error);
      stop.abort();
    }
  }
}

/** Which objects are seen, and how they are compared: with another one, what was seen before says nothing. */
function selectionOf({ spec }: KubernetesWatchTrigger): string {
  const { type, apiVersion, kind, labelselector, selector, fieldselector, fields } = spec;
  return JSON.stringify([type, apiVersion, kind, labelselector, selector, fieldselector, fields]);
}
