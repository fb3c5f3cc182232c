import { setTimeout as pause } from "node:timers/promises";
import type { FunctionAlias } from "../../api/kinds/index.ts";
import { API_GROUP_VERSION, LABEL_DEPLOYMENT } from "../../api/names.ts";
import type { KubeClient } from "../../kube/client.ts";
import { FUNCTION_ALIASES, FUNCTIONS, HTTP_TRIGGERS } from "../../kube/kinds.ts";
import { CliError } from "../command.ts";
import { publishFunction } from "../releases/publish-function.ts";
import { waitForAlias } from "../releases/wait-for-alias.ts";
import { waitForVersion } from "../releases/wait-for-version.ts";
import { referenceOf } from "./keep-aliases.ts";
import { DEPLOYED_TYPES } from "./live.ts";
import type { ProjectPlan } from "./deploy-project.ts";
import type { Target } from "./desired-objects.ts";
import { aliasesInUse, triggersOf } from "./release-plan.ts";

export interface ReleaseAccess {
  kube: KubeClient;
  target: Target;
  timeoutMs: number;
  signal: AbortSignal;
}

/** What serves before a release begins. */
export interface Served {
  alias: string;
  version: string;
}

const POLL_MS = 50;
const MAX_NAME = 63;

/** The alias that a deployment makes for a function: aliases of a namespace share their names. */
const liveAliasName = (functionName: string): string => `${functionName.slice(0, MAX_NAME - 5)}-live`;

/**
 * Makes a function's routes go through an alias that names the version which serves now, so that newer code gets no traffic by being
 * deployed. What serves stays the same all the while: the version is published and ready, and the alias resolved, before a route moves.
 * @throws {CliError} when what serves cannot be told
 */
export async function serveThroughAlias(
  planned: ProjectPlan["functions"][number],
  access: ReleaseAccess,
): Promise<Served> {
  const { name } = planned.prepared;
  const [alias, ...more] = aliasesInUse(planned);
  if (more.length > 0)
    throw new CliError(
      `Cannot release "${name}": its routes go through several aliases, "${[alias, ...more].join('", "')}"`,
    );
  const served = alias === undefined ? await newAlias(name, access) : await aliasInUse(name, alias, access);
  await moveTriggers(planned, served.alias, access);
  return served;
}

async function aliasInUse(functionName: string, alias: string, access: ReleaseAccess): Promise<Served> {
  const { kube, target } = access;
  const found = await kube.find(FUNCTION_ALIASES, { namespace: target.namespace, name: alias });
  if (!found)
    throw new CliError(
      `Cannot release "${functionName}": its route goes through alias "${alias}", which does not exist`,
    );
  const { version, packageDigest, secondaryVersion, weight } = found.spec;
  if (packageDigest || !version)
    throw new CliError(
      `Cannot release "${functionName}": alias "${alias}" names a package digest, a version is needed: \`isotope alias update ${alias} --version <version>\``,
    );
  if (secondaryVersion && (weight ?? 100) < 100)
    throw new CliError(
      `Cannot release "${functionName}": alias "${alias}" splits its traffic already: end that with \`isotope alias update ${alias} --clear-weight\``,
    );
  return { alias, version };
}

async function newAlias(functionName: string, access: ReleaseAccess): Promise<Served> {
  const { kube, target, timeoutMs, signal } = access;
  const { namespace } = target;
  const fn = await kube.get(FUNCTIONS, { namespace, name: functionName });
  const { version } = await publishFunction(kube, { namespace, name: functionName }, { timeoutMs, signal });
  await waitForVersion(kube, { namespace, name: version.metadata.name }, { timeoutMs, signal });
  const name = liveAliasName(functionName);
  const found = await kube.find(FUNCTION_ALIASES, { namespace, name });
  if (found && (found.spec.functionName !== functionName || !found.metadata.labels?.[LABEL_DEPLOYMENT]))
    throw new CliError(
      `Cannot release "${functionName}": alias "${name}" exists and was not made by a deployment of it; let its route go through an alias of yours with \`isotope route update <route> --function-alias <alias>\`, or delete "${name}"`,
    );
  const alias: FunctionAlias = {
    apiVersion: API_GROUP_VERSION,
    kind: "FunctionAlias",
    metadata: {
      ...found?.metadata,
      name,
      namespace,
      labels: { ...found?.metadata.labels, [LABEL_DEPLOYMENT]: target.deployment },
      ownerReferences: [
        { apiVersion: API_GROUP_VERSION, kind: "Function", name: functionName, uid: fn.metadata.uid ?? "" },
      ],
    },
    spec: { functionName, version: version.metadata.name },
  };
  if (found) await kube.update(FUNCTION_ALIASES, alias);
  else await kube.create(FUNCTION_ALIASES, alias);
  await waitForAlias(kube, { namespace, name }, { timeoutMs, signal });
  return { alias: name, version: version.metadata.name };
}

const typeOf = (kind: string) => DEPLOYED_TYPES.find((type) => type.kind === kind);

async function moveTriggers(
  planned: ProjectPlan["functions"][number],
  alias: string,
  access: ReleaseAccess,
): Promise<void> {
  const { namespace } = access.target;
  for (const { kind, live } of triggersOf(planned)) {
    const type = typeOf(kind);
    if (!live || !type) continue;
    const reference = referenceOf(live);
    if (reference?.alias === alias) continue;
    if (reference?.type !== "name")
      throw new CliError(
        `Cannot release "${planned.prepared.name}": its route "${live.metadata.name}" splits its traffic between functions`,
      );
    const ref = { namespace, name: live.metadata.name };
    await access.kube.patch(type, ref, { spec: { functionref: { alias, version: null } } });
    if (kind === HTTP_TRIGGERS.kind) await untilAdmitted(ref, access);
  }
}

async function untilAdmitted(
  ref: { namespace: string; name: string },
  { kube, timeoutMs, signal }: ReleaseAccess,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    signal.throwIfAborted();
    const { metadata, status } = await kube.get(HTTP_TRIGGERS, ref);
    const admitted = status?.conditions?.find(({ type }) => type === "RouteAdmitted");
    if ((admitted?.observedGeneration ?? 0) >= (metadata.generation ?? 0)) {
      if (admitted?.status === "True") return;
      throw new CliError(`Route "${ref.name}" cannot go through the alias: ${admitted?.message ?? ""}`);
    }
    if (performance.now() > deadline)
      throw new CliError(`Route "${ref.name}" was not admitted within ${timeoutMs / 1000} s`);
    await pause(POLL_MS);
  }
}
