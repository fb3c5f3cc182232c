/**
 * What a canary does next. Pure: from its state (which is its status), its plan and what was seen, to the next state.
 *
 * Invariants
 * D1. The state says which weight there shall be; whoever keeps the state writes it down before the weight is changed, so that after a
 *     crash anybody can go on.
 * D2. Weight is given to the new side only after a step that was found good, or by command; taking it back needs one finding.
 * D3. A window belongs to one weight and one pair of revisions; when either changes, it starts anew.
 * D4. A finished canary moves only by `retry` or a changed spec.
 */
import type { CanaryConfigStatus, CanaryDecision, CanarySide } from "../../api/kinds/canary.ts";
import { MAX_CANARY_DECISIONS, MAX_PAST_RELEASES } from "../../api/kinds/canary.ts";
import { type BothSides, NO_TRAFFIC } from "./counts.ts";
import { alphaOfLook, judge } from "./judge/judge.ts";
import { runOfFailures } from "./judge/run-of-failures.ts";
import type { Finding, Window } from "./judge/window.ts";
import type { CanaryPlan } from "./plan.ts";

export const CANARY_COMMANDS = ["pause", "resume", "promote", "abort", "retry"] as const;
export type CanaryCommand = (typeof CANARY_COMMANDS)[number];

/** How the pods for the next weight are doing. */
export type Warmth = "ready" | "waiting" | { readonly failed: string };

export interface Observation {
  readonly now: Date;
  readonly generation: number;
  /** Both sides, or why there are not two; `isOver`: somebody took the traffic elsewhere, which is theirs to decide. */
  readonly sides: BothSides<CanarySide> | { readonly problem: string; readonly isOver?: boolean };
  /** The alias that is split, if it is one. */
  readonly alias?: string | undefined;
  readonly command?: CanaryCommand | undefined;
  /** What both sides did in the last seconds. */
  readonly recent: Window;
  /** For the next weight, when the state is `warming`. */
  readonly warmth: Warmth;
}

export type CanaryState = CanaryConfigStatus;

/** Share of all healthy releases that may be taken back by chance, over all steps, looks and gates. */
export const ERROR_BUDGET = 0.005;
/** The next look at a window comes when the new side has had so many times as many requests. */
const LOOK_GROWTH = 1.2;
/** What was seen so long ago says nothing about the present. */
const MAX_BLIND_MS = 10_000;
/** How long a step waits for its pods before it goes on without: a cold start is no disaster. */
const WARM_PATIENCE_MS = 60_000;

export const isFinished = ({ phase }: CanaryState): boolean =>
  phase === "succeeded" || phase === "failed" || phase === "aborted";

const isBegun = ({ phase }: CanaryState): boolean => phase !== undefined && phase !== "waiting";

/** A canary that is deleted: before its end, the old side gets all traffic again. */
export const decideDeleted = (state: CanaryState, now: Date): CanaryState =>
  isFinished(state) || !isBegun(state)
    ? state
    : finish(state, "aborted", { now }, `The release was deleted: ${state.old?.name} has all requests again`);

/** The weight that is prepared or held now: of the present step, 100 after the last one. */
export const weightOfStep = (plan: CanaryPlan, step: number): number => plan.steps[step]?.weight ?? 100;

export function decide(state: CanaryState, plan: CanaryPlan, seen: Observation): CanaryState {
  const current = { ...state, observedGeneration: seen.generation, steps: plan.steps.length };
  if (isFinished(state)) {
    // Its last weight comes first.
    if (!state.applied) return state;
    const isAsked = seen.command === "retry" || (state.observedGeneration ?? 0) < seen.generation;
    return isAsked ? again(current, plan, seen) : current;
  }
  if (seen.command === "abort") return finish(current, "aborted", seen, "The release was aborted by hand");
  if ("problem" in seen.sides) {
    const { problem, isOver } = seen.sides;
    return isOver && isBegun(state)
      ? finish(current, "aborted", seen, `The release is over: ${problem}`)
      : stuck(current, plan, seen, problem);
  }
  if (state.phase === undefined || state.phase === "waiting") return begin(current, plan, seen, "start");
  const same = sameSides(current, seen.sides);
  if (same === "new")
    return begin(
      current,
      plan,
      seen,
      "restart",
      `${seen.sides.new.name} has changed since the release began`,
    );
  const known = same === "old" ? freshWindow({ ...current, old: seen.sides.old }, plan, seen) : current;
  const run =
    current.phase === "warming" && current.step === 0
      ? undefined
      : runOfFailures(seen.recent, limitsOf(plan));
  if (run !== undefined) return finish(known, "failed", seen, run);
  return inPhase(obey(known, plan, seen), plan, seen);
}

