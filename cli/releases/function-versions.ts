import type { FunctionAlias, FunctionVersion } from "../../api/kinds/index.ts";
import type { KubeClient } from "../../kube/client.ts";
import { FUNCTION_ALIASES, FUNCTION_VERSIONS } from "../../kube/kinds.ts";

interface FunctionIdentity {
  readonly namespace: string;
  readonly name: string;
  /** Versions of an earlier function of that name are none of this one's. */
  readonly uid: string | undefined;
}

/** The versions of a function, newest first. */
export async function versionsOf(
  kube: KubeClient,
  { namespace, name, uid }: FunctionIdentity,
): Promise<FunctionVersion[]> {
  const { items } = await kube.list(FUNCTION_VERSIONS, { namespace });
  return items
    .filter(({ spec }) => spec.functionName === name && (uid === undefined || spec.functionUID === uid))
    .toSorted((a, b) => b.spec.sequence - a.spec.sequence);
}

/** The aliases of a function. */
export async function aliasesOf(
  kube: KubeClient,
  { namespace, name }: Pick<FunctionIdentity, "namespace" | "name">,
): Promise<FunctionAlias[]> {
  const { items } = await kube.list(FUNCTION_ALIASES, { namespace });
  return items.filter(({ spec }) => spec.functionName === name);
}
