import type { CanaryConfig, CanarySide } from "../../api/kinds/index.ts";
import { LATENCY_BUCKET_BOUNDS_MS } from "../../api/wire/counters.ts";
import type { World } from "../world.ts";
import { type BothSides, differences, grown, plus } from "./counts.ts";
import { type CanaryState, isFinished, type Warmth, weightOfStep } from "./decide.ts";
import type { Window } from "./judge/window.ts";
import type { CanaryPlan } from "./plan.ts";
import type { RecentSeconds } from "./recent-seconds.ts";
import type { RouterCounters } from "./router-counters.ts";
import type { Problem } from "./sides.ts";
import { podsFor, type WarmPods } from "./warm-pods.ts";

/** A run of failures is looked for in this time. */
const RECENT_MS = 4_000;

/** Reads the routers; gives the state with what came since the last reading, which also goes into `recent`. */
export async function readCounters(
  { counters, settleMs }: { counters: Pick<RouterCounters, "read">; settleMs: number },
  { state, recent }: { readonly state: CanaryState; readonly recent: RecentSeconds },
  sides: BothSides<CanarySide> | Problem,
  { at, plan }: { readonly at: Date; readonly plan: CanaryPlan },
): Promise<CanaryState> {
  const watched = state.old && state.new ? { old: state.old, new: state.new } : sides;
  if ("problem" in watched || isFinished(state)) return state;
  const replies = await counters.read([...new Set([watched.old.uid, watched.new.uid])]);
  if (replies.length === 0) return state;
  // A router that began within the step is heard of late, as names go: all that it has counted is of this step.
  const { readAt, stepStartedAt } = state;
  const from =
    readAt !== undefined && stepStartedAt !== undefined && stepStartedAt < readAt ? stepStartedAt : readAt;
  const { delta, routers } = differences({ routers: state.routers, from }, replies, watched);
  const ms = state.readAt === undefined ? 0 : at.getTime() - Date.parse(state.readAt);
  recent.add({ at, ms, delta });
  const read = { ...state, routers, readAt: at.toISOString() };
  const settled =
    state.applied &&
    state.stepStartedAt !== undefined &&
    at.getTime() - Date.parse(state.stepStartedAt) >= settleMs;
  if (!settled || state.phase === "warming") return read;
  return { ...read, counts: grown(state.counts, delta, plan.warmUpRequests) };
}

/** What both sides did in the last seconds. */
export function recentWindow(state: CanaryState, recent: RecentSeconds, at: Date): Window {
  return {
    ...recent.since(new Date(at.getTime() - RECENT_MS)).counts,
    names: { old: state.old?.name ?? "the old side", new: state.new?.name ?? "the new side" },
    bounds: LATENCY_BUCKET_BOUNDS_MS,
  };
}

/** Asks for the pods that the next weight needs. */
export async function warmNext(
  { world, warm }: { world: Pick<World, "functions" | "versions">; warm: WarmPods },
  canary: CanaryConfig,
  { state, plan, recent }: { state: CanaryState; plan: CanaryPlan; recent: RecentSeconds },
): Promise<Warmth> {
  const { new: next } = state;
  if (state.phase !== "warming" || !next || !plan.prewarm || plan.dryRun) return "ready";
  const namespace = canary.metadata.namespace ?? "default";
  const serving = [
    world.functions.get(`${namespace}/${next.name}`)?.status?.serving,
    world.versions.get(`${namespace}/${next.name}`)?.status?.serving,
  ].find((each) => each?.revision === next.revision);
  if (!serving) return "ready";
  const { counts, ms } = recent.since(new Date(0));
  const share = weightOfStep(plan, state.step ?? 0) / 100;
  const pods = podsFor(plus(counts.old, counts.new), ms, LATENCY_BUCKET_BOUNDS_MS, share, serving);
  return warm(namespace, next, pods);
}
