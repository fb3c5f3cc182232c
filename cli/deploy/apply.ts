import type { KubeClient } from "../../kube/client.ts";
import { CliError } from "../command.ts";
import { DEPLOYED_TYPES } from "./live.ts";
import { mergedSpec, type PlannedObject } from "./plan.ts";

const typeOf = (kind: string) => {
  const type = DEPLOYED_TYPES.find((candidate) => candidate.kind === kind);
  if (!type) throw new CliError(`Cannot deploy objects of kind ${kind}`);
  return type;
};

/** Carries out one planned action; resolves to the object as it is then. */
export async function applyObject(
  kube: KubeClient,
  planned: PlannedObject,
): Promise<PlannedObject["object"]> {
  const type = typeOf(planned.kind);
  const { metadata } = planned.object;
  const ref = { namespace: metadata.namespace, name: metadata.name };
  if (planned.action === "unchanged") return planned.live ?? planned.object;
  if (planned.action === "create") return kube.create(type, planned.object);
  if (planned.action === "delete") {
    await kube.delete(type, ref);
    return planned.object;
  }
  // A whole update, not a merge: what is no longer configured goes away. The version makes it fail if somebody else wrote meanwhile.
  const live = planned.live ?? planned.object;
  return kube.update(type, {
    ...live,
    metadata: {
      ...live.metadata,
      labels: { ...live.metadata.labels, ...metadata.labels },
      annotations: { ...live.metadata.annotations, ...metadata.annotations },
    },
    spec: mergedSpec(planned),
  });
}
