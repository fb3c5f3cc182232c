import type { HTTPTrigger } from "../../api/kinds/index.ts";

/** Routes of a function that a change of it does not reach, in a sentence each: they lead to published versions. Pure. */
export function pinnedRoutes(triggers: readonly HTTPTrigger[], functionName: string): string[] {
  return triggers.flatMap(({ metadata, spec: { functionref } }) => {
    const { type, name, alias, version } = functionref;
    if (type !== "name" || name !== functionName || !(alias || version)) return [];
    const to = alias ? `alias "${alias}"` : `version "${version}"`;
    const change = alias
      ? `isotope alias update ${alias} --version <version>`
      : `isotope route update ${metadata.name} --function-version <version>`;
    return [
      `Route "${metadata.name}" leads to ${to} and stays there: \`isotope fn publish ${functionName}\` and \`${change}\` change that`,
    ];
  });
}
