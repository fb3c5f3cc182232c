import { resolve } from "node:path";
import type { Release } from "../../api/wire/releases.ts";
import { CliError, defineCommand, type FlagValues, UsageError } from "../command.ts";
import type { CliContext } from "../context.ts";
import { calledBy } from "../deploy/called-by.ts";
import { checkNamespace } from "../deploy/check-namespace.ts";
import { applyPlan, type DeployAccess, type ProjectPlan, planProject } from "../deploy/deploy-project.ts";
import { deployReleases, type DeployReleases } from "../deploy/deploy-releases.ts";
import { findProject, sourcesOf } from "../deploy/find-functions.ts";
import { watchLive } from "../deploy/live.ts";
import type { PlannedObject } from "../deploy/plan.ts";
import type { ReleaseWishes } from "../deploy/release-function.ts";
import type { Progress } from "../deploy/progress.ts";
import { takenOver } from "../deploy/taken-over.ts";
import { type WaitOptions, waitForFunction, waitForWorkflow } from "../deploy/wait.ts";
import { applyGates, durationText, GATE_FLAGS } from "../releases/canary-flags.ts";
import { parseSteps, STEPS_PLACEHOLDER } from "../releases/canary-steps.ts";
import { wasTakenBack } from "../releases/release-view.ts";
import { watchRelease } from "../releases/watch-release.ts";

const SIGNS = { create: "+", update: "~", unchanged: "=", delete: "-" } as const;

const describe = ({ action, kind, object, changes }: PlannedObject): string =>
  `  ${SIGNS[action]} ${kind.toLowerCase()}/${object.metadata.name}${changes.length > 0 ? `  (${changes.slice(0, 4).join(", ")}${changes.length > 4 ? ", …" : ""})` : ""}`;

function showPlan(plan: ProjectPlan, prune: boolean, context: CliContext): void {
  const actions = [...plan.functions, ...plan.workflows].flatMap((planned) => planned.actions);
  const changing = actions.filter(({ action }) => action !== "unchanged");
  for (const action of changing) context.out(`${describe(action)}\n`);
  const unchanged = actions.length - changing.length;
  if (unchanged > 0) context.out(`  = ${unchanged} object${unchanged === 1 ? "" : "s"} unchanged\n`);
  for (const line of takenOver(plan)) context.note(`  ! ${line}`);
  for (const action of plan.leftover) {
    if (prune) context.out(`${describe(action)}\n`);
    else
      context.note(
        `  ! ${action.kind.toLowerCase()}/${action.object.metadata.name} belongs to no file any more: --prune deletes it`,
      );
  }
}

type PlannedFunction = ProjectPlan["functions"][number];

/** Waits for one function or workflow, and says how it fared. Resolves to whether it can be used. */
async function waitForOne(
  { name, calls, look }: { name: string; calls: readonly string[]; look: string },
  wait: (options: WaitOptions) => Promise<Progress>,
  timeoutMs: number,
  context: CliContext,
): Promise<boolean> {
  const startedAt = performance.now();
  const progress = await wait({
    timeoutMs,
    signal: context.signal,
    onLog: (text) => {
      for (const line of text.split("\n")) if (line.trim()) context.note(`  ${name} | ${line}`);
    },
  });
  const took = `${Math.round(performance.now() - startedAt)} ms`;
  if (progress.state === "ready")
    context.out(`  ${name}  ${calls.join("  ") || "(no route)"}  revision ${progress.revision}  ${took}\n`);
  else if (progress.state === "failed") context.note(`  ${name} failed: ${progress.why}`);
  else
    context.note(
      `  ${name} is not ready after ${took}: it waits for its ${progress.what}; look at \`isotope ${look} describe ${name}\``,
    );
  return progress.state === "ready";
}

/** Resolves to the functions that serve what was deployed, and whether everything can be used. */
async function waitForAll(
  plan: ProjectPlan,
  access: DeployAccess,
  timeoutMs: number,
  context: CliContext,
): Promise<{ ready: ReadonlySet<PlannedFunction>; all: boolean }> {
  const ready = new Set<PlannedFunction>();
  const functions = plan.functions.map(async (planned) => {
    const { name, objects } = planned.prepared;
    const wait = (options: WaitOptions) => waitForFunction(access.live, objects, options);
    const one = { name, calls: calledBy(objects, context.routerUrl()), look: "fn" };
    if (await waitForOne(one, wait, timeoutMs, context)) ready.add(planned);
  });
  const workflows = plan.workflows.map(({ prepared: { name, objects } }) => {
    const wait = (options: WaitOptions) => waitForWorkflow(access.live, objects, options);
    const one = { name, calls: calledBy(objects, context.routerUrl()), look: "workflow" };
    return waitForOne(one, wait, timeoutMs, context);
  });
  await Promise.all(functions);
  const usable = await Promise.all(workflows);
  return { ready, all: ready.size === plan.functions.length && usable.every(Boolean) };
}

