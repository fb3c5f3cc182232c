import type { AnyStateMachine, AnyStateNode } from "xstate";
import { checkActions } from "./check-actions.ts";
import { jsonFault } from "./json-fault.ts";
import { actorLogics, childrenOf, nodesOf, placeOf, sourceOf, transitionsOf } from "./machine-facts.ts";
import { stepOf } from "./step-logic.ts";

/** Something that keeps a definition from being run. */
export interface Problem {
  readonly code: ProblemCode;
  /** Where: a state's path with what in it, e.g. `payment.charging.invoke[0]`. */
  readonly place: string;
  readonly message: string;
}
export type ProblemCode =
  | "unreachable_state"
  | "no_final_state"
  | "unknown_actor"
  | "unknown_function"
  | "unknown_delay"
  | "unknown_guard"
  | "unknown_action"
  | "missing_id"
  | "shared_id"
  | "code_actor"
  | "spawn_in_assign"
  | "context_not_json"
  | "not_supported";

/** All that can be said to be wrong with a machine without running it. */
export function checkMachine(machine: AnyStateMachine): readonly Problem[] {
  return [
    ...unreachableStates(machine),
    ...missingFinal(machine),
    ...actorProblems(machine),
    ...compensationProblems(machine),
    ...sharedIds(machine),
    ...checkActions(machine),
    ...contextProblems(machine),
  ];
}

function unreachableStates(machine: AnyStateMachine): Problem[] {
  const reached = new Set<AnyStateNode>();
  const enter = (node: AnyStateNode): void => {
    for (let above: AnyStateNode | undefined = node; above; above = above.parent) visit(above);
  };
  const visit = (node: AnyStateNode): void => {
    if (reached.has(node)) return;
    reached.add(node);
    if (node.parent) enter(node.parent);
    for (const { targets } of transitionsOf(node)) targets.forEach(enter);
    if (node.type === "parallel") childrenOf(node).forEach(enter);
    // A state whose inner state is targeted directly need not enter its initial one, but may: it can be entered anew.
    if (node.type === "compound") node.initial?.target?.forEach(enter);
    if (node.type === "history") historyTargets(node).forEach(enter);
  };
  visit(machine.root);
  return nodesOf(machine.root)
    .filter((node) => !reached.has(node) && (!node.parent || reached.has(node.parent)))
    .map((node) => ({
      code: "unreachable_state",
      place: placeOf(node),
      message: `State "${placeOf(node)}" cannot be reached: no transition leads to it, and it is no initial state`,
    }));
}

function historyTargets(node: AnyStateNode): readonly AnyStateNode[] {
  const config: unknown = node.config;
  const target: unknown =
    typeof config === "object" && config !== null && "target" in config ? config.target : undefined;
  return typeof target === "string" && node.parent
    ? childrenOf(node.parent).filter(({ key }) => key === target)
    : [];
}

/** A machine that can never end keeps its runs open for ever. */
function missingFinal(machine: AnyStateMachine): Problem[] {
  const { root } = machine;
  if (canEnd(root)) return [];
  return [
    {
      code: "no_final_state",
      place: root.id,
      message: `Workflow "${root.id}" cannot end: no state at its top is of type "final"`,
    },
  ];
}

function canEnd(node: AnyStateNode): boolean {
  if (node.type === "final") return true;
  const children = childrenOf(node);
  if (node.type === "parallel") return children.every(canEnd);
  return children.some(({ type }) => type === "final");
}

function actorProblems(machine: AnyStateMachine): Problem[] {
  const logics = actorLogics(machine);
  const problems: Problem[] = [];
  for (const node of nodesOf(machine.root)) {
    for (const [at, invoke] of node.invoke.entries()) {
      const name = sourceOf(invoke);
      if (logics.get(name) === undefined)
        problems.push({
          code: "unknown_actor",
          place: `${placeOf(node)}.invoke[${at}]`,
          message: `State "${placeOf(node)}" invokes actor "${name}", which is not in setup({ actors })`,
        });
    }
  }
  for (const [name, logic] of logics) {
    if (logic === undefined || stepOf(logic)) continue;
    problems.push({
      code: "code_actor",
      place: `actors.${name}`,
      message: `Actor "${name}" is code, which would be lost in a crash: use fn("<function>"), workflow("<workflow>") or map(…)`,
    });
  }
  return problems;
}

function compensationProblems(machine: AnyStateMachine): Problem[] {
  const logics = actorLogics(machine);
  return [...logics].flatMap(([name, logic]): Problem[] => {
    const facts = stepOf(logic)?.facts;
    const undo = facts?.kind === "function" ? facts.compensation : undefined;
    if (undo === undefined || stepOf(logics.get(undo))?.facts.kind === "function") return [];
    const message = `Step "${name}" is compensated by "${undo}", which is no fn(…) in setup({ actors })`;
    return [{ code: "unknown_actor", place: `actors.${name}.compensate`, message }];
  });
}

/** Two children of one id would be taken for each other while both of their states are active. */
function sharedIds(machine: AnyStateMachine): Problem[] {
  const seen = new Map<string, AnyStateNode[]>();
  const problems: Problem[] = [];
  for (const node of nodesOf(machine.root))
    for (const [at, { id }] of node.invoke.entries()) {
      const others = seen.get(id) ?? [];
      const other = others.find((one) => one === node || activeTogether(one, node));
      if (other)
        problems.push({
          code: "shared_id",
          place: `${placeOf(node)}.invoke[${at}]`,
          message: `State "${placeOf(node)}" invokes with the id "${id}", as does "${placeOf(other)}", which may be active at the same time`,
        });
      seen.set(id, [...others, node]);
    }
  return problems;
}

function activeTogether(a: AnyStateNode, b: AnyStateNode): boolean {
  const above = (node: AnyStateNode): AnyStateNode[] =>
    node.parent ? [node, ...above(node.parent)] : [node];
  const chain = above(a);
  const shared = above(b).find((node) => chain.includes(node));
  return shared === a || shared === b || shared?.type === "parallel";
}

/** A context that is written down can be looked at; one that is made from the input is looked at when it was made. */
function contextProblems(machine: AnyStateMachine): Problem[] {
  const context: unknown = machine.config.context;
  if (typeof context !== "object" || context === null) return [];
  const fault = jsonFault(context, "context");
  if (fault === undefined) return [];
  return [{ code: "context_not_json", place: "context", message: `The context cannot be stored: ${fault}` }];
}
