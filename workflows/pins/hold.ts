import { createHash } from "node:crypto";
import type { FunctionVersion } from "../../api/kinds/index.ts";
import { ANNOTATION_HOLD_PREFIX } from "../../api/names.ts";
import type { KubeClient } from "../../kube/client.ts";
import type { FunctionWorld } from "../../kube/function-world.ts";
import { FUNCTION_VERSIONS } from "../../kube/kinds.ts";

/** Longest name of an annotation behind its prefix. */
const MAX_NAME = 63;
const WORKFLOW_HOLD = "workflow-";
const REASON = /^runs of Workflow "([^"]+)" are pinned to it$/;

/** The annotation by which a workflow keeps a FunctionVersion: its name holds a digest when the workflow's own is too long for it. */
export function holdAnnotation(workflow: string): string {
  const room = MAX_NAME - "hold.".length - WORKFLOW_HOLD.length;
  const short =
    workflow.length <= room
      ? workflow
      : `${workflow.slice(0, room - 9)}-${createHash("sha256").update(workflow).digest("hex").slice(0, 8)}`;
  return `${ANNOTATION_HOLD_PREFIX}${WORKFLOW_HOLD}${short}`;
}

const holdReason = (workflow: string): string => `runs of Workflow "${workflow}" are pinned to it`;

/** The workflows that hold a version. */
export function holdersOf({ metadata }: Pick<FunctionVersion, "metadata">): string[] {
  return Object.entries(metadata.annotations ?? {}).flatMap(([name, reason]) => {
    if (!name.startsWith(`${ANNOTATION_HOLD_PREFIX}${WORKFLOW_HOLD}`)) return [];
    const workflow = REASON.exec(reason)?.[1];
    return workflow === undefined ? [] : [workflow];
  });
}

export interface HolderDeps {
  readonly client: Pick<KubeClient, "patch">;
  readonly world: Pick<FunctionWorld, "version">;
}

/** How long the local copies may be behind a hold that this process wrote. */
const BEHIND_MS = 60_000;
const MAX_REMEMBERED = 10_000;

/** Writes holds; what is held already costs nothing. */
export function versionHolder(deps: HolderDeps) {
  const held = new Map<string, number>();
  return async (namespace: string, version: string, workflow: string): Promise<void> => {
    const annotation = holdAnnotation(workflow);
    if (deps.world.version(namespace, version)?.metadata.annotations?.[annotation] !== undefined) return;
    const key = `${namespace}/${version}/${annotation}`;
    if ((held.get(key) ?? -Infinity) > performance.now() - BEHIND_MS) return;
    await deps.client.patch(
      FUNCTION_VERSIONS,
      { namespace, name: version },
      { metadata: { annotations: { [annotation]: holdReason(workflow) } } },
    );
    if (held.size > MAX_REMEMBERED) held.clear();
    held.set(key, performance.now());
  };
}
