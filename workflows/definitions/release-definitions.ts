import type { Workflow } from "../../api/kinds/index.ts";
import type { KubeClient } from "../../kube/client.ts";
import { isConflict, isNotFound } from "../../kube/kube-error.ts";
import { WORKFLOWS } from "../../kube/kinds.ts";
import type { Log } from "../../net/log.ts";
import { regularly } from "../../net/regularly.ts";
import type { Journal } from "../journal/journal.ts";

export interface ReleaseDefinitionsDeps {
  readonly journal: Pick<Journal, "list" | "load">;
  readonly client: Pick<KubeClient, "patchStatus">;
  /** All Workflows that the platform minds. */
  readonly workflows: () => readonly Workflow[];
}

const PAGE = 200;
const EVERY_MS = 600_000;

/** Does so every ten minutes until the signal aborts. */
export const releaseRegularly = (
  deps: ReleaseDefinitionsDeps,
  log: Pick<Log, "info" | "warn">,
  signal: AbortSignal,
): Promise<void> =>
  regularly(
    { everyMs: EVERY_MS, signal },
    async () => {
      const digests = await releaseDefinitions(deps);
      if (digests.length > 0) log.info("Let go of definitions that no run is made of", { digests });
    },
    (error) => log.warn("Cannot look for definitions that no run is made of", { error }),
  );

/**
 * Lets go of the older definitions that no run is made of any more, finished ones included: their pictures and retries need them as long as they are kept.
 * A definition was held before another took its place, so that a run that begins meanwhile is either seen here or made of the newer one.
 * Resolves to the digests that were let go.
 */
export async function releaseDefinitions(deps: ReleaseDefinitionsDeps): Promise<string[]> {
  const released: string[] = [];
  for (const workflow of deps.workflows()) {
    const held = workflow.status?.heldDefinitions ?? [];
    if (held.length === 0) continue;
    const { namespace = "default", name } = workflow.metadata;
    const pinned = await pinnedDefinitions(deps.journal, namespace, name, new Set(held));
    const kept = held.filter((digest) => pinned.has(digest));
    if (kept.length === held.length) continue;
    const written = await write(deps.client, workflow, kept);
    if (written) released.push(...held.filter((digest) => !pinned.has(digest)));
  }
  return released;
}

/** Of `wanted`, those that a run of this workflow pins. */
export async function pinnedDefinitions(
  journal: ReleaseDefinitionsDeps["journal"],
  namespace: string,
  workflow: string,
  wanted: ReadonlySet<string>,
): Promise<Set<string>> {
  const pinned = new Set<string>();
  let after: string | undefined;
  do {
    const page = await journal.list({
      namespace,
      workflow,
      limit: PAGE,
      ...(after === undefined ? {} : { after }),
    });
    const records = await Promise.all(page.runs.map(({ key }) => journal.load(key)));
    for (const record of records)
      if (record && wanted.has(record.facts.definition)) pinned.add(record.facts.definition);
    after = page.next;
  } while (after !== undefined && pinned.size < wanted.size);
  return pinned;
}

async function write(
  client: ReleaseDefinitionsDeps["client"],
  { metadata }: Workflow,
  heldDefinitions: readonly string[],
): Promise<boolean> {
  try {
    const patch = { heldDefinitions: heldDefinitions.length > 0 ? heldDefinitions : null };
    await client.patchStatus(WORKFLOWS, metadata, patch, { resourceVersion: metadata.resourceVersion });
    return true;
  } catch (error) {
    // Changed or gone meanwhile: looked at again the next time.
    if (isConflict(error) || isNotFound(error)) return false;
    throw error;
  }
}
