/**
 * Runs canaries: reads the routers once a second, decides (`decide.ts`), keeps the state in the object's status, gives the weight.
 *
 * Invariants
 * K1. A decision is in the status before anything acts on it; a process that ends in between leaves a weight that the next one writes.
 * K2. Between two decisions the counters are kept in memory and written every few seconds: the routers' counters are cumulative, so
 *     whoever goes on takes the difference to what was written and misses nothing.
 * K3. Weights are written on condition that nobody else changed the object meanwhile, and only to what the release began with.
 * K4. While there is a weight to take back, the object has a finalizer: who deletes it gives the old side all traffic again.
 */
import type { CanaryConfig } from "../../api/kinds/index.ts";
import { isForbidden } from "../../kube/kube-error.ts";
import { NAMESPACES } from "../../kube/namespace-scope.ts";
import type { OwnWrites } from "../../kube/own-writes.ts";
import { keyOf } from "../../kube/object.ts";
import { after, done, type Outcome } from "../../kube/reconcile.ts";
import type { ControllerContext } from "../context.ts";
import { type CanaryState, decide, decideDeleted, isFinished } from "./decide.ts";
import { commandOf, takeCommandOff } from "./canary-command.ts";
import { type CanaryMemory, keepState } from "./keep-state.ts";
import { readCounters, recentWindow, warmNext } from "./observe.ts";
import { type CanaryPlan, planOf } from "./plan.ts";
import { recentSeconds } from "./recent-seconds.ts";
import type { RouterCounters } from "./router-counters.ts";
import { type Problem, sidesOf, targetOf } from "./sides.ts";
import { takenElsewhere } from "./taken-elsewhere.ts";
import { applyWeight } from "./traffic.ts";
import type { WarmPods } from "./warm-pods.ts";
import { weightGuard } from "./weight-guard.ts";

export interface CanaryOptions {
  readonly counters: Pick<RouterCounters, "read">;
  readonly warm: WarmPods;
  /** How often the routers are read. Default 1,000. */
  readonly tickMs?: number;
  /** Requests that were under way when the weight changed, and first ones that meet cold code, are not compared. Default 1,500. */
  readonly settleMs?: number;
}

/** Moves one canary, on what is known of it. */
export interface CanaryRunner {
  step(key: string, canary: CanaryConfig, memory: CanaryMemory): Promise<Outcome>;
  /** For one that is being deleted: weights end in a defined state before it goes. */
  end(key: string, canary: CanaryConfig, memory: CanaryMemory): Promise<Outcome>;
}

const TICK_MS = 1_000;
const SETTLE_MS = 1_500;
/** Until the local copy has caught up with what was written. */
export const STALE_RETRY_MS = 50;

