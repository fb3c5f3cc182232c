/**
 * Removes versions that nobody needs.
 *
 * Invariants
 * V1. Who needs a version is asked of the API server itself, of all kinds that can name one, after the versions were listed.
 * V2. A version goes only as it was seen: a hold that came meanwhile makes the delete fail.
 * V3. A reference that comes later still finds it: the finalizer keeps it until the controller has asked once more.
 */
import type { Function as FunctionObject, FunctionVersion } from "../api/kinds/index.ts";
import { API_GROUP_VERSION } from "../api/names.ts";
import {
  type ReferringObject,
  type VersionUses,
  versionsToRemove,
  versionUses,
} from "../api/releases/retention.ts";
import type { KubeClient } from "./client.ts";
import { FUNCTION_ALIASES, FUNCTION_VERSIONS, FUNCTIONS } from "./kinds.ts";
import { isConflict, isNotFound } from "./kube-error.ts";
import type { KubeObject } from "./object.ts";
import { versionsOf } from "./publish-version.ts";
import { type ResourceType, resourceType } from "./resource.ts";

interface Referring extends KubeObject {
  spec?: ReferringObject["spec"];
  status?: ReferringObject["status"];
}
const REFERRING = [
  ["HTTPTrigger", "httptriggers"],
  ["TimeTrigger", "timetriggers"],
  ["MessageQueueTrigger", "messagequeuetriggers"],
  ["KubernetesWatchTrigger", "kuberneteswatchtriggers"],
  ["CanaryConfig", "canaryconfigs"],
] as const;
const PAGE_SIZE = 500;

/** Who needs which of these versions of one namespace, as the API server has it now. */
export async function listVersionUses(
  client: Pick<KubeClient, "list">,
  versions: readonly FunctionVersion[],
  options: { withoutHistory?: boolean } = {},
): Promise<VersionUses> {
  const namespace = versions[0]?.metadata.namespace;
  const all = async <T extends KubeObject>(type: ResourceType<T>): Promise<T[]> => {
    const items: T[] = [];
    let next: string | undefined;
    do {
      const page = await client.list(type, { namespace, limit: PAGE_SIZE, continue: next });
      items.push(...page.items);
      next = page.continue === "" ? undefined : page.continue;
    } while (next !== undefined);
    return items;
  };
  const [functions, aliases, ...others] = await Promise.all([
    all(FUNCTIONS),
    all(FUNCTION_ALIASES),
    ...REFERRING.map(async ([kind, plural]) => {
      const found = await all(resourceType<Referring>(API_GROUP_VERSION, kind, plural));
      return found.map(({ metadata, spec, status }) => ({ kind, metadata, spec, status }));
    }),
  ]);
  return versionUses({ ...options, versions, functions, aliases, others: others.flat() });
}

/**
 * Deletes the versions of a function that neither are among its `keep` newest nor are needed by anybody. Gives the names of those that
 * went.
 */
export async function removeOldVersions(
  client: Pick<KubeClient, "list" | "delete">,
  fn: Pick<FunctionObject, "metadata">,
  keep: number,
): Promise<string[]> {
  const own = (await versionsOf(client, fn)).filter(({ spec }) => spec.functionUID === fn.metadata.uid);
  if (own.length <= keep) return [];
  const uses = await listVersionUses(client, own);
  const removed: string[] = [];
  for (const version of versionsToRemove(own, uses, keep)) {
    if (await removeAsSeen(client, version)) removed.push(version.metadata.name);
  }
  return removed;
}

async function removeAsSeen(
  client: Pick<KubeClient, "delete">,
  { metadata }: FunctionVersion,
): Promise<boolean> {
  const { uid, resourceVersion } = metadata;
  try {
    await client.delete(FUNCTION_VERSIONS, metadata, { preconditions: { uid, resourceVersion } });
    return true;
  } catch (error) {
    if (isConflict(error) || isNotFound(error)) return false;
    throw error;
  }
}
