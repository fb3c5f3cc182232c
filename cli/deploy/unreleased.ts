import type { FunctionAlias } from "../../api/kinds/index.ts";
import { ANNOTATION_UNRELEASED } from "../../api/names.ts";
import type { KubeClient } from "../../kube/client.ts";
import { FUNCTION_ALIASES } from "../../kube/kinds.ts";

/**
 * A deployment writes code first and gives it traffic afterwards. In between it may be interrupted; the files are then what is deployed,
 * and only this mark says that nobody has been given it yet.
 */
export const isUnreleased = ({ metadata }: FunctionAlias): boolean =>
  metadata.annotations?.[ANNOTATION_UNRELEASED] !== undefined;

/** The alias as it is once its code has traffic, for whoever writes it anyway. */
export function withoutMark<T extends Pick<FunctionAlias, "metadata">>(alias: T): T {
  const { [ANNOTATION_UNRELEASED]: _, ...annotations } = alias.metadata.annotations ?? {};
  return { ...alias, metadata: { ...alias.metadata, annotations } };
}

type Ref = { namespace: string; name: string };

export async function markUnreleased(kube: Pick<KubeClient, "patch">, ref: Ref): Promise<void> {
  await kube.patch(FUNCTION_ALIASES, ref, { metadata: { annotations: { [ANNOTATION_UNRELEASED]: "true" } } });
}

export async function markReleased(kube: Pick<KubeClient, "patch">, ref: Ref): Promise<void> {
  await kube.patch(FUNCTION_ALIASES, ref, { metadata: { annotations: { [ANNOTATION_UNRELEASED]: null } } });
}
