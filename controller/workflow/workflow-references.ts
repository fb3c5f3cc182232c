import { z } from "zod";

/** Something that a definition names in its namespace. */
export interface Reference {
  readonly kind: "Function" | "FunctionAlias" | "FunctionVersion" | "Workflow";
  readonly name: string;
  /** Of the machine. */
  readonly actor: string;
}
export interface DefinitionReferences {
  readonly functions: readonly Reference[];
  readonly workflows: readonly Reference[];
  /** Types of events that it declares. */
  readonly events: readonly string[];
}

const Called = z.looseObject({
  kind: z.enum(["function", "workflow"]),
  name: z.string(),
  alias: z.string().optional(),
  version: z.string().optional(),
});
/** Of the facts, what matters here: see `DefinitionFacts` in `workflows/definition`. */
const Facts = z.looseObject({
  actors: z.record(z.string(), z.union([Called, z.looseObject({ kind: z.literal("map"), each: Called })])),
  events: z.record(z.string(), z.unknown()).optional(),
});

/** What a checked definition names. */
export function referencesOf(facts: unknown): DefinitionReferences {
  const { actors, events } = Facts.parse(facts);
  const functions: Reference[] = [];
  const workflows: Reference[] = [];
  for (const [actor, given] of Object.entries(actors)) {
    const { kind, name, alias, version } = given.kind === "map" ? given.each : given;
    if (kind === "workflow") {
      workflows.push({ kind: "Workflow", name, actor });
      continue;
    }
    functions.push({ kind: "Function", name, actor });
    if (alias !== undefined) functions.push({ kind: "FunctionAlias", name: alias, actor });
    if (version !== undefined) functions.push({ kind: "FunctionVersion", name: version, actor });
  }
  return { functions, workflows, events: Object.keys(events ?? {}) };
}
