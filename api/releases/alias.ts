import type { FunctionAlias, FunctionVersion } from "../kinds/index.ts";

/** One side of an alias: a version and its share of the requests in percent. */
export interface AliasTarget {
  readonly version: string;
  readonly weight: number;
}

/**
 * Where requests to an alias go: one version, or two whose weights add up to 100. The second is the new side of a split
 * (`secondaryVersion`), of whatever weight; it is there with weight 0 as well. Nothing when no version is to be had.
 *
 * `exists` says whether a FunctionVersion of the alias' function has that name. A version that the alias names and that does not exist
 * changes nothing: the alias goes on with the one that it was last resolved to.
 */
export function aliasTargets(
  { spec, status }: Pick<FunctionAlias, "spec" | "status">,
  exists: (version: string) => boolean,
): AliasTarget[] {
  const named = [spec.version, status?.resolvedVersion];
  const primary = named.find((version) => version !== undefined && version !== "" && exists(version));
  const secondary = spec.secondaryVersion;
  if (!secondary || secondary === primary || !exists(secondary))
    return primary === undefined ? [] : [{ version: primary, weight: 100 }];
  if (primary === undefined) return [{ version: secondary, weight: 100 }];
  const weight = spec.weight ?? 100;
  return [
    { version: primary, weight },
    { version: secondary, weight: 100 - weight },
  ];
}

/** The version that the alias named before its last switch; undefined when there was none. */
export function previousVersion({ status }: Pick<FunctionAlias, "status">): string | undefined {
  return status?.history?.find(({ version }) => version !== status.resolvedVersion)?.version;
}

/** The newest version with that archive (`sha256:…`), of versions of one function. */
export function versionOfDigest(
  versions: readonly FunctionVersion[],
  packageDigest: string,
): FunctionVersion | undefined {
  return versions
    .filter(({ spec }) => spec.packageDigest === packageDigest)
    .toSorted((a, b) => b.spec.sequence - a.spec.sequence)[0];
}
