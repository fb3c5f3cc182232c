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
import { aliasesInUse, triggersOf } from "./release-plan.ts";
import type { ReleaseAccess, Served } from "./serve-through-alias.ts";

type PlannedFunction = ProjectPlan["functions"][number];

const isRunning = ({ status }: CanaryConfig): boolean => !hasEnded({ phase: status?.phase ?? "waiting" });

/**
 * New code under a release that runs would change what is compared.
 * @throws {CliError} naming the release of one of the functions that runs
 */
export async function checkNoRelease(
  functions: readonly PlannedFunction[],
  { kube, target }: Pick<ReleaseAccess, "kube" | "target">,
): Promise<void> {
  if (functions.length === 0) return;
  const { items } = await kube.list(CANARY_CONFIGS, { namespace: target.namespace });
  for (const planned of functions) {
    const triggers = triggersOf(planned).map(({ object }) => object.metadata.name);
    const running = items.find(
      (canary) =>
        isRunning(canary) &&
        (canary.status?.new?.function === planned.prepared.name || triggers.includes(canary.spec.trigger)),
    );
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

/**
 * Publishes a function's new code and begins to give it traffic step by step. Resolves to the new version, or to nothing when it is the
 * one that serves already.
 */
export async function startRelease(
  planned: PlannedFunction,
  served: Served,
  wishes: ReleaseWishes,
  access: ReleaseAccess,
): Promise<string | undefined> {
  const { kube, target } = access;
  const { namespace } = target;
  const { name, objects } = planned.prepared;
  const trigger = objects.triggers[0]?.metadata.name;
  if (!trigger) throw new CliError(`Cannot release "${name}": it has no route`);
  const version = await publishReady(name, access);
  if (version === served.version) return undefined;
  const fn = await kube.get(FUNCTIONS, { namespace, name });
  const found = await kube.find(CANARY_CONFIGS, { namespace, name });
  const canary: CanaryConfig = {
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
  };
  // A new object: what the last release came to is said in the old one, and nothing of it may count for this one.
  if (found)
    await kube.delete(CANARY_CONFIGS, { namespace, name }, { preconditions: { uid: found.metadata.uid } });
  await createOnceGone(canary, access);
  return version;
}

const GONE_POLL_MS = 50;

async function createOnceGone(
  canary: CanaryConfig,
  { kube, timeoutMs, signal }: ReleaseAccess,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  const { namespace, name } = canary.metadata;
  while (await kube.find(CANARY_CONFIGS, { namespace, name })) {
    signal.throwIfAborted();
    if (performance.now() > deadline)
      throw new CliError(`Cannot start release "${name}": the last one is still being deleted`);
    await new Promise((done) => setTimeout(done, GONE_POLL_MS));
  }
  await kube.create(CANARY_CONFIGS, canary);
}

/** Whether a deployment made the alias, so that it follows what is deployed. */
const followsDeployments = ({ metadata }: FunctionAlias, deployment: string): boolean =>
  metadata.labels?.[LABEL_DEPLOYMENT] === deployment;

/**
 * Gives the newest code all traffic of a function whose routes go through an alias: at once, as a deployment without a canary means it.
 * Resolves to a line for people per alias.
 */
export async function followDeployment(planned: PlannedFunction, access: ReleaseAccess): Promise<string[]> {
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
    const version = await publishReady(name, access);
    if (found.spec.version === version && !found.spec.secondaryVersion) continue;
    await changeObject(
      kube,
      { noun: "alias", type: FUNCTION_ALIASES },
      { namespace, name: alias },
      (live) => ({
        ...live,
        spec: { functionName: name, version },
      }),
    );
    await waitForAlias(kube, { namespace, name: alias }, { timeoutMs, signal });
    lines.push(`${name}: alias "${alias}" names ${version} now`);
  }
  return lines;
}
