import type { CanaryConfig } from "../../api/kinds/index.ts";
import { ANNOTATION_CANARY_COMMAND } from "../../api/names.ts";
import type { KubeClient } from "../../kube/client.ts";
import { CANARY_CONFIGS } from "../../kube/kinds.ts";
import { isInvalid } from "../../kube/kube-error.ts";
import { keyOf } from "../../kube/object.ts";
import type { OwnWrites } from "../../kube/own-writes.ts";
import { CANARY_COMMANDS, type CanaryCommand } from "./decide.ts";

/** The annotation as a JSON pointer (RFC 6901). */
const PATH = `/metadata/annotations/${ANNOTATION_CANARY_COMMAND.replaceAll("~", "~0").replaceAll("/", "~1")}`;

/** What the annotation of a canary tells its release to do; undefined for nothing, and for what is no command. */
export function commandOf({ metadata }: CanaryConfig): CanaryCommand | undefined {
  const given = metadata.annotations?.[ANNOTATION_CANARY_COMMAND];
  return CANARY_COMMANDS.find((command) => command === given);
}

/** Removes a command that was obeyed; one that was given since stays. */
export async function takeCommandOff(
  client: Pick<KubeClient, "patch">,
  own: OwnWrites,
  canary: CanaryConfig,
  command: CanaryCommand,
): Promise<void> {
  const patch = [
    { op: "test", path: "/metadata/uid", value: canary.metadata.uid },
    { op: "test", path: PATH, value: command },
    { op: "remove", path: PATH },
  ];
  try {
    own.note(keyOf(canary), await client.patch(CANARY_CONFIGS, canary.metadata, patch, { strategy: "json" }));
  } catch (error) {
    if (!isInvalid(error)) throw error;
  }
}
