import { ANNOTATION_HOLD_PREFIX } from "../../../api/names.ts";
import type { KubeClient } from "../../../kube/client.ts";
import type { FunctionWorld } from "../../../kube/function-world.ts";
import { FUNCTION_VERSIONS } from "../../../kube/kinds.ts";
import { regularly } from "../../../net/regularly.ts";
import type { Part, PartDeps } from "../part.ts";
import type { InvocationJournal } from "./journal.ts";

/*
 * Keeps the FunctionVersions that waiting and running invocations are to be delivered to, by a hold that retention heeds. Invariants:
 * V1. A version with such an invocation is held, as soon as the next look; what is accepted is of a version that is served at that moment, which
 *     retention leaves alone for far longer than that.
 * V2. A hold goes only after the store said that nothing waits for the version; while it says nothing, all holds stay.
 */

export interface HoldDeps {
  readonly client: Pick<KubeClient, "patch">;
  readonly functions: Pick<FunctionWorld, "allVersions">;
  readonly journal: Pick<InvocationJournal, "pinned">;
}

const ANNOTATION = `${ANNOTATION_HOLD_PREFIX}invocations`;
const REASON = "asynchronous calls that were accepted for it are waiting";
const EVERY_MS = 5_000;

/** Looks once. Every replica may: what is as it should be is not written again. */
export async function holdVersions({ client, functions, journal }: HoldDeps): Promise<void> {
  const needed = await journal.pinned();
  for (const { metadata } of functions.allVersions()) {
    const { namespace = "default", name, annotations, deletionTimestamp } = metadata;
    const isNeeded = needed.has(`${namespace}/${name}`);
    const isHeld = annotations?.[ANNOTATION] !== undefined;
    if (isNeeded === isHeld || (deletionTimestamp !== undefined && isNeeded)) continue;
    await client.patch(
      FUNCTION_VERSIONS,
      { namespace, name },
      { metadata: { annotations: { [ANNOTATION]: isNeeded ? REASON : null } } },
    );
  }
}

/** Looks again and again. */
export function versionHolds({ client, functions, invocations, log }: PartDeps): Part {
  const stopping = new AbortController();
  const looking = regularly(
    { everyMs: EVERY_MS, firstAfterMs: 0, signal: stopping.signal },
    () => holdVersions({ client, functions, journal: invocations }),
    (error) => log.debug("Cannot hold the versions that are waited for; tried again", { error }),
  );
  return {
    stop: async () => {
      stopping.abort();
      await looking;
    },
  };
}
