import type { FastifyInstance } from "fastify";
import type { CanaryConfig, SideCounts } from "../../api/kinds/index.ts";
import {
  type Release,
  type ReleaseList,
  ReleaseQuery,
  type ReleaseSideView,
} from "../../api/wire/releases.ts";
import { type BothSides, differences, NO_TRAFFIC } from "../canary/counts.ts";
import { type CanaryState, isFinished } from "../canary/decide.ts";
import { failuresOf } from "../canary/judge/judge.ts";
import { type CanaryPlan, planOf } from "../canary/plan.ts";
import { quantiles, type RecentSeconds, recentSeconds } from "../canary/recent-seconds.ts";
import type { LiveCanaries } from "../canary/reconcile.ts";
import type { RouterCounters } from "../canary/router-counters.ts";
import { targetOf } from "../canary/sides.ts";
import type { World } from "../world.ts";
import { parseQuery } from "./parse-query.ts";

export interface ReleaseSources {
  readonly world: Pick<World, "canaries" | "functions" | "triggers" | "versions" | "aliases">;
  /** Canaries that this process runs; another replica's are read from their status and from the routers. */
  readonly live: LiveCanaries;
  readonly counters: Pick<RouterCounters, "read">;
}

interface Watched {
  readonly recent: RecentSeconds;
  routers: CanaryState["routers"];
  readAt: string | undefined;
  askedAtMs: number;
}

const MIN_READ_MS = 900;
const FORGET_MS = 60_000;
/** What "per second" is averaged over. */
const RATE_MS = 5_000;

/** `GET /v1/releases`. */
export function releasesRoute(app: FastifyInstance, sources: ReleaseSources): void {
  const watched = new Map<string, Watched>();
  app.get("/v1/releases", async (request): Promise<ReleaseList> => {
    const query = parseQuery("list releases", ReleaseQuery, request.query);
    forgetOld(watched);
    const wanted = sources.world.canaries
      .list()
      .filter(
        ({ metadata }) =>
          (query.namespace === undefined || metadata.namespace === query.namespace) &&
          (query.name === undefined || metadata.name === query.name),
      )
      .toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
    return { releases: await Promise.all(wanted.map((canary) => releaseOf(canary, sources, watched))) };
  });
}

const keyOf = ({ metadata }: CanaryConfig): string => `${metadata.namespace ?? "default"}/${metadata.name}`;

function forgetOld(watched: Map<string, Watched>): void {
  for (const [key, { askedAtMs }] of watched) if (Date.now() - askedAtMs > FORGET_MS) watched.delete(key);
}

async function releaseOf(
  canary: CanaryConfig,
  sources: ReleaseSources,
  watched: Map<string, Watched>,
): Promise<Release> {
  const live = sources.live.get(keyOf(canary));
  const state = live?.state ?? canary.status ?? {};
  const recent = live?.recent ?? (await watch(canary, state, sources.counters, watched));
  const plan = readPlan(canary);
  const target = targetOf(canary, sources.world);
  const alias =
    state.alias ?? ("mode" in target && target.mode === "alias" ? target.alias.metadata.name : undefined);
  const weight = state.weight ?? 0;
  const counts = state.counts ?? NO_TRAFFIC;
  const { old, new: next } = state;
  const shown = (side: "old" | "new") => {
    const known = side === "old" ? old : next;
    const name = known?.name ?? (side === "old" ? canary.spec.oldfunction : canary.spec.newfunction);
    return {
      name,
      function: known?.function ?? name,
      uid: known?.uid ?? "",
      revision: known?.revision ?? "",
      weight: side === "old" ? 100 - weight : weight,
      ...sideCounts(counts, side, canary.spec.countClientErrors ?? false),
      ...ratesOf(recent, side, canary.spec.countClientErrors ?? false),
    };
  };
  return {
    namespace: canary.metadata.namespace ?? "default",
    name: canary.metadata.name,
    mode: alias === undefined ? "function-weights" : "alias",
    trigger: canary.spec.trigger,
    ...(alias === undefined ? {} : { alias }),
    phase: state.phase ?? "waiting",
    status: state.status ?? "pending",
    dryRun: canary.spec.dryRun ?? false,
    applied: state.applied !== false,
    step: state.step ?? 0,
    steps: plan ? plan.steps.map((step) => ({ ...step })) : [],
    ...given({
      startedAt: state.startedAt,
      stepStartedAt: state.stepStartedAt,
      finishedAt: state.finishedAt,
    }),
    old: shown("old"),
    new: shown("new"),
    sentence: state.sentence ?? "",
    decisions: [...(state.decisions ?? [])],
  };
}

/** Another replica runs it: the routers tell this one as well. */
async function watch(
  canary: CanaryConfig,
  state: CanaryState,
  counters: ReleaseSources["counters"],
  watched: Map<string, Watched>,
): Promise<RecentSeconds> {
  const key = keyOf(canary);
  const known = watched.get(key) ?? {
    recent: recentSeconds(),
    routers: undefined,
    readAt: undefined,
    askedAtMs: 0,
  };
  watched.set(key, known);
  const at = new Date();
  known.askedAtMs = at.getTime();
  const { old, new: next } = state;
  const ms = known.readAt === undefined ? 0 : at.getTime() - Date.parse(known.readAt);
  if (!old || !next || isFinished(state) || (known.readAt !== undefined && ms < MIN_READ_MS))
    return known.recent;
  const before = { routers: known.routers, from: known.readAt };
  known.readAt = at.toISOString();
  const { delta, routers } = differences(before, await counters.read([...new Set([old.uid, next.uid])]), {
    old,
    new: next,
  });
  known.routers = routers;
  known.recent.add({ at, ms, delta });
  return known.recent;
}

function readPlan(canary: CanaryConfig): CanaryPlan | undefined {
  try {
    return planOf(canary.spec);
  } catch {
    return undefined;
  }
}

function sideCounts(counts: BothSides<SideCounts>, side: "old" | "new", countClientErrors: boolean) {
  const { requests, clientErrors } = counts[side];
  return {
    requests,
    clientErrors,
    errors: failuresOf(counts[side], countClientErrors),
    ...quantiles(counts[side]),
  };
}

function ratesOf(
  recent: RecentSeconds,
  side: "old" | "new",
  countClientErrors: boolean,
): Pick<ReleaseSideView, "perSecond" | "seconds"> {
  const { counts, ms } = recent.since(new Date(Date.now() - RATE_MS));
  return {
    perSecond: ms > 0 ? Math.round((counts[side].requests * 10_000) / ms) / 10 : 0,
    seconds: recent.view(side, countClientErrors),
  };
}

function given<T extends Record<string, string | undefined>>(values: T): { [K in keyof T]?: string } {
  const known: { [K in keyof T]?: string } = {};
  for (const name in values) {
    const value = values[name];
    if (value !== undefined) known[name] = value;
  }
  return known;
}
