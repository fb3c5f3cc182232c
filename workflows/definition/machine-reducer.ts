import {
  type AnyActor,
  type AnyActorRef,
  type AnyMachineSnapshot,
  type AnyStateMachine,
  type AnyStateNode,
  createActor,
  initialTransition,
  transition,
} from "xstate";
import type { Json } from "../core/json.ts";
import type { Action, ErrorFacts, MachineEvent, Transition } from "./definition.ts";
import { jsonFault } from "./json-fault.ts";

/**
 * An XState machine as a reducer over JSON: nothing is started, everything that is to be done is returned.
 *
 * Invariants:
 * 1. The stored text is the only state: it is parsed anew for every transition, so that what a throwing guard or assign has changed in place is lost with it.
 * 2. What cannot be carried out durably is an error, never left out: children without an action (`spawn` in assign), events to other actors, timers without id.
 * 3. A machine that stays as it was gives the same text back.
 */
export interface MachineReducer {
  /** @throws what the machine's code throws, and `Error` for what a workflow cannot do */
  start(input: unknown): Transition;
  /** @param prepared what the machine gets in the event's place, by the names of the actors of the snapshot's children */
  transition(snapshot: string, event: MachineEvent, prepared?: Prepare): Transition;
}
export type Prepare = (event: MachineEvent, actorOf: (childId: string) => string | undefined) => MachineEvent;

/** What XState returns, whatever the machine: its own type names only some of the built-in actions. */
interface ReturnedAction {
  readonly type: string;
  readonly params?: unknown;
  readonly info: unknown;
  readonly exec?: unknown;
}

/** Microsteps of one transition: `always` and `raise` may chain this many times. */
const MAX_MICROSTEPS = 1_000;

export function machineReducer(machine: AnyStateMachine): MachineReducer {
  if (!((machine.options?.maxIterations ?? Infinity) <= MAX_MICROSTEPS))
    machine.options = { ...machine.options, maxIterations: MAX_MICROSTEPS };
  return {
    start: (input) => {
      const [snapshot, actions] = initialTransition(machine, input);
      return describe(machine, snapshot, actions, undefined);
    },
    transition: (text, event, prepared) => {
      const { actor, snapshot: before } = restored(machine, text);
      const actorOf = (childId: string): string | undefined => {
        const src: unknown = before.children[childId]?.src;
        return typeof src === "string" ? src : undefined;
      };
      const given = prepared ? prepared(event, actorOf) : event;
      const [after, actions] = text.includes(SYSTEM_ID)
        ? transition(machine, before, given)
        : stepped(machine, actor, before, given);
      if (after === before && actions.length === 0) return unchanged(machine, before, text);
      return describe(machine, after, actions, before);
    },
  };
}

/** Children that other actors know by a name: XState's own function keeps these names apart from those of the next step's children. */
const SYSTEM_ID = '"systemId":';

/** With its children, and without running anything: neither entry actions nor the context factory. */
function restored(
  machine: AnyStateMachine,
  text: string,
): { readonly actor: AnyActor; readonly snapshot: AnyMachineSnapshot } {
  const actor = createActor(machine, { snapshot: JSON.parse(text) });
  const snapshot: AnyMachineSnapshot = actor.getSnapshot();
  // A snapshot that the machine cannot read ends the actor instead of throwing.
  if (snapshot.status === "error" && !text.includes('"status":"error"')) throw snapshot.error;
  return { actor, snapshot };
}

/**
 * The same as XState's `transition`, which makes an actor of its own for every call and with it a first snapshot, by the context factory with an input of
 * `undefined`: a third of the cost of a step, and a surprise for whoever wrote the factory.
 */
function stepped(
  machine: AnyStateMachine,
  actor: AnyActor,
  before: AnyMachineSnapshot,
  event: MachineEvent,
): [AnyMachineSnapshot, ReturnedAction[]] {
  const actions: ReturnedAction[] = [];
  const nothing = (): void => {};
  const after = machine.transition(before, event, {
    self: actor,
    system: actor.system,
    id: "",
    sessionId: "",
    logger: nothing,
    defer: nothing,
    stopChild: nothing,
    emit: nothing,
    actionExecutor: (action) => void actions.push(action),
  });
  return [after, actions];
}

