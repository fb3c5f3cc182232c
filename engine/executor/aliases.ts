import { aliasTargets, previousVersion } from "../../api/releases/alias.ts";
import type { KubeFunctionAlias } from "./cluster.ts";
import type { Functions } from "./functions.ts";
import type { Revision } from "./revision.ts";

/** What aliases do with the versions of functions. */
export interface Aliases {
  readonly upsert: (object: KubeFunctionAlias) => void;
  readonly remove: (object: KubeFunctionAlias) => void;
  /** Whether an alias gives the revision a share of its requests. */
  readonly serves: (revision: Revision) => boolean;
  /**
   * Whether an alias may need the revision at any moment: a side of it, whatever its share, or what it stood for before its last switch, so
   * that neither a step of a release nor a rollback meets a cold start.
   */
  readonly keeps: (revision: Revision) => boolean;
}

export interface AliasesOptions {
  readonly functions: Pick<Functions, "find" | "versionRevision">;
  /** An alias stands for the revision since just now. */
  readonly onNeeded: (revision: Revision) => void;
}

export function createAliases({ functions, onNeeded }: AliasesOptions): Aliases {
  /** By `namespace/function`, then by name. */
  const aliases = new Map<string, Map<string, KubeFunctionAlias>>();
  const functionOf = new Map<string, string>();

  const revisionOf = ({ metadata, spec }: KubeFunctionAlias, version: string): Revision | undefined => {
    const fn = functions.find(metadata.namespace, spec.functionName);
    return fn && functions.versionRevision(metadata.namespace, version, fn.uid);
  };
  const targets = (alias: KubeFunctionAlias) =>
    aliasTargets(alias, (version) => revisionOf(alias, version) !== undefined);
  const ofFunction = ({ identity }: Revision) =>
    aliases.get(`${identity.namespace}/${identity.name}`)?.values() ?? [];

  const forget = (key: string) => {
    const fn = functionOf.get(key) ?? "";
    functionOf.delete(key);
    const siblings = aliases.get(fn);
    siblings?.delete(key);
    if (siblings?.size === 0) aliases.delete(fn);
  };

  return {
    upsert: (alias) => {
      const { namespace, name } = alias.metadata;
      const key = `${namespace}/${name}`;
      forget(key);
      const fn = `${namespace}/${alias.spec.functionName}`;
      functionOf.set(key, fn);
      aliases.set(fn, (aliases.get(fn) ?? new Map<string, KubeFunctionAlias>()).set(key, alias));
      for (const { version } of targets(alias)) {
        const revision = revisionOf(alias, version);
        if (revision) onNeeded(revision);
      }
    },
    remove: ({ metadata }) => forget(`${metadata.namespace}/${metadata.name}`),
    serves: (revision) => {
      for (const alias of ofFunction(revision))
        for (const { version, weight } of targets(alias))
          if (weight > 0 && revisionOf(alias, version) === revision) return true;
      return false;
    },
    keeps: (revision) => {
      for (const alias of ofFunction(revision)) {
        const before = previousVersion(alias);
        const needed = targets(alias).map(({ version }) => version);
        if (before !== undefined) needed.push(before);
        if (needed.some((version) => revisionOf(alias, version) === revision)) return true;
      }
      return false;
    },
  };
}
