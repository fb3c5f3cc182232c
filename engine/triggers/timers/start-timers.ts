import type { TimeTrigger } from "../../../api/kinds/index.ts";
import { createInformer, type Informer } from "../../../kube/informer.ts";
import { TIME_TRIGGERS } from "../../../kube/kinds.ts";
import { createReconciler, done, type Reconciler } from "../../../kube/reconcile.ts";
import { watchWarnings } from "../../../net/watch-warnings.ts";
import type { Part, PartDeps } from "../part.ts";
import type { TriggerMetrics } from "../trigger-metrics.ts";
import { type DueTimer, type Fire, type FireJournal, fireJournal, PARTITIONS } from "./fire-journal.ts";
import { type CallsUnderWay, fireFields, performFire } from "./perform-fire.ts";
import { partitionShares } from "./partition-shares.ts";
import { nextOf, planFires } from "./plan-fires.ts";
import { madeAt, type TimerCalendar, timerCalendar } from "./timer-calendar.ts";
import { timerStatusWriter } from "./timer-status.ts";
import { type TimerSweeper, timerSweeper } from "./timer-sweeper.ts";

export interface TimerDeps extends Pick<PartDeps, "client" | "log" | "redis" | "accept" | "name"> {
  readonly metrics: Pick<TriggerMetrics, "timerFires" | "timerLatenessSeconds">;
  readonly calls: CallsUnderWay;
  /** Sees to a pod for what a timer will call in a moment. */
  readonly warm: (timer: TimeTrigger) => void;
  readonly limits?: Partial<TimerLimits>;
}

export interface TimerLimits {
  /** Between two looks at what is due, where nothing is known to come. */
  readonly sweepMs: number;
  /** A fire whose taker has not settled it for so long is another's. */
  readonly leaseMs: number;
  readonly statusPauseMs: number;
  /** So long before a time its function is warmed. */
  readonly warmAheadMs: number;
  /** What the replica that minds it has not taken for so long, any other takes. */
  readonly graceMs: number;
  /** A replica that was not seen for so long minds nothing any more. */
  readonly goneMs: number;
  /** Between two looks whether the call has ended for which a fire waits. */
  readonly waitMs: number;
}

const LIMITS: TimerLimits = {
  sweepMs: 1_000,
  leaseMs: 10_000,
  statusPauseMs: 5_000,
  warmAheadMs: 3_000,
  graceMs: 2_000,
  goneMs: 5_000,
  waitMs: 1_000,
};
/** Times since a trigger was made count as missed if it was made so short a time ago: no trigger service ran then. */
const NEW_MS = 3_600_000;
/** What fires more often is warm already. */
const WARM_PAUSE_MS = 60_000;
const LATER_MS = 200;
const HOUSEKEEPING_MS = 300_000;
const STATUS_PAUSE_PER_TIMER_MS = 10;
/** What comes due goes before what is told about it. */
const STATUS_AFTER_MS = 500;
const NO_SCHEDULE = "none";

interface Timers extends Omit<TimerDeps, "limits"> {
  readonly journal: FireJournal;
  readonly informer: Informer<TimeTrigger>;
  readonly limits: TimerLimits;
  readonly status: Pick<Reconciler["queue"], "add" | "addAfter">;
  readonly registrar: Pick<Reconciler["queue"], "add">;
  readonly calendars: (timer: TimeTrigger) => TimerCalendar | undefined;
  readonly stopping: AbortSignal;
}

