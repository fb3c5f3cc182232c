import { LABEL_DEPLOYMENT } from "../../api/names.ts";
import type { ProjectPlan } from "./deploy-project.ts";

const SHOWN = 4;

/**
 * One line for each other deployment whose objects this one is about to replace, as two projects may have functions or workflows of the same name.
 * Packages go with what they are of, and are not named.
 */
export function takenOver({ functions, workflows }: Pick<ProjectPlan, "functions" | "workflows">): string[] {
  const names = new Map<string, string[]>();
  for (const { kind, object, live } of [...functions, ...workflows].flatMap(({ actions }) => actions)) {
    const owner = live?.metadata.labels?.[LABEL_DEPLOYMENT];
    if (kind === "Package" || owner === undefined) continue;
    if (owner === object.metadata.labels?.[LABEL_DEPLOYMENT]) continue;
    names.set(owner, [...(names.get(owner) ?? []), `${kind.toLowerCase()}/${object.metadata.name}`]);
  }
  return [...names].map(([owner, all]) => {
    const more = all.length > SHOWN ? ` and ${all.length - SHOWN} more` : "";
    const what = `${all.slice(0, SHOWN).join(", ")}${more}`;
    return `${what} ${all.length === 1 ? "was" : "were"} deployed from "${owner}" and ${all.length === 1 ? "is" : "are"} replaced by what is here, until "${owner}" is deployed again; other names, or a namespace of its own (-n), keep both`;
  });
}
