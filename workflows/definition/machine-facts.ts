import type { AnyStateMachine, AnyStateNode } from "xstate";
import type { ActorFacts, GraphState } from "./definition.ts";
import { stepOf } from "./step-logic.ts";

/** The machine's states and transitions as data. */
export function graphOf(machine: AnyStateMachine): GraphState {
  return graphState(machine.root);
}

function graphState(node: AnyStateNode): GraphState {
  const initial = node.type === "compound" ? node.initial?.target?.[0]?.key : undefined;
  return {
    id: node.id,
    key: node.key,
    type: node.type,
    ...(initial === undefined ? {} : { initial }),
    ...(node.description === undefined ? {} : { description: node.description }),
    invokes: node.invoke.map(sourceOf),
    transitions: transitionsOf(node).map(({ event, targets, guard }) => ({
      event,
      targets: targets.map(({ id }) => id),
      ...(guard === undefined ? {} : { guard: guardName(guard) }),
    })),
    states: childrenOf(node).map(graphState),
  };
}

export const childrenOf = (node: AnyStateNode): AnyStateNode[] => Object.values(node.states);

/** The name of the actor that an `invoke` starts; XState gives one to logic that is written in place. */
export const sourceOf = ({ src }: { readonly src: unknown }): string => (typeof src === "string" ? src : "");

/** A state as messages name it: its path from the root, or the machine's id. */
export const placeOf = (node: AnyStateNode): string =>
  node.path.length === 0 ? node.id : node.path.join(".");

/** A node and all below it. */
export const nodesOf = (node: AnyStateNode): AnyStateNode[] => [node, ...childrenOf(node).flatMap(nodesOf)];

export interface NodeTransition {
  /** Empty for `always`. */
  readonly event: string;
  readonly targets: readonly AnyStateNode[];
  readonly guard: unknown;
  readonly actions: readonly unknown[];
}

/** Transitions for events, delays and completions, then those without event. */
export function transitionsOf(node: AnyStateNode): NodeTransition[] {
  const named = [...node.transitions].flatMap(([event, list]) => list.map((item) => ({ event, item })));
  const always = (node.always ?? []).map((item) => ({ event: "", item }));
  return [...named, ...always].map(({ event, item }) => ({
    event,
    targets: item.target ?? [],
    guard: item.guard,
    actions: item.actions,
  }));
}

function guardName(guard: unknown): string {
  if (typeof guard === "string") return guard;
  if (typeof guard === "object" && guard !== null && "type" in guard) return String(guard.type);
  return typeof guard === "function" && guard.name !== "" && guard.name !== "guard"
    ? guard.name
    : "condition";
}

/** Name under which a step that undoes another is known when it was written in place. */
const compensationName = (actor: string): string => `${actor}.compensation`;

/** The machine's actors by name: those of `setup`, and those that are written in an `invoke` itself, under the name that XState gives them. */
export function actorLogics(machine: AnyStateMachine): ReadonlyMap<string, unknown> {
  const logics = new Map<string, unknown>(Object.entries(machine.implementations.actors));
  for (const node of nodesOf(machine.root))
    for (const invoke of node.invoke) {
      const name = sourceOf(invoke);
      if (!logics.has(name)) logics.set(name, inlineLogic(machine, name));
    }
  for (const [name, logic] of logics) {
    const compensation = stepOf(logic)?.compensateWith;
    if (compensation !== undefined) logics.set(compensationName(name), compensation);
  }
  return logics;
}

/** `xstate.invoke.<index>.<state id>` is XState's name for logic that stands in a state itself. */
function inlineLogic(machine: AnyStateMachine, name: string): unknown {
  const match = /^xstate\.invoke\.(\d+)\.(.*)$/.exec(name);
  if (!match) return undefined;
  const node = nodesOf(machine.root).find(({ id }) => id === match[2]);
  const config: unknown = node?.config.invoke;
  const entry: unknown = Array.isArray(config) ? config[Number(match[1])] : config;
  return typeof entry === "object" && entry !== null && "src" in entry ? entry.src : undefined;
}

/** What each actor stands for; actors that are code are left out. */
export function actorFacts(machine: AnyStateMachine): Readonly<Record<string, ActorFacts>> {
  const facts: Record<string, ActorFacts> = {};
  for (const [name, logic] of actorLogics(machine)) {
    const step = stepOf(logic);
    if (!step) continue;
    facts[name] =
      step.facts.kind === "function" && step.compensateWith !== undefined
        ? { ...step.facts, compensation: compensationName(name) }
        : step.facts;
  }
  return facts;
}