export function canaryRunner(
  context: ControllerContext,
  options: CanaryOptions,
  own: OwnWrites,
): CanaryRunner {
  const { client, world, now } = context;
  const { tickMs = TICK_MS, settleMs = SETTLE_MS, counters, warm } = options;
  const guard = weightGuard(client, own);
  const keep = (canary: CanaryConfig, memory: CanaryMemory, next: CanaryState) =>
    keepState(context, own, canary, memory, next);

  const step = async (key: string, canary: CanaryConfig, memory: CanaryMemory): Promise<Outcome> => {
    const { state: before, recent } = memory;
    const { generation = 0 } = canary.metadata;
    const command = isFinished(before) && !before.applied ? undefined : commandOf(canary);
    const plan = readPlan(canary);
    if ("problem" in plan) {
      await keep(canary, memory, misunderstood(before, generation, plan.problem));
      return done;
    }
    const isChanged = (before.observedGeneration ?? 0) < generation;
    if (isFinished(before) && before.applied && !command && !isChanged) {
      await guard.take(key, canary);
      return done;
    }
    const target = targetOf(canary, world);
    const over = await takenElsewhere({ client, world }, canary, before);
    const sides = over === undefined ? sidesOf({ ...canary, status: before }, target, world) : undefined;
    const at = now();
    const state = await readCounters({ counters, settleMs }, memory, sides ?? NO_SIDES, { at, plan });
    const warmth = await warmNext({ world, warm }, canary, { state, plan, recent });
    const decided = decide(state, plan, {
      now: at,
      generation,
      sides: sides ?? { problem: over ?? "", isOver: true },
      alias: "mode" in target && target.mode === "alias" ? target.alias.metadata.name : undefined,
      command,
      recent: recentWindow(state, recent, at),
      warmth,
    });
    if (decided.startedAt !== before.startedAt) memory.recent = recentSeconds();
    let written = await keep(canary, memory, decided);
    tell(context, canary, memory, plan.dryRun);
    if (!decided.applied) {
      const guarded = plan.dryRun ? written : await guard.put(key, written);
      if (!guarded) return after(STALE_RETRY_MS);
      written = guarded;
      const applied = await give(written, decided, plan, "problem" in target);
      if (applied) written = await keep(written, memory, applied);
    }
    if (command) await takeCommandOff(client, own, written, command);
    return isFinished(memory.state) && memory.state.applied ? done : after(tickMs);
  };

  /** The state with its weight in force; nothing while there is no route to give it to. */
  const give = async (canary: CanaryConfig, state: CanaryState, plan: CanaryPlan, isLost: boolean) => {
    if (isLost && !plan.dryRun && !isFinished(state)) return undefined;
    if (!plan.dryRun) await applyWeight(client, canary, state);
    const begins = state.phase === "progressing" ? { stepStartedAt: now().toISOString() } : {};
    return { ...state, ...begins, applied: true };
  };

  const end = async (key: string, canary: CanaryConfig, memory: CanaryMemory): Promise<Outcome> => {
    if (!guard.isOn(canary)) return done;
    let written = canary;
    try {
      written = await takeBack(canary, memory);
    } catch (error) {
      if (!isForbidden(error) || !(await isEnding(canary.metadata.namespace ?? "default"))) throw error;
    }
    await guard.take(key, written);
    return done;
  };

  const takeBack = async (canary: CanaryConfig, memory: CanaryMemory): Promise<CanaryConfig> => {
    const decided = decideDeleted(memory.state, now());
    const dryRun = canary.spec.dryRun ?? false;
    const written = await keep(canary, memory, decided);
    tell(context, canary, memory, dryRun);
    if (decided.applied) return written;
    if (!dryRun) await applyWeight(client, canary, decided);
    return keep(written, memory, { ...decided, applied: true });
  };

  /** Whether a namespace is being deleted: what had the weight goes too, and the right to change it may have gone before. */
  const isEnding = async (name: string): Promise<boolean> =>
    (await client.find(NAMESPACES, { name }))?.metadata.deletionTimestamp !== undefined;

  return { step, end };
}

const NO_SIDES: Problem = { problem: "" };

function readPlan({ spec }: CanaryConfig): CanaryPlan | Problem {
  try {
    return planOf(spec);
  } catch (error) {
    return { problem: error instanceof Error ? error.message : String(error) };
  }
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
  memory: CanaryMemory,
  dryRun: boolean,
): void {
  const { decisions } = memory.state;
  if (decisions === memory.told) return;
  const known = new Set(memory.told?.map(({ at, action }) => `${at} ${action}`));
  memory.told = decisions;
  for (const { at, action, sentence } of decisions ?? []) {
    if (known.has(`${at} ${action}`)) continue;
    const type = action === "rollback" || action === "hold" ? "Warning" : "Normal";
    const said = dryRun ? `Dry run: ${sentence}` : sentence;
    events.record(canary, type, `Canary${action[0]?.toUpperCase()}${action.slice(1)}`, said);
    log.info("A canary decided", { canary: keyOf(canary), action, sentence: said });
  }
}
