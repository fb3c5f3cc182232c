import { resolve } from "node:path";
import { CliError, defineCommand } from "../command.ts";
import type { CliContext } from "../context.ts";
import { checkNamespace } from "../deploy/check-namespace.ts";
import { applyPlan, type DeployAccess, type ProjectPlan, planProject } from "../deploy/deploy-project.ts";
import { findProject } from "../deploy/find-functions.ts";
import { watchLive } from "../deploy/live.ts";
import type { PlannedObject } from "../deploy/plan.ts";
import { waitForFunction } from "../deploy/wait.ts";

const SIGNS = { create: "+", update: "~", unchanged: "=", delete: "-" } as const;

const describe = ({ action, kind, object, changes }: PlannedObject): string =>
  `  ${SIGNS[action]} ${kind.toLowerCase()}/${object.metadata.name}${changes.length > 0 ? `  (${changes.slice(0, 4).join(", ")}${changes.length > 4 ? ", …" : ""})` : ""}`;

function showPlan(plan: ProjectPlan, prune: boolean, context: CliContext): void {
  const actions = plan.functions.flatMap((planned) => planned.actions);
  const changing = actions.filter(({ action }) => action !== "unchanged");
  for (const action of changing) context.out(`${describe(action)}\n`);
  const unchanged = actions.length - changing.length;
  if (unchanged > 0) context.out(`  = ${unchanged} object${unchanged === 1 ? "" : "s"} unchanged\n`);
  for (const action of plan.leftover) {
    if (prune) context.out(`${describe(action)}\n`);
    else
      context.note(
        `  ! ${action.kind.toLowerCase()}/${action.object.metadata.name} belongs to no file any more: --prune deletes it`,
      );
  }
}

/** Where a function answers, for people. */
function addresses(plan: ProjectPlan["functions"][number], routerUrl: string): string[] {
  return plan.prepared.objects.triggers.map(
    ({ spec }) => `${routerUrl}${spec.relativeurl ?? spec.prefix ?? ""}`,
  );
}

async function waitForAll(
  plan: ProjectPlan,
  access: DeployAccess,
  timeoutMs: number,
  context: CliContext,
): Promise<number> {
  const routerUrl = context.routerUrl();
  const results = await Promise.all(
    plan.functions.map(async (planned) => {
      const { name, objects } = planned.prepared;
      const startedAt = performance.now();
      const progress = await waitForFunction(access.live, objects, {
        timeoutMs,
        signal: context.signal,
        onLog: (text) => {
          for (const line of text.split("\n")) if (line.trim()) context.note(`  ${name} | ${line}`);
        },
      });
      const took = `${Math.round(performance.now() - startedAt)} ms`;
      if (progress.state === "ready")
        context.out(
          `  ${name}  ${addresses(planned, routerUrl).join("  ") || "(no route)"}  revision ${progress.revision}  ${took}\n`,
        );
      else if (progress.state === "failed") context.note(`  ${name} failed: ${progress.why}`);
      else
        context.note(
          `  ${name} is not ready after ${took}: it waits for its ${progress.what}; look at \`isotope fn describe ${name}\``,
        );
      return progress.state === "ready";
    }),
  );
  return results.filter((ready) => !ready).length;
}

export const deploy = defineCommand({
  noun: "",
  verb: "deploy",
  summary: "Turn a folder of functions into running functions",
  description:
    "Deploys functions/<name>.ts and functions/<name>/index.ts with what they import. Routes, timeouts, variables and the like come from\n`export const config = {...}` in each file. Running it again changes only what differs.",
  examples: [
    "isotope deploy",
    "isotope deploy examples --only hello",
    "isotope deploy --dry-run",
    "isotope deploy --prune",
  ],
  positionals: [{ name: "dir", help: "Folder or file; default: this folder" }],
  flags: {
    only: { type: "strings", help: "Deploy this function only", placeholder: "<function>" },
    "dry-run": { type: "boolean", aliases: ["dry"], help: "Show the plan and change nothing" },
    prune: {
      type: "boolean",
      help: "Delete what an earlier deploy of this folder made and no file stands for any more",
    },
    wait: { type: "boolean", help: "Wait until everything serves", default: true },
    timeout: { type: "duration", short: "t", help: "How long to wait", default: 180_000 },
    name: {
      type: "string",
      help: "Name that marks what belongs to this deployment; default: the folder's name",
    },
  },
  async run({ flags, positionals }, context) {
    const project = findProject(resolve(context.cwd, positionals[0] ?? "."));
    const chosen =
      flags.only.length > 0
        ? project.functions.filter(({ name }) => flags.only.includes(name))
        : project.functions;
    const missing = flags.only.filter((name) => !project.functions.some((found) => found.name === name));
    if (missing.length > 0) {
      throw new CliError(
        `Cannot deploy "${missing.join('", "')}": the folder holds ${project.functions.map(({ name }) => `"${name}"`).join(", ")}`,
      );
    }
    const [kube, namespace, ops] = [await context.kube(), await context.namespace(), await context.ops()];
    await checkNamespace(ops, namespace);
    const live = await watchLive(kube, namespace);
    try {
      const access = { kube, ops, live, target: { namespace, deployment: flags.name ?? project.name } };
      const plan = await planProject(project, chosen, access);
      showPlan(plan, flags.prune, context);
      if (flags["dry-run"]) return 0;
      await applyPlan(plan, access, flags);
      if (!flags.wait) return 0;
      return (await waitForAll(plan, access, flags.timeout, context)) > 0 ? 1 : 0;
    } finally {
      await live.stop();
    }
  },
});