/** Fires the TimeTriggers: any number of replicas share them, each time of a schedule becomes one call. */
export function startTimers(deps: TimerDeps): Part {
  const { client, log } = deps;
  const limits = { ...LIMITS, ...deps.limits };
  const journal = fireJournal(() => deps.redis.client());
  const stopping = new AbortController();
  const informer = createInformer<TimeTrigger>({
    client,
    type: TIME_TRIGGERS,
    onError: (error, failures) => watchWarnings(log)("TimeTrigger", error, failures),
  });
  const now = Date.now;
  const status = timerStatusWriter({
    client,
    journal,
    log,
    now,
    find: (key) => informer.get(key),
    // Thousands of timers write no more often than some.
    pauseMs: () => Math.max(limits.statusPauseMs, informer.size * STATUS_PAUSE_PER_TIMER_MS),
  });
  const registrar: Reconciler = createReconciler({
    name: "TimeTrigger registration",
    concurrency: 16,
    backoff: { baseMs: 100, maxMs: 5_000 },
    reconcile: async (key) => {
      await register(timers, key);
      return done;
    },
    onError: (timer, error) => log.debug("Cannot register a timer; trying again", { timer, error }),
  });
  const timers: Timers = {
    ...deps,
    limits,
    journal,
    informer,
    status: status.queue,
    registrar: registrar.queue,
    calendars: rememberedCalendars(),
    stopping: stopping.signal,
  };
  informer.subscribe({
    onChange: (change) => {
      if (
        change.type !== "update" ||
        change.object.metadata.generation !== change.previous.metadata.generation
      )
        registrar.queue.add(change.key);
    },
  });
  informer.start();
  status.start();
  registrar.start();
  let stopSweeping: (() => Promise<void>) | undefined;
  const begin = async (): Promise<void> => {
    await informer.synced;
    if (!stopping.signal.aborted) stopSweeping = sweep(timers);
  };
  void begin();
  return {
    stop: async () => {
      stopping.abort();
      await stopSweeping?.();
      await Promise.all([informer.stop(), registrar.stop(), status.stop()]);
    },
  };
}

function sweep(timers: Timers): () => Promise<void> {
  const { journal, log, limits } = timers;
  const soon = warmer(timers);
  const shares = partitionShares({
    redis: () => timers.redis.client(),
    replica: timers.name,
    everyMs: limits.sweepMs,
    goneMs: limits.goneMs,
    onChange: () => sweeper.nudge(),
    log,
  });
  const mine = { aheadMs: Math.max(limits.warmAheadMs, limits.sweepMs), leftMs: 0 };
  const others = { aheadMs: -limits.graceMs, leftMs: limits.graceMs };
  const sweeper: TimerSweeper = timerSweeper({
    journal,
    log,
    intervalMs: limits.sweepMs,
    within: (partition) => (shares.isMine(partition) ? mine : others),
    onDue: (due, nowMs) =>
      contained(timers, { timer: due.timer }, () => decide(timers, due, nowMs, () => sweeper.nudge())),
    onLeft: (fire) =>
      contained(timers, fireFields(fire), async () => {
        if (await journal.takeOver(fire, limits.leaseMs)) await perform(timers, fire);
      }),
    onSoon: soon,
  });
  const house = setInterval(() => void removeOrphans(timers), HOUSEKEEPING_MS);
  void removeOrphans(timers);
  return async () => {
    clearInterval(house);
    await sweeper.close();
    await shares.leave().catch(() => undefined);
  };
}

/** One timer's trouble is not another's; what went wrong is looked at again by the next sweep, or once its lease is over. */
async function contained(
  { log, stopping }: Timers,
  fields: object,
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!stopping.aborted) log.warn("Cannot fire a timer; trying again", { ...fields, error });
  }
}

async function decide(timers: Timers, due: DueTimer, nowMs: number, again: () => void): Promise<void> {
  const { journal, informer, limits } = timers;
  const timer = informer.get(due.timer);
  if (timer?.metadata.uid !== due.uid || timer.metadata.generation !== due.generation) {
    // Deleted, made anew or changed: who registers it knows, once this copy is as new as the journal.
    timers.registrar.add(due.timer);
    return;
  }
  const calendar = timers.calendars(timer);
  if (!calendar) {
    timers.registrar.add(due.timer);
    return;
  }
  const plan = planFires({ spec: timer.spec, ...calendar, nextMs: due.nextMs, nowMs });
  const fires = plan.fires.map((fire): Fire => ({ timer: due.timer, uid: due.uid, ...fire }));
  const { missed, lastMs, next } = plan;
  const taken = await journal.take({ timer: due, fires, missed, lastMs, next, leaseMs: limits.leaseMs });
  if (taken === "early") again();
  if (taken !== "taken") return;
  if (missed) timers.metrics.timerFires.series({ outcome: "Missed" }).value += missed.missed ?? 1;
  if (next && next.dueMs <= nowMs + limits.sweepMs) again();
  timers.status.addAfter(due.timer, STATUS_AFTER_MS);
  await Promise.all(fires.map((fire) => contained(timers, fireFields(fire), () => perform(timers, fire))));
}