export const deploy = defineCommand({
  noun: "",
  verb: "deploy",
  summary: "Turn a folder of functions and workflows into running ones",
  description:
    "Deploys functions/<name>.ts and functions/<name>/index.ts, and workflows/<name>.ts likewise, with what they import. Routes, timeouts, variables and the like come from\n`export const config = {...}` in each file. Running it again changes only what differs.",
  examples: [
    "isotope deploy",
    "isotope deploy examples --only hello",
    "isotope deploy --dry-run",
    "isotope deploy --prune",
    "isotope deploy --canary 5%,25%,50%",
    "isotope deploy --canary 10%:5m,50%:pause --max-p95 250ms --watch",
  ],
  positionals: [{ name: "dir", help: "Folder or file; default: this folder" }],
  flags: {
    only: { type: "strings", help: "Deploy this function or workflow only", placeholder: "<name>" },
    "dry-run": { type: "boolean", aliases: ["dry"], help: "Show the plan and change nothing" },
    prune: {
      type: "boolean",
      help: "Delete what an earlier deploy of this folder made and no file stands for any more",
    },
    wait: { type: "boolean", help: "Wait until everything serves", default: true },
    timeout: { type: "duration", short: "t", help: "How long to wait", default: 180_000 },
    canary: {
      type: "string",
      help: "Give what changed its traffic step by step, and take it back when it is worse",
      placeholder: STEPS_PLACEHOLDER,
    },
    "canary-interval": { type: "duration", help: "How long each step of --canary lasts; default 2m" },
    ...GATE_FLAGS,
    watch: { type: "boolean", short: "w", help: "Follow the releases of --canary until they have ended" },
    name: {
      type: "string",
      help: "Name that marks what belongs to this deployment; default: the folder's name",
    },
  },
  async run({ flags, given, positionals }, context) {
    const wishes = releaseWishes(flags, given);
    const project = findProject(resolve(context.cwd, positionals[0] ?? "."));
    const sources = sourcesOf(project);
    const chosen = flags.only.length > 0 ? sources.filter(({ name }) => flags.only.includes(name)) : sources;
    const missing = flags.only.filter((name) => !sources.some((found) => found.name === name));
    if (missing.length > 0) {
      throw new CliError(
        `Cannot deploy "${missing.join('", "')}": the folder holds ${sources.map(({ name }) => `"${name}"`).join(", ")}`,
      );
    }
    const [kube, namespace, ops] = [await context.kube(), await context.namespace(), await context.ops()];
    await checkNamespace(ops, namespace);
    const live = await watchLive(kube, namespace);
    try {
      const target = { namespace, deployment: flags.name ?? project.name };
      const access = { kube, ops, live, target, keepAliases: true };
      const plan = await planProject(project, chosen, access);
      showPlan(plan, flags.prune, context);
      if (flags["dry-run"]) return 0;
      const releases = deployReleases(
        plan,
        { kube, target, timeoutMs: flags.timeout, signal: context.signal },
        wishes,
      );
      const released = await releases.prepare();
      const { all, started } = await carryOut(released, releases, access, flags, context);
      const ended = flags.watch ? await watchAll(started, context) : [];
      return !all || ended.some(wasTakenBack) ? 1 : 0;
    } finally {
      await live.stop();
    }
  },
});

/** Writes what is planned and gives what serves then its traffic; says what was left without, also when the user breaks off. */
async function carryOut(
  plan: ProjectPlan,
  releases: DeployReleases,
  access: DeployAccess,
  flags: { prune: boolean; wait: boolean; timeout: number },
  context: CliContext,
): Promise<{ all: boolean; started: string[] }> {
  try {
    await applyPlan(plan, access, flags);
    if (!flags.wait) return { all: true, started: [] };
    const { ready, all } = await waitForAll(plan, access, flags.timeout, context);
    const { lines, started } = await releases.start(ready);
    for (const line of lines) context.out(`  ${line}\n`);
    return { all, started };
  } finally {
    for (const line of releases.pending()) context.note(`  ${line}`);
  }
}

async function watchAll(names: readonly string[], context: CliContext): Promise<Release[]> {
  const ended: Release[] = [];
  for (const name of names) ended.push(await watchRelease(context, name));
  return ended;
}

type ReleaseFlags = FlagValues<typeof GATE_FLAGS> & {
  canary: string | undefined;
  "canary-interval": number | undefined;
  wait: boolean;
  watch: boolean;
};

/** What `--canary` and the flags beside it ask for; nothing without `--canary`. @throws {UsageError} */
function releaseWishes(flags: ReleaseFlags, given: ReadonlySet<string>): ReleaseWishes | undefined {
  if (flags.canary === undefined) {
    const alone = ["canary-interval", "watch", ...Object.keys(GATE_FLAGS)].find((name) => given.has(name));
    if (alone) throw new UsageError(`--${alone} needs --canary`);
    return undefined;
  }
  if (!flags.wait) throw new UsageError("--canary needs --wait: only what serves can be released");
  const interval = flags["canary-interval"];
  const base: ReleaseWishes = {
    steps: parseSteps(flags.canary, "--canary"),
    ...(interval === undefined ? {} : { duration: durationText(interval) }),
  };
  return applyGates(base, flags, given);
}