/** What has ended is kept for the history. The same versions once more are a retry, others a release of their own. */
function again(state: CanaryState, plan: CanaryPlan, seen: Observation): CanaryState {
  const { old, new: next, phase, startedAt, finishedAt, sentence = "" } = state;
  const isSame = "problem" in seen.sides || seen.sides.new.name === next?.name;
  const ended =
    old && next && phase && startedAt && finishedAt
      ? [{ old: old.name, new: next.name, phase, startedAt, finishedAt, sentence }]
      : [];
  const past = [...(state.past ?? []), ...ended].slice(-MAX_PAST_RELEASES);
  if (!("problem" in seen.sides)) return begin({ ...state, past }, plan, seen, isSame ? "retry" : "start");
  const { conditions, observedGeneration, steps, decisions, applied, weight } = state;
  const fresh = { conditions, observedGeneration, steps, decisions, applied, weight, past };
  return stuck(fresh, plan, seen, seen.sides.problem);
}

const limitsOf = (plan: CanaryPlan) => ({
  maxErrorRate: plan.gates.maxErrorRate,
  countClientErrors: plan.countClientErrors,
});

function inPhase(state: CanaryState, plan: CanaryPlan, seen: Observation): CanaryState {
  if (state.phase === "warming") return warmed(state, plan, seen);
  if (!state.applied || isFinished(state)) return state;
  if (state.phase === "paused") return paused(state, plan, seen);
  return judged(state, plan, seen);
}

function begin(
  state: CanaryState,
  plan: CanaryPlan,
  seen: Observation,
  action: "start" | "retry" | "restart",
  why?: string,
): CanaryState {
  if ("problem" in seen.sides) return stuck({ ...state, phase: "waiting" }, plan, seen, seen.sides.problem);
  const { old, new: next } = seen.sides;
  const fresh: CanaryState = {
    conditions: state.conditions,
    observedGeneration: seen.generation,
    steps: plan.steps.length,
    old,
    new: next,
    alias: seen.alias,
    decisions: state.decisions,
    past: state.past,
    startedAt: seen.now.toISOString(),
    // Behind a weight that the new side has already, another revision of it has proved nothing.
    weight: 0,
    applied: action !== "restart" && (state.weight ?? 0) === 0,
  };
  const sentence =
    why ?? `The release of ${next.name} in place of ${old.name} begins with ${weightOfStep(plan, 0)} %`;
  return warm(said(fresh, seen, action, sentence), plan, seen, 0);
}

/** There is nothing to compare: a canary that has not begun waits, one under way holds, but not for ever. */
function stuck(state: CanaryState, plan: CanaryPlan, seen: Observation, problem: string): CanaryState {
  if (state.phase === undefined || state.phase === "waiting")
    return { ...state, phase: "waiting", status: "pending", sentence: problem };
  return holding(state, plan, seen, problem);
}

function warm(state: CanaryState, plan: CanaryPlan, seen: Observation, step: number): CanaryState {
  const warming: CanaryState = {
    ...state,
    phase: "warming",
    status: "pending",
    step,
    approval: undefined,
    holdingSince: undefined,
    warmingSince: seen.now.toISOString(),
  };
  return plan.prewarm && !plan.dryRun ? warming : warmed(warming, plan, { ...seen, warmth: "ready" });
}

function warmed(state: CanaryState, plan: CanaryPlan, seen: Observation): CanaryState {
  if (typeof seen.warmth === "object")
    return finish(
      state,
      "failed",
      seen,
      `${state.new?.name} cannot be started, before it got more traffic: ${seen.warmth.failed}`,
    );
  const waitedMs = elapsedMs(state.warmingSince, seen.now);
  // A first revision's weight must be gone before its pods are given new weight.
  if ((seen.warmth === "waiting" && waitedMs < WARM_PATIENCE_MS) || !state.applied) return state;
  const step = state.step ?? 0;
  if (step >= plan.steps.length) return finish(state, "succeeded", seen, state.sentence ?? "");
  const weight = weightOfStep(plan, step);
  const next: CanaryState = {
    ...state,
    phase: "progressing",
    weight,
    applied: weight === state.weight || plan.dryRun,
  };
  return said(
    freshWindow(next, plan, seen),
    seen,
    "weight",
    `${next.new?.name} gets ${weight} % of the requests (step ${step + 1} of ${plan.steps.length})`,
  );
}

function obey(state: CanaryState, plan: CanaryPlan, seen: Observation): CanaryState {
  switch (seen.command) {
    case "promote":
      return warm(
        said(state, seen, "promote", `${state.new?.name} was promoted by hand`),
        plan,
        seen,
        plan.steps.length,
      );
    case "pause":
      return state.phase === "paused" || state.phase === "warming"
        ? state
        : said({ ...state, phase: "paused" }, seen, "pause", "The release was paused by hand");
    case "resume":
      if (state.phase !== "paused") return state;
      return said(
        {
          ...state,
          phase: "progressing",
          holdingSince: undefined,
          ...(state.approval === "awaited" ? { approval: "given" } : {}),
        },
        seen,
        "resume",
        "The release goes on by hand",
      );
    default:
      return state;
  }
}

/** A paused canary is watched all the same: what breaks a gate beyond doubt is taken back. */
function paused(state: CanaryState, plan: CanaryPlan, seen: Observation): CanaryState {
  const looked = look(state, plan, seen, false);
  return looked.finding?.verdict === "bad"
    ? finish(looked.state, "failed", seen, looked.finding.sentence)
    : looked.state;
}

