import type { FunctionReference } from "../../api/kinds/index.ts";
import type { FunctionObjects } from "./desired-objects.ts";
import type { LiveObject, LiveObjects } from "./live.ts";

/** What an object calls, if it calls anything. */
export function referenceOf(object: LiveObject | undefined): FunctionReference | undefined {
  const spec = object?.spec;
  return typeof spec === "object" && spec !== null && "functionref" in spec
    ? // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the API server checked it by its schema
      (spec.functionref as FunctionReference)
    : undefined;
}

/** The alias through which a live trigger calls the function, when it does. */
export function aliasOfTrigger(live: LiveObject | undefined, functionName: string): string | undefined {
  const { type, name, alias } = referenceOf(live) ?? {};
  return type === "name" && name === functionName && alias ? alias : undefined;
}

const throughAlias = <T extends { metadata: { name: string }; spec: { functionref: FunctionReference } }>(
  trigger: T,
  alias: string | undefined,
): T =>
  alias === undefined
    ? trigger
    : { ...trigger, spec: { ...trigger.spec, functionref: { ...trigger.spec.functionref, alias } } };

/**
 * The objects with the aliases that their live triggers go through: what a file says about a route is where it is, not which version
 * answers.
 */
export function keepAliases(objects: FunctionObjects, live: Pick<LiveObjects, "find">): FunctionObjects {
  const name = objects.function.metadata.name;
  const aliasOf = (kind: string, trigger: { metadata: { name: string } }): string | undefined =>
    aliasOfTrigger(live.find(kind, trigger.metadata.name), name);
  return {
    ...objects,
    triggers: objects.triggers.map((trigger) => throughAlias(trigger, aliasOf("HTTPTrigger", trigger))),
    events: objects.events.map((trigger) => throughAlias(trigger, aliasOf(trigger.kind, trigger))),
  };
}
