import type { Workflow } from "../../api/kinds/index.ts";
import type { Log } from "../../net/log.ts";
import { regularly } from "../../net/regularly.ts";
import type { Journal } from "../journal/journal.ts";
import type { DefinitionArchives } from "./definition-archives.ts";
import type { DefinitionRegister, RegisteredDefinition } from "./definition-register.ts";
import { pinnedDefinitions } from "./release-definitions.ts";

/*
 * Keeps in the archive store what runs are made of whose Workflow is gone, or has forgotten the definition. Invariants:
 * 1. What a Workflow names is kept by that (`engine/storage/archive-references.ts`): nothing is done about it.
 * 2. What a run pins and no Workflow names is uploaded again at each look, which renews its grace time in the store.
 * 3. An entry goes when it was of no use at two looks in a row, so that a run that was just being stored at the first is seen at the second.
 */

export interface KeepDefinitionsDeps {
  readonly register: DefinitionRegister;
  readonly archives: DefinitionArchives;
  readonly journal: Pick<Journal, "list" | "load">;
  /** All Workflows that the platform minds. */
  readonly workflows: () => readonly Workflow[];
}

/** Looks once. Resolves with what was renewed. */
export type KeepDefinitions = () => Promise<readonly RegisteredDefinition[]>;

/** Well below the grace time of archives that nothing names (1 h). */
const EVERY_MS = 600_000;
const FIRST_AFTER_MS = 30_000;

export function definitionKeeper(deps: KeepDefinitionsDeps): KeepDefinitions {
  let useless = new Set<string>();
  return async () => {
    const named = namedDefinitions(deps.workflows());
    const uselessNow = new Set<string>();
    const renewed: RegisteredDefinition[] = [];
    for (const entry of await deps.register.list()) {
      const { namespace, workflow, digest } = entry;
      const id = `${namespace}/${workflow}/${digest}`;
      if (named.has(id)) continue;
      const pinned = await pinnedDefinitions(deps.journal, namespace, workflow, new Set([digest]));
      if (pinned.has(digest)) {
        await deps.archives.store(await deps.archives.read(digest));
        renewed.push(entry);
      } else if (useless.has(id)) await deps.register.remove(entry);
      else uselessNow.add(id);
    }
    useless = uselessNow;
    return renewed;
  };
}

/** Does so every ten minutes until the signal aborts. */
export const keepRegularly = (
  keep: KeepDefinitions,
  log: Pick<Log, "warn">,
  signal: AbortSignal,
): Promise<void> =>
  regularly({ everyMs: EVERY_MS, firstAfterMs: FIRST_AFTER_MS, signal }, keep, (error) =>
    log.warn("Cannot renew the definitions of runs whose Workflow is gone; tried again later", { error }),
  );

const namedDefinitions = (workflows: readonly Workflow[]): Set<string> =>
  new Set(
    workflows.flatMap(({ metadata, status }) =>
      [status?.definition?.digest, ...(status?.heldDefinitions ?? [])].flatMap((digest) =>
        digest === undefined ? [] : [`${metadata.namespace ?? "default"}/${metadata.name}/${digest}`],
      ),
    ),
  );
