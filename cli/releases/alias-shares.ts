import type { FunctionAlias } from "../../api/kinds/index.ts";

/** The aliases that lead to a version, with their share of it where that is not all: `live, beta 10 %`. */
export function aliasShares(version: string, aliases: readonly FunctionAlias[]): string {
  return aliases
    .flatMap(({ metadata, spec, status }) => {
      const weight = spec.secondaryVersion ? (spec.weight ?? 100) : 100;
      const share = (spec.version ?? status?.resolvedVersion) === version ? weight : undefined;
      const other = spec.secondaryVersion === version ? 100 - weight : undefined;
      const percent = share ?? other;
      if (percent === undefined) return [];
      return [percent === 100 ? metadata.name : `${metadata.name} ${percent} %`];
    })
    .join(", ");
}