function unchanged(machine: AnyStateMachine, snapshot: AnyMachineSnapshot, text: string): Transition {
  return { ...facts(machine, snapshot), snapshot: text, actions: [] };
}

function describe(
  machine: AnyStateMachine,
  after: AnyMachineSnapshot,
  executable: readonly ReturnedAction[],
  before: AnyMachineSnapshot | undefined,
): Transition {
  const actions = executable.flatMap((action) => project(action, after));
  refuseUnknownChildren(after, before, actions);
  refuseLostData(after, before);
  return {
    ...facts(machine, after),
    snapshot: JSON.stringify(machine.getPersistedSnapshot(after)),
    actions,
  };
}

function facts(
  machine: AnyStateMachine,
  snapshot: AnyMachineSnapshot,
): Pick<Transition, "status" | "output" | "error" | "states" | "accepts"> {
  const status = snapshot.status === "stopped" ? "error" : snapshot.status;
  return {
    status,
    ...(status === "done" ? { output: outputOf(snapshot) } : {}),
    ...(status === "error" ? { error: errorFacts(snapshot.error) } : {}),
    states: leafStates(machine, snapshot),
    accepts: status === "active" ? acceptedEvents(snapshot) : [],
  };
}

function outputOf(snapshot: AnyMachineSnapshot): Json {
  const output: unknown = snapshot.output ?? null;
  const fault = jsonFault(output, "output");
  if (fault !== undefined) throw new Error(`Cannot store the workflow's output: ${fault}`);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- checked above
  return output as Json;
}

/** What a thrown value, or the error that a function gave, says of itself. */
export function errorFacts(error: unknown): ErrorFacts {
  if (typeof error === "object" && error !== null) {
    const type = "type" in error && typeof error.type === "string" ? error.type : undefined;
    const name = "name" in error && typeof error.name === "string" ? error.name : undefined;
    const message = "message" in error && typeof error.message === "string" ? error.message : undefined;
    if (type !== undefined || message !== undefined)
      return { type: type ?? name ?? "Error", message: message ?? "" };
  }
  return { type: "Error", message: String(error) };
}

// oxlint-disable-next-line no-underscore-dangle -- XState offers the active nodes under no other name
const activeNodes = (snapshot: AnyMachineSnapshot): readonly AnyStateNode[] => snapshot._nodes;
const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

function leafStates(machine: AnyStateMachine, snapshot: AnyMachineSnapshot): string[] {
  return activeNodes(snapshot)
    .filter(({ type }) => type === "atomic" || type === "final")
    .map((node) => (node.path.length === 0 ? machine.id : node.path.join(".")))
    .sort(byText);
}

function acceptedEvents(snapshot: AnyMachineSnapshot): string[] {
  const types = new Set(activeNodes(snapshot).flatMap((node) => node.ownEvents));
  return [...types].filter((type) => type !== "" && !type.startsWith("xstate.")).sort(byText);
}

function project(action: ReturnedAction, snapshot: AnyMachineSnapshot): Action[] {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- parameters are an object or absent
  const params = (action.params ?? {}) as Readonly<Record<string, unknown>>;
  switch (action.type) {
    case "xstate.raise":
      return params["delay"] === undefined ? [] : [timer(params)];
    case "xstate.sendTo":
      return [selfSent(params, snapshot)];
    case "xstate.cancel":
      return [{ kind: "cancel-timer", id: String(params["sendId"]) }];
    case "xstate.spawnChild":
      return [invocation(params)];
    case "xstate.stopChild":
      return stopped(action.params);
    case "xstate.emit":
      return [{ kind: "emit", event: jsonEvent(params["event"], "an emitted event") }];
    case "xstate.log":
      return [{ kind: "log", label: textOr(params["label"], ""), value: loggable(params["value"]) }];
    default:
      if (typeof action.exec === "function") action.exec(action.info, action.params);
      return [];
  }
}