async function perform(timers: Timers, fire: Fire): Promise<void> {
  const { journal, informer, client, stopping, limits } = timers;
  const timer = informer.get(fire.timer);
  if (timer?.metadata.uid !== fire.uid) {
    // This copy may only be behind.
    const live = await client.find(TIME_TRIGGERS, nameOf(fire.timer));
    if (live?.metadata.uid !== fire.uid) await journal.settle(fire, undefined);
    return;
  }
  const jitterOf = timers.calendars(timer)?.jitterOf ?? (() => 0);
  const deps = { ...timers, now: Date.now, jitterOf, waitMs: limits.waitMs };
  const deadline = performance.now() + limits.leaseMs / 2;
  let performed = await performFire(deps, timer, fire);
  while (performed === "later") {
    if (stopping.aborted || performance.now() > deadline) return;
    await new Promise((resolve) => setTimeout(resolve, LATER_MS));
    performed = await performFire(deps, timer, fire);
  }
  if (performed === "waiting") return;
  timers.metrics.timerFires.series({ outcome: performed }).value++;
  // What waited for the call before is late because it was to be.
  if (performed === "Fired" && timer.spec.concurrencyPolicy !== "Forbid")
    timers.metrics.timerLatenessSeconds
      .series({})
      .observe((Date.now() - fire.scheduledMs - jitterOf(fire.scheduledMs)) / 1_000);
  timers.status.addAfter(fire.timer, STATUS_AFTER_MS);
}

async function register(timers: Timers, key: string): Promise<void> {
  const { informer, journal } = timers;
  const timer = informer.get(key);
  if (!timer) return removeIfGone(timers, key);
  const { uid = "", generation = 0 } = timer.metadata;
  const known = await journal.known(key);
  // The same object as it is known: after a restart, thousands of calendars need not be read.
  if (known?.uid === uid && known.generation === generation && known.schedule !== NO_SCHEDULE) return;
  const calendar = timers.calendars(timer);
  const now = await journal.nowMs();
  const nextAfter = (afterMs: number) => calendar && nextOf(calendar.schedule, afterMs, calendar.jitterOf);
  await journal.register({
    timer: key,
    uid,
    madeMs: madeAt(timer),
    generation,
    schedule: calendar?.digest ?? NO_SCHEDULE,
    firstNext: nextAfter(decidedUntil(timer, now)),
    changedNext: nextAfter(now),
  });
  timers.status.add(key);
}

/** Up to when a timer that the journal does not know has surely been seen to: what came since is late or missed. */
function decidedUntil(timer: TimeTrigger, now: number): number {
  const last = Date.parse(timer.status?.lastScheduleTime ?? "");
  if (!Number.isNaN(last)) return last;
  const made = madeAt(timer);
  return timer.metadata.generation === 1 && now - made < NEW_MS ? made : now;
}

async function removeIfGone({ client, journal }: Timers, key: string): Promise<void> {
  const live = await client.find(TIME_TRIGGERS, nameOf(key));
  const known = await journal.known(key);
  if (known && live?.metadata.uid !== known.uid) await journal.forget(key, known.uid);
}

/** Those that were deleted while nobody looked. */
async function removeOrphans(timers: Timers): Promise<void> {
  try {
    for (let partition = 0; partition < PARTITIONS && !timers.stopping.aborted; partition++)
      for (const { timer, uid } of await timers.journal.registered(partition))
        if (timers.informer.get(timer)?.metadata.uid !== uid) timers.registrar.add(timer);
  } catch (error) {
    timers.log.debug("Cannot look for timers that are gone; trying again later", { error });
  }
}

/** Warms what a timer calls, once for each of its times, unless it was called a moment ago anyway. */
function warmer({ informer, warm, limits }: Timers): (due: DueTimer) => void {
  const warmedFor = new Map<string, number>();
  return ({ timer, inMs, nextMs }) => {
    if (inMs > limits.warmAheadMs) return;
    const before = warmedFor.get(timer) ?? 0;
    if (nextMs === before) return;
    warmedFor.set(timer, nextMs);
    const object = informer.get(timer);
    if (!object) warmedFor.delete(timer);
    else if (nextMs - before >= WARM_PAUSE_MS) warm(object);
  };
}

/** Reading a schedule costs a fifth of a millisecond. */
function rememberedCalendars(): Timers["calendars"] {
  const known = new WeakMap<TimeTrigger["spec"], TimerCalendar | undefined>();
  return (timer) => {
    if (!known.has(timer.spec)) known.set(timer.spec, timerCalendar(timer));
    return known.get(timer.spec);
  };
}

function nameOf(key: string): { namespace: string; name: string } {
  const slash = key.indexOf("/");
  return { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}
