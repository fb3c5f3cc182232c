import type { Function as FunctionObject, FunctionVersion } from "../api/kinds/index.ts";
import { LABEL_FUNCTION_NAME } from "../api/names.ts";
import { planPublish, publishProblem, versionOf } from "../api/releases/publish.ts";
import type { KubeClient } from "./client.ts";
import { ENVIRONMENTS, FUNCTION_VERSIONS } from "./kinds.ts";
import { isAlreadyExists } from "./kube-error.ts";

const MAX_TRIES = 20;

/** A function whose newest state does not serve yet has nothing to publish. */
export class NotPublishable extends Error {
  constructor(name: string, problem: string) {
    super(`Cannot publish function "${name}": ${problem}`);
    this.name = "NotPublishable";
  }
}

/**
 * Publishes what a function serves: gives the newest version when that is the same, else creates the next one. Several publishers at
 * once make one version of one state: the name decides, and who loses looks again.
 * @throws {NotPublishable} when the function's newest state does not serve
 * @throws {KubeError}
 */
export async function publishVersion(
  client: Pick<KubeClient, "list" | "create" | "find">,
  fn: FunctionObject,
  options: { description?: string | undefined; now: Date },
): Promise<{ version: FunctionVersion; created: boolean }> {
  const { name, namespace } = fn.metadata;
  const problem = publishProblem(fn);
  if (problem !== undefined) throw new NotPublishable(name, problem);
  const environmentName = fn.status?.serving?.environment.name;
  const environment = environmentName
    ? await client.find(ENVIRONMENTS, { namespace, name: environmentName })
    : undefined;
  const facts = { environment, description: options.description };
  let atLeast = 1;
  for (let attempt = 0; attempt < MAX_TRIES; attempt++) {
    const versions = await versionsOf(client, fn);
    const plan = planPublish(fn, versions, facts, options.now);
    if (plan.kind === "published") return { version: plan.version, created: false };
    const sequence = Math.max(plan.version.spec.sequence, atLeast);
    try {
      const version = versionOf(fn, facts, sequence, options.now);
      return { version: await client.create(FUNCTION_VERSIONS, version), created: true };
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
      // Another publisher's, which the next list shows; or one without the label, which it never does.
      atLeast = attempt === 0 ? sequence : sequence + 1;
    }
  }
  throw new Error(`Cannot publish function "${name}": ${MAX_TRIES} names of versions were taken meanwhile`);
}

/** All versions of a function's name, as the API server has them now. */
export async function versionsOf(
  client: Pick<KubeClient, "list">,
  { metadata }: Pick<FunctionObject, "metadata">,
): Promise<FunctionVersion[]> {
  const { items } = await client.list(FUNCTION_VERSIONS, {
    namespace: metadata.namespace,
    labelSelector: `${LABEL_FUNCTION_NAME}=${metadata.name}`,
  });
  return items;
}
