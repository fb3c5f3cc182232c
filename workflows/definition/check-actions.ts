import type { AnyStateMachine, AnyStateNode } from "xstate";
import type { Problem } from "./check-machine.ts";
import { nodesOf, placeOf, transitionsOf } from "./machine-facts.ts";

/** What is wrong with a machine's actions, guards and delays: names that lead nowhere, and effects that could not be found again in the store. */
export function checkActions(machine: AnyStateMachine): Problem[] {
  return nodesOf(machine.root).flatMap((node) =>
    nodeParts(node).flatMap(({ place, guard, actions }) => [
      ...guardProblems(machine, guard, place),
      ...actions.flatMap((action, at) =>
        actionProblems(machine, action, actions.length === 1 ? place : `${place}[${at}]`),
      ),
    ]),
  );
}

interface Part {
  readonly place: string;
  readonly guard?: unknown;
  readonly actions: readonly unknown[];
}

function nodeParts(node: AnyStateNode): Part[] {
  const at = placeOf(node);
  return [
    { place: `${at}.entry`, actions: node.entry },
    { place: `${at}.exit`, actions: node.exit },
    ...transitionsOf(node).map(({ event, guard, actions }) => ({
      place: `${at}.${partOf(event)}`,
      guard,
      actions,
    })),
  ];
}

const AFTER = /^xstate\.after\.(.+?)\./;
const DONE = /^xstate\.(done|error)\.actor\.(.+)$/;
const partOf = (event: string): string => {
  if (event === "") return "always";
  const delay = AFTER.exec(event)?.[1];
  if (delay !== undefined) return `after.${delay}`;
  const [, kind, child] = DONE.exec(event) ?? [];
  if (kind !== undefined) return `${kind === "done" ? "onDone" : "onError"} of "${child ?? ""}"`;
  return event.startsWith("xstate.done.state") ? "onDone" : `on.${event}`;
};

function guardProblems(machine: AnyStateMachine, guard: unknown, place: string): Problem[] {
  const name = nameOf(guard);
  if (name !== undefined) {
    if (Object.hasOwn(machine.implementations.guards, name)) return [];
    return [
      {
        code: "unknown_guard",
        place,
        message: `There is no guard "${name}": it is not in setup({ guards })`,
      },
    ];
  }
  // `and`, `or` and `not` hold the guards that they join.
  const joined = fieldOf(guard, "guards");
  return Array.isArray(joined) ? joined.flatMap((one) => guardProblems(machine, one, place)) : [];
}

function actionProblems(machine: AnyStateMachine, action: unknown, place: string): Problem[] {
  const name = nameOf(action);
  if (name === undefined) return builtInProblems(machine, action, place);
  const actions: Readonly<Record<string, unknown>> = machine.implementations.actions;
  if (Object.hasOwn(actions, name)) return builtInProblems(machine, actions[name], place);
  return [
    {
      code: "unknown_action",
      place,
      message: `There is no action "${name}": it is not in setup({ actions })`,
    },
  ];
}

/** XState's own actions are functions that carry what they are made of. */
function builtInProblems(machine: AnyStateMachine, action: unknown, given: string): Problem[] {
  const [id, delay] = [fieldOf(action, "id"), fieldOf(action, "delay")];
  const after = typeof id === "string" ? AFTER.exec(id)?.[1] : undefined;
  const place = after === undefined ? given : `${given.replace(/\.entry(?:\[\d+\])?$/, "")}.after.${after}`;
  switch (fieldOf(action, "type")) {
    case "xstate.raise":
      return [
        ...delayProblems(machine, delay, place),
        ...(delay !== undefined && id === undefined ? [missingId("raise with a delay", place)] : []),
      ];
    case "xstate.spawnChild":
      return [
        ...(id === undefined ? [missingId("spawnChild", place)] : []),
        ...spawnedProblems(machine, fieldOf(action, "src"), place),
      ];
    case "xstate.sendTo":
      return [
        ...delayProblems(machine, delay, place),
        ...(typeof fieldOf(action, "to") === "string"
          ? [
              {
                code: "not_supported" as const,
                place,
                message: `sendTo("${String(fieldOf(action, "to"))}") has no receiver: a step is a function call or a run of its own, which takes no events`,
              },
            ]
          : []),
      ];
    case "xstate.assign":
      return assignProblems(fieldOf(action, "assignment"), place);
    default:
      return [];
  }
}

const missingId = (what: string, place: string): Problem => ({
  code: "missing_id",
  place,
  message: `${what} needs an id: it is known by it in the store, and cancelled by it`,
});

function delayProblems(machine: AnyStateMachine, delay: unknown, place: string): Problem[] {
  if (typeof delay !== "string" || Object.hasOwn(machine.implementations.delays, delay)) return [];
  return [
    {
      code: "unknown_delay",
      place,
      message: `There is no delay "${delay}": it is not in setup({ delays }), and XState would take it for none at all`,
    },
  ];
}

function spawnedProblems(machine: AnyStateMachine, src: unknown, place: string): Problem[] {
  if (typeof src === "string" && Object.hasOwn(machine.implementations.actors, src)) return [];
  const message =
    typeof src === "string"
      ? `There is no actor "${src}": it is not in setup({ actors })`
      : "spawnChild needs the name of an actor in setup({ actors })";
  return [{ code: "unknown_actor", place, message }];
}

/** `spawn` is handed to the functions of an assign; whether they call it is seen in their text alone. */
function assignProblems(assignment: unknown, place: string): Problem[] {
  const functions =
    typeof assignment === "object" && assignment !== null ? Object.values(assignment) : [assignment];
  const spawns = functions.some(
    (one) => typeof one === "function" && /\bspawn\s*\(/.test(Function.prototype.toString.call(one)),
  );
  if (!spawns) return [];
  return [
    {
      code: "spawn_in_assign",
      place,
      message:
        "spawn() in an assign starts nothing that is kept: use invoke, or the action spawnChild with an id",
    },
  ];
}

/** The name by which an action or a guard is referred to. */
function nameOf(reference: unknown): string | undefined {
  if (typeof reference === "string") return reference;
  if (typeof reference !== "object" || reference === null) return undefined;
  const type = fieldOf(reference, "type");
  return typeof type === "string" ? type : undefined;
}

function fieldOf(value: unknown, name: string): unknown {
  return (typeof value === "object" || typeof value === "function") && value !== null
    ? Reflect.get(value, name)
    : undefined;
}
