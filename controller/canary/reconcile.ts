/**
 * Runs canaries: reads the routers once a second, decides (`decide.ts`), keeps the state in the object's status, gives the weight.
 *
 * Invariants
 * K1. A decision is in the status before anything acts on it; a process that ends in between leaves a weight that the next one writes.
 * K2. Between two decisions the counters are kept in memory and written every few seconds: the routers' counters are cumulative, so
 *     whoever goes on takes the difference to what was written and misses nothing.
 * K3. Weights are written on condition that nobody else changed the object meanwhile.
 */
import type { CanaryConfig, CanaryConfigStatus, CanarySide } from "../../api/kinds/index.ts";
import { ANNOTATION_CANARY_COMMAND } from "../../api/names.ts";
import { LATENCY_BUCKET_BOUNDS_MS } from "../../api/wire/counters.ts";
import { setConditions } from "../../kube/conditions.ts";
import { isConflict, isNotFound } from "../../kube/kube-error.ts";
import { CANARY_CONFIGS } from "../../kube/kinds.ts";
import { createOwnWrites } from "../../kube/own-writes.ts";
import { after, done, type Outcome, type Reconcile } from "../../kube/reconcile.ts";
import { type ControllerContext, writeStatus } from "../context.ts";
import { canaryConditions } from "./conditions.ts";
import { type BothSides, differences, NO_TRAFFIC, plus } from "./counts.ts";
import {
  CANARY_COMMANDS,
  type CanaryCommand,
  type CanaryState,
  decide,
  isFinished,
  type Observation,
  type Warmth,
  weightOfStep,
} from "./decide.ts";
import type { Window } from "./judge/judge.ts";
import { type CanaryPlan, planOf } from "./plan.ts";
import { type RecentSeconds, recentSeconds } from "./recent-seconds.ts";
import type { RouterCounters } from "./router-counters.ts";
import { type CanaryTarget, type Problem, sidesOf, targetOf } from "./sides.ts";
import { applyWeight } from "./traffic.ts";
import { podsFor, type WarmPods } from "./warm-pods.ts";

export interface CanaryOptions {
  readonly counters: Pick<RouterCounters, "read">;
  readonly warm: WarmPods;
  /** How often the routers are read. Default 1,000. */
  readonly tickMs?: number;
  /** Requests that were under way when the weight changed, and first ones that meet cold code, are not compared. Default 1,500. */
  readonly settleMs?: number;
}

interface Memory {
  readonly uid: string | undefined;
  state: CanaryState;
  recent: RecentSeconds;
  writtenAtMs: number;
}

/** What runs now, for the live view. */
export interface LiveCanaries {
  get(key: string): { readonly state: CanaryState; readonly recent: RecentSeconds } | undefined;
}

const TICK_MS = 1_000;
const WRITE_EVERY_MS = 5_000;
const SETTLE_MS = 1_500;
/** A run of failures is looked for in this time. */
const RECENT_MS = 4_000;
const STALE_RETRY_MS = 50;