function judged(state: CanaryState, plan: CanaryPlan, seen: Observation): CanaryState {
  const step = state.step ?? 0;
  const planned = plan.steps[step];
  const isOver = elapsedMs(state.stepStartedAt, seen.now) >= (planned?.durationMs ?? 0);
  const looked = look(state, plan, seen, isOver);
  const { finding } = looked;
  if (finding?.verdict === "bad") return finish(looked.state, "failed", seen, finding.sentence);
  if (!isOver) return { ...looked.state, phase: "progressing" };
  if (elapsedMs(state.readAt, seen.now) > MAX_BLIND_MS)
    return holding(
      looked.state,
      plan,
      seen,
      `No router has told its counters since ${state.readAt}: more traffic is given only to what is watched`,
    );
  const isSilent = planned?.weight === 0;
  if (finding && finding.verdict !== "good" && !isSilent)
    return holding(looked.state, plan, seen, finding.sentence);
  const sentence = isSilent
    ? `${state.new?.name} is ready and has no traffic yet`
    : (finding?.sentence ?? "");
  if (planned?.pause && state.approval !== "given")
    return said(
      { ...looked.state, phase: "paused", approval: "awaited" },
      seen,
      "pause",
      `Step ${step + 1} of ${plan.steps.length} waits for approval: ${sentence}`,
    );
  return warm({ ...looked.state, sentence }, plan, seen, step + 1);
}

/** The tests are paid for from a budget, so they are made when there is enough that is new, and at the end of a step. */
function look(
  state: CanaryState,
  plan: CanaryPlan,
  seen: Observation,
  isOver: boolean,
): { state: CanaryState; finding: Finding | undefined } {
  const counts = state.counts ?? NO_TRAFFIC;
  const due = counts.new.requests >= (state.nextLookAt ?? plan.minSamples);
  const isFirstAfterEnd = isOver && state.phase !== "holding" && counts.new.requests > 0;
  if (!due && !isFirstAfterEnd && !isOver) return { state, finding: undefined };
  const isPaid = due || isFirstAfterEnd;
  const looks = (state.looks ?? 0) + (isPaid ? 1 : 0);
  const alpha = isPaid ? alphaOfLook(ERROR_BUDGET / plan.steps.length, looks) : 0;
  const window: Window = { ...seen.recent, ...counts };
  const finding = judge(window, plan, alpha);
  if (!isPaid) return { state, finding };
  const nextLookAt = Math.max(plan.minSamples, Math.ceil(counts.new.requests * LOOK_GROWTH));
  return { state: { ...state, looks, nextLookAt, sentence: finding.sentence }, finding };
}

function holding(state: CanaryState, plan: CanaryPlan, seen: Observation, why: string): CanaryState {
  const since = state.holdingSince ?? seen.now.toISOString();
  if (elapsedMs(since, seen.now) >= plan.maxHoldMs)
    return finish(state, "failed", seen, `No clear answer within the longest hold: ${why}`);
  const held: CanaryState = { ...state, phase: "holding", holdingSince: since, sentence: why };
  return state.phase === "holding" ? held : said(held, seen, "hold", why);
}

function finish(
  state: CanaryState,
  phase: "succeeded" | "failed" | "aborted",
  seen: Pick<Observation, "now">,
  sentence: string,
): CanaryState {
  const weight = phase === "succeeded" ? 100 : 0;
  const action = phase === "succeeded" ? "promote" : phase === "failed" ? "rollback" : "abort";
  const end: CanaryState = {
    ...state,
    phase,
    status: phase,
    weight,
    applied: false,
    finishedAt: seen.now.toISOString(),
    holdingSince: undefined,
    warmingSince: undefined,
    routers: undefined,
  };
  return said(end, seen, action, sentence || `${state.new?.name} has all requests`);
}

/** A window of its own for the weight that comes now. */
function freshWindow(state: CanaryState, plan: CanaryPlan, seen: Observation): CanaryState {
  return {
    ...state,
    counts: undefined,
    looks: 0,
    nextLookAt: plan.minSamples,
    stepStartedAt: seen.now.toISOString(),
    holdingSince: undefined,
  };
}

function said(
  state: CanaryState,
  seen: Pick<Observation, "now">,
  action: CanaryDecision["action"],
  sentence: string,
): CanaryState {
  const decision: CanaryDecision = {
    at: seen.now.toISOString(),
    action,
    weight: state.weight ?? 0,
    sentence: sentence.slice(0, 1_024),
  };
  return {
    ...state,
    sentence: decision.sentence,
    decisions: [...(state.decisions ?? []), decision].slice(-MAX_CANARY_DECISIONS),
  };
}

function sameSides(state: CanaryState, sides: BothSides<CanarySide>): "both" | "old" | "new" {
  const same = (a: CanarySide | undefined, b: CanarySide): boolean =>
    a?.uid === b.uid && a.revision === b.revision && a.name === b.name;
  if (!same(state.new, sides.new)) return "new";
  return same(state.old, sides.old) ? "both" : "old";
}

const elapsedMs = (since: string | undefined, now: Date): number =>
  since === undefined ? 0 : now.getTime() - Date.parse(since);
