/**
 * Gives what is deployed its traffic: at once, or step by step.
 *
 * Invariants
 * L1. What serves is published and routes go through an alias of it before newer code is written, so that code gets no traffic by that.
 * L2. The alias is marked before code is written and until it was released: a deployment that was interrupted anywhere is gone on with by
 *     the next one, though the files are what is deployed already.
 * L3. Code that a release has tried is not released again by that.
 */
import { FUNCTION_ALIASES } from "../../kube/kinds.ts";
import type { ProjectPlan } from "./deploy-project.ts";
import {
  checkNoRelease,
  findRelease,
  followDeployment,
  followsDeployments,
  type ReleaseWishes,
  startRelease,
} from "./release-function.ts";
import { aliasesInUse, planThroughAlias, releaseKind } from "./release-plan.ts";
import { type ReleaseAccess, type Served, serveThroughAlias } from "./serve-through-alias.ts";
import { isUnreleased, markReleased, markUnreleased } from "./unreleased.ts";

type PlannedFunction = ProjectPlan["functions"][number];

/** How the functions of a plan get their traffic. */
export interface DeployReleases {
  /**
   * Makes sure that what is written next gets no traffic by itself where it shall be released. Resolves to the plan to carry out.
   * @throws {CliError} when a release of one of the functions runs
   */
  prepare(): Promise<ProjectPlan>;
  /** Gives what was deployed its traffic: at once, or with wishes step by step. `started` names the releases. */
  start(ready: ReadonlySet<PlannedFunction>): Promise<{ lines: string[]; started: string[] }>;
  /** Functions whose new code waits for traffic, for people. */
  pending(): string[];
}

interface Waiting {
  readonly alias: string;
  /** What a release of it is compared with. */
  readonly served?: Served;
  /** Its files were deployed by a deployment that was interrupted. */
  readonly isResumed: boolean;
  /** Whether the next deployment moves the alias. */
  readonly follows: boolean;
}

/** Without wishes, functions behind an alias of the deployment get all traffic at once; others have it by being deployed. */
export function deployReleases(
  plan: ProjectPlan,
  access: ReleaseAccess,
  wishes: ReleaseWishes | undefined,
): DeployReleases {
  const { kube, target } = access;
  const ref = (name: string) => ({ namespace: target.namespace, name });
  /** The alias that leads to what is not released yet. */
  const waiting = new Map<PlannedFunction, Waiting>();

  const prepareOne = async (planned: PlannedFunction): Promise<PlannedFunction> => {
    const kind = releaseKind(planned);
    const left = kind === "same" ? await leftBehind(planned, access) : undefined;
    if (kind === "new" || (kind === "same" && left === undefined)) return planned;
    if (wishes) {
      const served = await serveThroughAlias(planned, access);
      const through = planThroughAlias(planned, served.alias);
      await markUnreleased(kube, ref(served.alias));
      waiting.set(through, {
        alias: served.alias,
        served,
        isResumed: left !== undefined,
        follows: true,
      });
      return through;
    }
    for (const alias of aliasesInUse(planned)) {
      const found = await kube.find(FUNCTION_ALIASES, ref(alias));
      const follows = found !== undefined && followsDeployments(found, target.deployment);
      if (follows) await markUnreleased(kube, ref(alias));
      waiting.set(planned, { alias, isResumed: left !== undefined, follows });
    }
    return planned;
  };

  const startOne = async (planned: PlannedFunction): Promise<{ lines: string[]; started?: string }> => {
    const { name } = planned.prepared;
    const { alias, served, isResumed } = waiting.get(planned) ?? {};
    if (alias === undefined)
      return {
        lines:
          wishes && releaseKind(planned) === "new"
            ? [`${name}: is new; there is nothing to compare it with`]
            : [],
      };
    if (!served || !wishes) return { lines: await followDeployment(planned, access, isResumed ?? false) };
    const version = await startRelease(planned, { served, isResumed: isResumed ?? false }, wishes, access);
    await markReleased(kube, ref(alias));
    if (version.isStarted)
      return {
        started: name,
        lines: [
          `${name}: ${version.name} is released against ${served.version}; \`isotope release status ${name}\` shows how it does`,
        ],
      };
    return { lines: [`${name}: ${version.why}; nothing to release`] };
  };

  return {
    prepare: async () => {
      await checkNoRelease(
        plan.functions.filter((planned) => releaseKind(planned) === "changed"),
        access,
      );
      const functions: PlannedFunction[] = [];
      for (const planned of plan.functions) functions.push(await prepareOne(planned));
      return { ...plan, functions };
    },
    start: async (ready) => {
      const lines: string[] = [];
      const started: string[] = [];
      for (const planned of ready) {
        const one = await startOne(planned);
        waiting.delete(planned);
        lines.push(...one.lines);
        if (one.started) started.push(one.started);
      }
      return { lines, started };
    },
    pending: () =>
      [...waiting]
        .filter(([, { follows }]) => follows)
        .map(
          ([{ prepared }, { alias, served }]) =>
            `${prepared.name}: its routes stay at ${served ? served.version : `what alias "${alias}" names`}; deploying it again goes on`,
        ),
  };
}

/** The alias of an earlier deployment that was interrupted before it gave its code traffic. */
async function leftBehind(planned: PlannedFunction, access: ReleaseAccess): Promise<string | undefined> {
  const { kube, target } = access;
  for (const alias of aliasesInUse(planned)) {
    const ref = { namespace: target.namespace, name: alias };
    const found = await kube.find(FUNCTION_ALIASES, ref);
    if (!found || !isUnreleased(found)) continue;
    // It was interrupted a moment later: the release that it began runs.
    if (!(await findRelease(planned, access))) return alias;
    await markReleased(kube, ref);
  }
  return undefined;
}