export function canaryReconcile(
  context: ControllerContext,
  options: CanaryOptions,
): { reconcile: Reconcile; live: LiveCanaries } {
  const { client, world, now } = context;
  const { canaries } = world;
  const tickMs = options.tickMs ?? TICK_MS;
  const own = createOwnWrites();
  const memories = new Map<string, Memory>();

  const memoryOf = (key: string, canary: CanaryConfig): Memory => {
    const known = memories.get(key);
    if (known && known.uid === canary.metadata.uid) return known;
    const memory: Memory = {
      uid: canary.metadata.uid,
      state: canary.status ?? {},
      recent: recentSeconds(),
      writtenAtMs: 0,
    };
    memories.set(key, memory);
    return memory;
  };

  /** Writes the state, if it must be or it is time for it; gives the object as it is then. */
  const keep = async (
    canary: CanaryConfig,
    memory: Memory,
    next: CanaryState,
    plan: CanaryPlan | undefined,
  ) => {
    const at = now();
    const moved = JSON.stringify(decisive(next)) !== JSON.stringify(decisive(canary.status ?? {}));
    memory.state = next;
    if (!moved && at.getTime() - memory.writtenAtMs < WRITE_EVERY_MS) return canary;
    const conditions = setConditions(
      canary.status?.conditions,
      canaryConditions(next, plan?.dryRun ?? false),
      {
        generation: canary.metadata.generation,
        now: at,
      },
    );
    const written = await writeStatus(
      client,
      CANARY_CONFIGS,
      canary,
      { ...next, conditions: [...conditions] },
      own,
    );
    memory.writtenAtMs = at.getTime();
    memory.state = { ...next, conditions: [...conditions] };
    return written;
  };

  const step = async (key: string, canary: CanaryConfig): Promise<Outcome> => {
    const memory = memoryOf(key, canary);
    const command = commandOf(canary);
    const before = memory.state;
    const plan = readPlan(canary);
    if ("problem" in plan) {
      await keep(
        canary,
        memory,
        {
          ...before,
          phase: before.phase ?? "waiting",
          status: before.status ?? "pending",
          sentence: plan.problem,
        },
        undefined,
      );
      return done;
    }
    const isChanged = (before.observedGeneration ?? 0) < (canary.metadata.generation ?? 0);
    if (isFinished(before) && before.applied && !command && !isChanged) return done;
    const target = targetOf(canary, world);
    const sides = sidesOf({ ...canary, status: before }, target, world);
    const at = now();
    const counted = await readCounters(options, memory, sides, at);
    const recent = windowOf(counted, memory.recent.since(new Date(at.getTime() - RECENT_MS)).counts);
    const warmth = counted.phase === "warming" ? await warmthOf(canary, counted, plan, memory) : "ready";
    const seen: Observation = {
      now: at,
      generation: canary.metadata.generation ?? 0,
      sides,
      command,
      recent,
      warmth,
    };
    const decided = decide(counted, plan, seen);
    let written = await keep(canary, memory, decided, plan);
    tell(context, canary, before, decided, plan);
    if (!decided.applied) {
      const applied = await give(decided, target, plan);
      if (applied) written = await keep(written, memory, applied, plan);
    }
    if (command) await forgetCommand(written);
    return isFinished(memory.state) && memory.state.applied ? done : after(tickMs);
  };

  const give = async (state: CanaryState, target: CanaryTarget | Problem, plan: CanaryPlan) => {
    if (!plan.dryRun && !("problem" in target)) await applyWeight(client, target, state);
    else if (!plan.dryRun && !isFinished(state)) return undefined;
    const begins = state.phase === "progressing" ? { stepStartedAt: now().toISOString() } : {};
    return { ...state, ...begins, applied: true };
  };

  const warmthOf = async (
    canary: CanaryConfig,
    state: CanaryState,
    plan: CanaryPlan,
    memory: Memory,
  ): Promise<Warmth> => {
    const { new: next } = state;
    if (!next || !plan.prewarm || plan.dryRun) return "ready";
    const namespace = canary.metadata.namespace ?? "default";
    const serving = [
      world.functions.get(`${namespace}/${next.name}`)?.status?.serving,
      world.versions.get(`${namespace}/${next.name}`)?.status?.serving,
    ].find((each) => each?.revision === next.revision);
    if (!serving) return "ready";
    const { counts, ms } = memory.recent.since(new Date(0));
    const share = weightOfStep(plan, state.step ?? 0) / 100;
    const pods = podsFor(plus(counts.old, counts.new), ms, LATENCY_BUCKET_BOUNDS_MS, share, serving);
    return options.warm(namespace, next, pods);
  };

  const forgetCommand = async (canary: CanaryConfig): Promise<void> => {
    const patch = { metadata: { annotations: { [ANNOTATION_CANARY_COMMAND]: null } } };
    own.note(keyOfCanary(canary), await client.patch(CANARY_CONFIGS, canary.metadata, patch));
  };

  return {
    live: { get: (key) => memories.get(key) },
    reconcile: async (key) => {
      const canary = canaries.get(key);
      if (!canary || canary.metadata.deletionTimestamp) {
        memories.delete(key);
        own.forget(key);
        return done;
      }
      if (own.isStale(key, canary)) return after(STALE_RETRY_MS);
      try {
        return await step(key, canary);
      } catch (error) {
        if (isNotFound(error)) return done;
        // Somebody else wrote: what is in the cache soon is looked at anew, without a step of back-off.
        if (isConflict(error)) return after(STALE_RETRY_MS);
        throw error;
      }
    },
  };
}

