import type { FunctionReference } from "../../api/kinds/index.ts";
import type { ProjectPlan } from "./deploy-project.ts";
import { aliasOfTrigger } from "./keep-aliases.ts";
import type { LiveObject } from "./live.ts";
import { planObject, type PlannedObject } from "./plan.ts";

type PlannedFunction = ProjectPlan["functions"][number];

const CODE_KINDS = new Set(["Package", "Function"]);
const TRIGGER_KINDS = new Set([
  "HTTPTrigger",
  "TimeTrigger",
  "KubernetesWatchTrigger",
  "MessageQueueTrigger",
]);

/** How a deployment releases a function: `new` there is nothing to compare with, `changed` other code or settings, `same` neither. */
export function releaseKind({ actions }: PlannedFunction): "new" | "changed" | "same" {
  const code = actions.filter(({ kind }) => CODE_KINDS.has(kind));
  if (code.some(({ kind, action }) => kind === "Function" && action === "create")) return "new";
  return code.some(({ action }) => action !== "unchanged") ? "changed" : "same";
}

/** The planned triggers of a function. */
export const triggersOf = ({ actions }: PlannedFunction): PlannedObject[] =>
  actions.filter(({ kind, action }) => TRIGGER_KINDS.has(kind) && action !== "delete");

/** The aliases that a function's live triggers go through. */
export const aliasesInUse = (planned: PlannedFunction): string[] => [
  ...new Set(triggersOf(planned).flatMap(({ live }) => aliasOfTrigger(live, planned.prepared.name) ?? [])),
];

/** A live trigger that calls the function by name, as it is once it goes through the alias. */
function movedLive(live: LiveObject | undefined, alias: string): LiveObject | undefined {
  const spec = live?.spec;
  if (!live || typeof spec !== "object" || spec === null || !("functionref" in spec)) return live;
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the API server checked it by its schema
  const { version: _, ...reference } = spec.functionref as FunctionReference;
  return { ...live, spec: { ...spec, functionref: { ...reference, alias } } };
}

/** The plan with every trigger of the function calling the alias, which those that are there do already. */
export function planThroughAlias(planned: PlannedFunction, alias: string): PlannedFunction {
  const change = <T extends { spec: { functionref: FunctionReference } }>(trigger: T): T => ({
    ...trigger,
    spec: { ...trigger.spec, functionref: { ...trigger.spec.functionref, alias } },
  });
  const { objects } = planned.prepared;
  const triggers = objects.triggers.map(change);
  const events = objects.events.map(change);
  const changed = new Map<string, PlannedObject["object"]>([
    ...triggers.map((trigger): [string, PlannedObject["object"]] => [
      `HTTPTrigger/${trigger.metadata.name}`,
      trigger,
    ]),
    ...events.map((trigger): [string, PlannedObject["object"]] => [
      `${trigger.kind}/${trigger.metadata.name}`,
      trigger,
    ]),
  ]);
  return {
    prepared: { ...planned.prepared, objects: { ...objects, triggers, events } },
    actions: planned.actions.map((action) => {
      const object = changed.get(`${action.kind}/${action.object.metadata.name}`);
      return object ? planObject(action.kind, object, movedLive(action.live, alias)) : action;
    }),
  };
}
