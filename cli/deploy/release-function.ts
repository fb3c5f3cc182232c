import type { CanaryConfig, FunctionAlias } from "../../api/kinds/index.ts";
import { API_GROUP_VERSION, LABEL_DEPLOYMENT } from "../../api/names.ts";
import { CANARY_CONFIGS, FUNCTION_ALIASES, FUNCTIONS } from "../../kube/kinds.ts";
import { changeObject } from "../change-object.ts";
import { CliError } from "../command.ts";
import { publishFunction } from "../releases/publish-function.ts";
import { hasEnded } from "../releases/release-view.ts";
import { waitForAlias } from "../releases/wait-for-alias.ts";
import { waitForVersion } from "../releases/wait-for-version.ts";
import type { ProjectPlan } from "./deploy-project.ts";
import { beginRelease } from "./begin-release.ts";
import { aliasesInUse, triggersOf } from "./release-plan.ts";
import type { ReleaseAccess, Served } from "./serve-through-alias.ts";
import { markReleased, withoutMark } from "./unreleased.ts";

type PlannedFunction = ProjectPlan["functions"][number];

const isRunning = ({ status }: CanaryConfig): boolean => !hasEnded({ phase: status?.phase ?? "waiting" });

/** The release of a function that runs. */
export async function findRelease(
  planned: PlannedFunction,
  { kube, target }: Pick<ReleaseAccess, "kube" | "target">,
): Promise<CanaryConfig | undefined> {
  const triggers = triggersOf(planned).map(({ object }) => object.metadata.name);
  const { items } = await kube.list(CANARY_CONFIGS, { namespace: target.namespace });
  return items.find(
    (canary) =>
      isRunning(canary) &&
      (canary.status?.new?.function === planned.prepared.name || triggers.includes(canary.spec.trigger)),
  );
}

/**
 * New code under a release that runs would change what is compared.
 * @throws {CliError} naming the release of one of the functions that runs
 */
export async function checkNoRelease(
  functions: readonly PlannedFunction[],
  { kube, target }: Pick<ReleaseAccess, "kube" | "target">,
): Promise<void> {
  for (const planned of functions) {
    const running = await findRelease(planned, { kube, target });
    if (running)
      throw new CliError(
        `Cannot deploy "${planned.prepared.name}": release "${running.metadata.name}" runs; \`isotope release promote ${running.metadata.name}\` or \`isotope release abort ${running.metadata.name}\` ends it`,
      );
  }
}

/** Publishes what a function is now and resolves to the version's name once that can be called. */
async function publishReady(
  name: string,
  { kube, target, timeoutMs, signal }: ReleaseAccess,
): Promise<string> {
  const { namespace } = target;
  const { version } = await publishFunction(kube, { namespace, name }, { timeoutMs, signal });
  await waitForVersion(kube, { namespace, name: version.metadata.name }, { timeoutMs, signal });
  return version.metadata.name;
}

/** What a release is asked for, without who takes part. */
export type ReleaseWishes = Omit<CanaryConfig["spec"], "trigger" | "newfunction" | "oldfunction">;

/** The version that gets traffic step by step now, or why none does. */
export type StartedRelease =
  | { readonly isStarted: true; readonly name: string }
  | { readonly isStarted: false; readonly why: string };

/** Publishes a function's new code and begins to give it traffic step by step. `isResumed`: by an earlier deployment's files. */
export async function startRelease(
  planned: PlannedFunction,
  { served, isResumed }: { served: Served; isResumed: boolean },
  wishes: ReleaseWishes,
  access: ReleaseAccess,
): Promise<StartedRelease> {
  const { kube, target } = access;
  const { namespace } = target;
  const { name, objects } = planned.prepared;
  const trigger = objects.triggers[0]?.metadata.name;
  if (!trigger) throw new CliError(`Cannot release "${name}": it has no route`);
  const version = await publishReady(name, access);
  if (version === served.version) return { isStarted: false, why: `${version} does the same` };
  const tried = isResumed ? await triedBy(name, version, access) : undefined;
  if (tried) return { isStarted: false, why: tried };
  const fn = await kube.get(FUNCTIONS, { namespace, name });
  await beginRelease(
    {
      apiVersion: API_GROUP_VERSION,
      kind: "CanaryConfig",
      metadata: {
        name,
        namespace,
        labels: { [LABEL_DEPLOYMENT]: target.deployment },
        ownerReferences: [
          { apiVersion: API_GROUP_VERSION, kind: "Function", name, uid: fn.metadata.uid ?? "" },
        ],
      },
      spec: { ...wishes, trigger, newfunction: version, oldfunction: served.version },
    },
    access,
  );
  return { isStarted: true, name: version };
}

/** What the last release of the function came to, in words, if it was one of that version. */
async function triedBy(
  name: string,
  version: string,
  { kube, target }: ReleaseAccess,
): Promise<string | undefined> {
  const found = await kube.find(CANARY_CONFIGS, { namespace: target.namespace, name });
  return found?.spec.newfunction === version
    ? `release "${name}" of ${version} is ${found.status?.phase ?? "waiting"}`
    : undefined;
}

/** Whether a deployment made the alias, so that it follows what is deployed. */
export const followsDeployments = ({ metadata }: FunctionAlias, deployment: string): boolean =>
  metadata.labels?.[LABEL_DEPLOYMENT] === deployment;

/**
 * Gives the newest code all traffic of a function whose routes go through an alias: at once, as a deployment without a canary means it.
 * Resolves to a line for people per alias.
 */
export async function followDeployment(
  planned: PlannedFunction,
  access: ReleaseAccess,
  isResumed: boolean,
): Promise<string[]> {
  const { kube, target, timeoutMs, signal } = access;
  const { namespace } = target;
  const { name } = planned.prepared;
  const lines: string[] = [];
  for (const alias of aliasesInUse(planned)) {
    const found = await kube.find(FUNCTION_ALIASES, { namespace, name: alias });
    if (!found || !followsDeployments(found, target.deployment)) {
      lines.push(
        `${name}: its routes go through alias "${alias}", which stays at ${found?.spec.version ?? "what it names"}: \`isotope fn publish ${name}\` and \`isotope alias update ${alias} --version <version>\` change that`,
      );
      continue;
    }
    const ref = { namespace, name: alias };
    const version = await publishReady(name, access);
    const isThere = found.spec.version === version && !found.spec.secondaryVersion;
    const tried = isResumed && !isThere ? await triedBy(name, version, access) : undefined;
    if (isThere || tried) {
      await markReleased(kube, ref);
      if (tried) lines.push(`${name}: ${tried}; alias "${alias}" stays at ${found.spec.version}`);
      continue;
    }
    await changeObject(kube, { noun: "alias", type: FUNCTION_ALIASES }, ref, (live) => ({
      ...withoutMark(live),
      spec: { functionName: name, version },
    }));
    await waitForAlias(kube, ref, { timeoutMs, signal });
    lines.push(`${name}: alias "${alias}" names ${version} now`);
  }
  return lines;
}
