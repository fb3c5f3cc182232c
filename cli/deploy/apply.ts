import type { KubeClient } from "../../kube/client.ts";
import { isAlreadyExists, isConflict, isNotFound, KubeError } from "../../kube/kube-error.ts";
import { CliError } from "../command.ts";
import { DEPLOYED_TYPES, type LiveObject } from "./live.ts";
import { mergedSpec, type PlannedObject } from "./plan.ts";

const MAX_TRIES = 8;

const typeOf = (kind: string) => {
  const type = DEPLOYED_TYPES.find((candidate) => candidate.kind === kind);
  if (!type) throw new CliError(`Cannot deploy objects of kind ${kind}`);
  return type;
};

/** The live object with what the plan wants: a whole update, not a merge, so that what is no longer configured goes away. */
const updated = (planned: PlannedObject, live: LiveObject): LiveObject => ({
  ...live,
  metadata: {
    ...live.metadata,
    labels: { ...live.metadata.labels, ...planned.object.metadata.labels },
    annotations: { ...live.metadata.annotations, ...planned.object.metadata.annotations },
  },
  spec: mergedSpec({ ...planned, live }),
});

/**
 * Asks the API whether it would take what is planned, and writes nothing: so that a deployment with one wrong object changes nothing.
 * Races are left to the write itself.
 * @throws {CliError} naming `file`
 */
export async function checkObject(kube: KubeClient, planned: PlannedObject, file: string): Promise<void> {
  const { action, live, object } = planned;
  try {
    if (action === "create") await kube.create(typeOf(planned.kind), object, { dryRun: true });
    else if (action === "update" && live)
      await kube.update(typeOf(planned.kind), updated(planned, live), { dryRun: true });
  } catch (error) {
    if (isConflict(error) || isAlreadyExists(error) || isNotFound(error) || !(error instanceof KubeError))
      return;
    throw new CliError(`Cannot deploy ${file}: ${error.message}`, { cause: error });
  }
}

/** Carries out one planned action. A write that meets another's (a build that stores its result) is made again on top of it. */
export async function applyObject(kube: KubeClient, planned: PlannedObject): Promise<void> {
  const type = typeOf(planned.kind);
  const { metadata } = planned.object;
  const ref = { namespace: metadata.namespace, name: metadata.name };
  if (planned.action === "unchanged") return;
  if (planned.action === "create") return void (await kube.create(type, planned.object));
  if (planned.action === "delete") return kube.delete(type, ref);
  let live = planned.live ?? (await kube.get(type, ref));
  for (let attempt = 1; ; attempt++) {
    try {
      await kube.update(type, updated(planned, live));
      return;
    } catch (error) {
      // Deleted meanwhile: it is made anew.
      if (isNotFound(error)) return void (await kube.create(type, planned.object));
      if (!isConflict(error) || attempt >= MAX_TRIES) throw error;
      live = await kube.get(type, ref);
    }
  }
}
