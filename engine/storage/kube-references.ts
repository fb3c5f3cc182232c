import type { KubeClient } from "../../kube/client.ts";
import { FUNCTION_VERSIONS, FUNCTIONS, PACKAGES, WORKFLOWS } from "../../kube/kinds.ts";
import type { KubeObject } from "../../kube/object.ts";
import type { ResourceType } from "../../kube/resource.ts";
import type { ReferencingObjects } from "./archive-references.ts";

const PAGE_SIZE = 500;
/** Lists all Packages, Functions, FunctionVersions and Workflows of all namespaces. Throws when any page fails. */
export async function listReferences(client: Pick<KubeClient, "list">): Promise<ReferencingObjects> {
  const all = async <T extends KubeObject>(type: ResourceType<T>): Promise<T[]> => {
    const items: T[] = [];
    let next: string | undefined;
    do {
      const page = await client.list(type, {
        limit: PAGE_SIZE,
        ...(next === undefined ? {} : { continue: next }),
      });
      items.push(...page.items);
      next = page.continue === "" ? undefined : page.continue;
    } while (next !== undefined);
    return items;
  };
  // In the direction in which digests travel (package, function, version): one on its way is seen before or after its move.
  const packages = await all(PACKAGES);
  const functions = await all(FUNCTIONS);
  const versions = await all(FUNCTION_VERSIONS);
  const workflows = await all(WORKFLOWS);
  return { packages, functions, versions, workflows };
}
