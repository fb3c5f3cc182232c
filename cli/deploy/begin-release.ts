import { setTimeout as pause } from "node:timers/promises";
import type { CanaryConfig } from "../../api/kinds/index.ts";
import { ANNOTATION_CANARY_COMMAND } from "../../api/names.ts";
import { isAlreadyExists, isConflict, isNotFound } from "../../kube/kube-error.ts";
import { CANARY_CONFIGS } from "../../kube/kinds.ts";
import { CliError } from "../command.ts";
import type { ReleaseAccess } from "./serve-through-alias.ts";

const POLL_MS = 50;

/**
 * Begins a release in the CanaryConfig of that name, which remembers those before it; resolves when the controller has taken it up, or
 * with a new object at once.
 * @throws {CliError} when nobody takes it up, or the last one does not go away
 */
export async function beginRelease(canary: CanaryConfig, access: ReleaseAccess): Promise<void> {
  const { kube, timeoutMs, signal } = access;
  const { namespace, name } = canary.metadata;
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    signal.throwIfAborted();
    const live = await kube.find(CANARY_CONFIGS, { namespace, name });
    try {
      if (!live) return void (await kube.create(CANARY_CONFIGS, canary));
      if (!live.metadata.deletionTimestamp) {
        await kube.update(CANARY_CONFIGS, renewed(live, canary));
        return await untilTaken(canary, access, deadline);
      }
    } catch (error) {
      // Deleted or written by somebody else meanwhile: it is looked at anew.
      if (!isConflict(error) && !isNotFound(error) && !isAlreadyExists(error)) throw error;
    }
    if (performance.now() > deadline)
      throw new CliError(`Cannot start release "${name}": the last one is still being deleted`);
    await pause(POLL_MS);
  }
}

/** The same specification once more is no change, so it is said by the command as well. */
const renewed = (live: CanaryConfig, { metadata, spec }: CanaryConfig): CanaryConfig => ({
  ...live,
  metadata: {
    ...live.metadata,
    labels: { ...live.metadata.labels, ...metadata.labels },
    annotations: { ...live.metadata.annotations, [ANNOTATION_CANARY_COMMAND]: "retry" },
    ...(metadata.ownerReferences ? { ownerReferences: metadata.ownerReferences } : {}),
  },
  spec,
});

async function untilTaken(
  { metadata: { namespace, name } }: CanaryConfig,
  { kube, signal }: ReleaseAccess,
  deadline: number,
): Promise<void> {
  for (;;) {
    signal.throwIfAborted();
    const { metadata, status } = await kube.get(CANARY_CONFIGS, { namespace, name });
    const isSeen = (status?.observedGeneration ?? 0) >= (metadata.generation ?? 0);
    if (isSeen && metadata.annotations?.[ANNOTATION_CANARY_COMMAND] === undefined) return;
    if (performance.now() > deadline)
      throw new CliError(
        `Nobody has begun release "${name}": see \`isotope status\` whether the controller runs`,
      );
    await pause(POLL_MS);
  }
}