function timer(params: Readonly<Record<string, unknown>>): Action {
  const { id, event, delay } = params;
  const name = eventType(event);
  if (typeof delay !== "number" || !(delay >= 0))
    throw new Error(
      `Cannot set the timer of event "${name}": its delay must be a number of milliseconds from 0 on, got ${String(delay)}`,
    );
  if (typeof id !== "string")
    throw new Error(
      `Cannot set the timer of event "${name}": a delayed raise needs an id, by which it is known in the store`,
    );
  return { kind: "timer", id, event: jsonEvent(event, "a delayed event"), delayMs: delay };
}

/** An event to the machine itself, which XState would send when the actor runs: a timer that is due at once. */
function selfSent(params: Readonly<Record<string, unknown>>, snapshot: AnyMachineSnapshot): Action {
  const { to, delay, id, event } = params;
  const target = actorId(to);
  if (target === undefined || target in snapshot.children)
    throw new Error(
      `Cannot send event "${eventType(event)}" to actor "${target ?? String(params["targetId"])}": a step is a function call or a run of its own, which takes no events while it runs`,
    );
  return timer({
    event,
    delay: delay ?? 0,
    id: id ?? (delay === undefined ? `sent.${eventType(event)}` : undefined),
  });
}

function invocation(params: Readonly<Record<string, unknown>>): Action {
  const { src, input, actorRef } = params;
  const id = actorId(actorRef);
  if (typeof src !== "string")
    throw new Error("Cannot start an actor that has no name: name it in setup({ actors })");
  if (id === undefined) throw new Error(`Cannot start actor "${src}": it is not in setup({ actors })`);
  if (params["id"] === undefined || id === "undefined")
    throw new Error(`Cannot start actor "${src}": spawnChild needs an id, by which it is known in the store`);
  const given = input ?? null;
  const fault = jsonFault(given, "input");
  if (fault !== undefined) throw new Error(`Cannot start actor "${src}" (${id}): ${fault}`);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- checked above
  return { kind: "invoke", id, actor: src, input: given as Json };
}

function stopped(actorRef: unknown): Action[] {
  const id = actorId(actorRef);
  return id === undefined ? [] : [{ kind: "stop", id }];
}

function actorId(ref: unknown): string | undefined {
  return typeof ref === "object" && ref !== null && "id" in ref && typeof ref.id === "string"
    ? ref.id
    : undefined;
}

function eventType(event: unknown): string {
  return typeof event === "object" && event !== null && "type" in event ? String(event.type) : String(event);
}

function jsonEvent(event: unknown, what: string): MachineEvent {
  const fault = jsonFault(event, eventType(event));
  if (fault !== undefined) throw new Error(`Cannot store ${what}: ${fault}`);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- checked above
  return event as MachineEvent;
}

const textOr = (value: unknown, otherwise: string): string => (typeof value === "string" ? value : otherwise);

/** What a log line may hold; it is for people, so that what JSON cannot hold is written as text. */
function loggable(value: unknown): Json {
  if (value === undefined) return null;
  if (jsonFault(value, "value") !== undefined) return "a value that JSON cannot hold";
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- checked above
  return value as Json;
}

/** `spawn()` in an assign makes a child and no action: nobody would ever run it. */
function refuseUnknownChildren(
  after: AnyMachineSnapshot,
  before: AnyMachineSnapshot | undefined,
  actions: readonly Action[],
): void {
  const children: Readonly<Record<string, AnyActorRef | undefined>> = after.children;
  for (const id of Object.keys(children)) {
    if (before && id in before.children && before.children[id] === children[id]) continue;
    if (actions.some((action) => action.kind === "invoke" && action.id === id)) continue;
    throw new Error(
      `Cannot spawn actor "${id}" in an assign: use invoke, or the action spawnChild with an id`,
    );
  }
}

function refuseLostData(after: AnyMachineSnapshot, before: AnyMachineSnapshot | undefined): void {
  const context: unknown = after.context;
  if (context === before?.context) return;
  const fault = jsonFault(context, "context");
  if (fault !== undefined) throw new Error(`Cannot store the workflow's context: ${fault}`);
}
