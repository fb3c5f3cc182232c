/**
 * Runs canaries: reads the routers once a second, decides (`decide.ts`), keeps the state in the object's status, gives the weight.
 *
 * Invariants
 * K1. A decision is in the status before anything acts on it; a process that ends in between leaves a weight that the next one writes.
 * K2. Between two decisions the counters are kept in memory and written every few seconds: the routers' counters are cumulative, so
 *     whoever goes on takes the difference to what was written and misses nothing.
 * K3. Weights are written on condition that nobody else changed the object meanwhile.
 */
import type { CanaryConfig } from "../../api/kinds/index.ts";
import { ANNOTATION_CANARY_COMMAND } from "../../api/names.ts";
import { isConflict, isNotFound } from "../../kube/kube-error.ts";
import { CANARY_CONFIGS } from "../../kube/kinds.ts";
import { createOwnWrites } from "../../kube/own-writes.ts";
import { after, done, type Outcome, type Reconcile } from "../../kube/reconcile.ts";
import type { ControllerContext } from "../context.ts";
import { CANARY_COMMANDS, type CanaryCommand, type CanaryState, decide, isFinished } from "./decide.ts";
import { type CanaryMemory, keepState } from "./keep-state.ts";
import { readCounters, recentWindow, warmNext } from "./observe.ts";
import { type CanaryPlan, planOf } from "./plan.ts";
import { type RecentSeconds, recentSeconds } from "./recent-seconds.ts";
import type { RouterCounters } from "./router-counters.ts";
import { type CanaryTarget, type Problem, sidesOf, targetOf } from "./sides.ts";
import { applyWeight } from "./traffic.ts";
import type { WarmPods } from "./warm-pods.ts";

export interface CanaryOptions {
  readonly counters: Pick<RouterCounters, "read">;
  readonly warm: WarmPods;
  /** How often the routers are read. Default 1,000. */
  readonly tickMs?: number;
  /** Requests that were under way when the weight changed, and first ones that meet cold code, are not compared. Default 1,500. */
  readonly settleMs?: number;
}

/** What runs now, for the live view. */
export interface LiveCanaries {
  get(key: string): { readonly state: CanaryState; readonly recent: RecentSeconds } | undefined;
}

const TICK_MS = 1_000;
const SETTLE_MS = 1_500;
const STALE_RETRY_MS = 50;

export function canaryReconcile(
  context: ControllerContext,
  options: CanaryOptions,
): { reconcile: Reconcile; live: LiveCanaries } {
  const { client, world, now } = context;
  const { canaries } = world;
  const { tickMs = TICK_MS, settleMs = SETTLE_MS, counters, warm } = options;
  const own = createOwnWrites();
  const memories = new Map<string, CanaryMemory>();

  const memoryOf = (key: string, canary: CanaryConfig): CanaryMemory => {
    const { uid } = canary.metadata;
    const known = memories.get(key);
    if (known?.uid === uid && known) return known;
    const memory = { uid, state: canary.status ?? {}, recent: recentSeconds(), writtenAtMs: 0 };
    memories.set(key, memory);
    return memory;
  };
  const keep = (canary: CanaryConfig, memory: CanaryMemory, next: CanaryState) =>
    keepState(context, own, canary, memory, next);

  const step = async (canary: CanaryConfig, memory: CanaryMemory): Promise<Outcome> => {
    const { state: before, recent } = memory;
    const { generation = 0 } = canary.metadata;
    const command = commandOf(canary);
    const plan = readPlan(canary);
    if ("problem" in plan) {
      await keep(canary, memory, misunderstood(before, generation, plan.problem));
      return done;
    }
    const isChanged = (before.observedGeneration ?? 0) < generation;
    if (isFinished(before) && before.applied && !command && !isChanged) return done;
    const target = targetOf(canary, world);
    const sides = sidesOf({ ...canary, status: before }, target, world);
    const at = now();
    const state = await readCounters({ counters, settleMs }, memory, sides, at);
    const warmth = await warmNext({ world, warm }, canary, { state, plan, recent });
    const seen = { now: at, generation, sides, command, recent: recentWindow(state, recent, at), warmth };
    const decided = decide(state, plan, seen);
    let written = await keep(canary, memory, decided);
    tell(context, canary, before, decided, plan);
    if (!decided.applied) {
      const applied = await give(decided, target, plan);
      if (applied) written = await keep(written, memory, applied);
    }
    if (command) {
      const patch = { metadata: { annotations: { [ANNOTATION_CANARY_COMMAND]: null } } };
      own.note(keyOfCanary(canary), await client.patch(CANARY_CONFIGS, written.metadata, patch));
    }
    return isFinished(memory.state) && memory.state.applied ? done : after(tickMs);
  };

  /** The state with its weight in force; nothing while there is no route to give it to. */
  const give = async (state: CanaryState, target: CanaryTarget | Problem, plan: CanaryPlan) => {
    if (!plan.dryRun && !("problem" in target)) await applyWeight(client, target, state);
    else if (!plan.dryRun && !isFinished(state)) return undefined;
    const begins = state.phase === "progressing" ? { stepStartedAt: now().toISOString() } : {};
    return { ...state, ...begins, applied: true };
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
        return await step(canary, memoryOf(key, canary));
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

/** A spec that cannot be followed: what runs goes on as it is, and no further, until the spec is corrected. */
const misunderstood = (state: CanaryState, generation: number, problem: string): CanaryState => ({
  ...state,
  phase: state.phase ?? "waiting",
  status: state.status ?? "pending",
  observedGeneration: generation,
  sentence: problem,
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