const keyOfCanary = ({ metadata }: CanaryConfig): string =>
  `${metadata.namespace ?? "default"}/${metadata.name}`;

function readPlan({ spec }: CanaryConfig): CanaryPlan | Problem {
  try {
    return planOf(spec);
  } catch (error) {
    return { problem: error instanceof Error ? error.message : String(error) };
  }
}

function commandOf({ metadata }: CanaryConfig): CanaryCommand | undefined {
  const given = metadata.annotations?.[ANNOTATION_CANARY_COMMAND];
  return CANARY_COMMANDS.find((command) => command === given);
}

/** What must not be lost: everything but the counters. */
function decisive({
  counts: _counts,
  routers: _routers,
  readAt: _readAt,
  conditions: _conditions,
  ...rest
}: CanaryConfigStatus) {
  return rest;
}

async function readCounters(
  { counters, settleMs = SETTLE_MS }: CanaryOptions,
  memory: Memory,
  sides: BothSides<CanarySide> | Problem,
  at: Date,
): Promise<CanaryState> {
  const { state } = memory;
  const watched = state.old && state.new ? { old: state.old, new: state.new } : sides;
  if ("problem" in watched || isFinished(state)) return state;
  const replies = await counters.read([...new Set([watched.old.uid, watched.new.uid])]);
  if (replies.length === 0) return state;
  const { delta, routers } = differences({ routers: state.routers, readAt: state.readAt }, replies, watched);
  const ms = state.readAt === undefined ? 0 : at.getTime() - Date.parse(state.readAt);
  memory.recent.add({ at, ms, delta });
  const read = { ...state, routers, readAt: at.toISOString() };
  const settled =
    state.applied &&
    state.stepStartedAt !== undefined &&
    at.getTime() - Date.parse(state.stepStartedAt) >= settleMs;
  if (!settled || state.phase === "warming") return read;
  const { counts = NO_TRAFFIC } = state;
  return { ...read, counts: { old: plus(counts.old, delta.old), new: plus(counts.new, delta.new) } };
}

const windowOf = (state: CanaryState, counts: Pick<Window, "old" | "new">): Window => ({
  ...counts,
  names: { old: state.old?.name ?? "the old side", new: state.new?.name ?? "the new side" },
  bounds: LATENCY_BUCKET_BOUNDS_MS,
});

/** Each new decision is an Event of the canary and a line of the log. */
function tell(
  { events, log }: ControllerContext,
  canary: CanaryConfig,
  before: CanaryState,
  next: CanaryState,
  { dryRun }: CanaryPlan,
): void {
  if (next.decisions === before.decisions) return;
  const known = new Set(before.decisions?.map(({ at, action }) => `${at} ${action}`));
  for (const { at, action, sentence } of next.decisions ?? []) {
    if (known.has(`${at} ${action}`)) continue;
    const type = action === "rollback" || action === "hold" ? "Warning" : "Normal";
    const said = dryRun ? `Dry run: ${sentence}` : sentence;
    events.record(canary, type, `Canary${action[0]?.toUpperCase()}${action.slice(1)}`, said);
    log.info("A canary decided", { canary: keyOfCanary(canary), action, sentence: said });
  }
}

/** Brings a canary to the queue when it, its trigger, its alias or one of its functions or versions changes. */
export function watchCanaries(world: ControllerContext["world"], enqueue: (key: string) => void): void {
  const { canaries } = world;
  canaries.subscribe({ onChange: ({ key }) => enqueue(key) });
  const namesOf = ({ spec }: CanaryConfig) => [spec.trigger, spec.newfunction, spec.oldfunction];
  const wake = ({ key }: { key: string }): void => {
    const [namespace, name = ""] = key.split("/");
    for (const canary of canaries.list()) {
      if ((canary.metadata.namespace ?? "default") !== namespace || isFinished(canary.status ?? {})) continue;
      if (namesOf(canary).includes(name) || canary.status?.phase === "waiting") enqueue(keyOfCanary(canary));
    }
  };
  world.triggers.subscribe({ onChange: wake });
  world.aliases.subscribe({ onChange: wake });
  world.functions.subscribe({ onChange: wake });
  world.versions.subscribe({ onChange: wake });
}
