import type { ProjectPlan } from "./deploy-project.ts";
import { checkNoRelease, followDeployment, type ReleaseWishes, startRelease } from "./release-function.ts";
import { planThroughAlias, releaseKind } from "./release-plan.ts";
import { type ReleaseAccess, type Served, serveThroughAlias } from "./serve-through-alias.ts";

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
}

/** Without wishes, functions behind an alias of the deployment get all traffic at once; others have it by being deployed. */
export function deployReleases(
  plan: ProjectPlan,
  access: ReleaseAccess,
  wishes: ReleaseWishes | undefined,
): DeployReleases {
  const served = new Map<PlannedFunction, Served>();
  return {
    prepare: async () => {
      const changed = plan.functions.filter((planned) => releaseKind(planned) === "changed");
      await checkNoRelease(changed, access);
      if (!wishes) return plan;
      const functions: PlannedFunction[] = [];
      for (const planned of plan.functions) {
        if (!changed.includes(planned)) {
          functions.push(planned);
          continue;
        }
        const before = await serveThroughAlias(planned, access);
        const through = planThroughAlias(planned, before.alias);
        served.set(through, before);
        functions.push(through);
      }
      return { ...plan, functions };
    },
    start: async (ready) => {
      const lines: string[] = [];
      const started: string[] = [];
      for (const planned of ready) {
        const { name } = planned.prepared;
        const before = served.get(planned);
        if (before && wishes) {
          const version = await startRelease(planned, before, wishes, access);
          if (version) started.push(name);
          lines.push(
            version
              ? `${name}: ${version} is released against ${before.version}; \`isotope release status ${name}\` shows how it does`
              : `${name}: ${before.version} does the same; nothing to release`,
          );
        } else if (releaseKind(planned) === "changed")
          lines.push(...(await followDeployment(planned, access)));
        else if (wishes && releaseKind(planned) === "new")
          lines.push(`${name}: is new; there is nothing to compare it with`);
      }
      return { lines, started };
    },
  };
}
