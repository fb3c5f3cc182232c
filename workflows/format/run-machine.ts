import type { Json } from "../core/json.ts";
import { type Action, doneEvent, errorEvent, type MachineEvent } from "../definition/definition.ts";
import { machineReducer, type MachineReducer } from "../definition/machine-reducer.ts";
import type { CompiledMachine } from "./compile-machine.ts";
import { childOf, OWN_STATE } from "./compile-graph.ts";
import { isJsonObject } from "./json-path.ts";
import { branchError, causeText, type FormatError } from "./format-error.ts";

/**
 * A compiled machine with the machines of its Maps' items, as one reducer: to the engine it is one run.
 *
 * Invariants:
 * 1. At most `maxConcurrency` items of a Map run at a time; the next one starts in the transition in which one ends.
 * 2. A child or timer of item 3 of `each` is known to the engine under a name with `each[3]` in its path; what comes back under a name that is no longer open changes nothing.
 * 3. The first item that fails ends its Map: the children and timers of the others are stopped in the same transition.
 */
export interface RunMachine {
  start(input: Json): Step;
  transition(snapshot: string, event: MachineEvent): Step;
}

export interface Step {
  /** The same text as before: nothing has changed. */
  readonly snapshot: string;
  readonly result?: { readonly document: Json } | { readonly failure: FormatError };
  readonly actions: readonly Action[];
  readonly states: readonly string[];
}

/** The snapshot of a machine with Maps whose items are machines; any other's is its own. */
interface StoredRun {
  machine: string;
  /** Paths of its active states. */
  states: readonly string[];
  maps: Record<string, StoredMap>;
}
interface StoredMap {
  items: readonly Json[];
  /** The first item that has not begun. */
  next: number;
  ended: number;
  /** By index. */
  live: Record<string, StoredItem>;
  results: Record<string, Json>;
}
interface StoredItem {
  run: string;
  states: readonly string[];
  children: string[];
  timers: string[];
}

/** How the timer of an item comes back; nothing from outside may be named so. */
const ITEM_EVENT = "xstate.item";
const ITEM_CHILD = /^(xstate\.(?:done|error)\.actor\.)0\.run\.([^[]+)\[(\d+)\]\.(.+)$/s;

type Moved = ReturnType<MachineReducer["start"]>;

export function runMachine({ machine, itemMachines }: CompiledMachine): RunMachine {
  const reducer = machineReducer(machine);
  const items: Readonly<Record<string, ItemMachine>> = Object.fromEntries(
    Object.entries(itemMachines).map(([id, { items, maxConcurrency }]) => [
      id,
      { machine: runMachine(items), maxConcurrency },
    ]),
  );
  if (Object.keys(items).length === 0)
    return {
      start: (input) => plainStep(reducer.start(input)),
      transition: (snapshot, event) => plainStep(reducer.transition(snapshot, event)),
    };
  return {
    start: (input) =>
      new Turn(reducer, items, { machine: "", states: [], maps: {} }).take(reducer.start(input)),
    transition: (snapshot, event) => {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- written by this module, read by a run that pins this definition
      const turn = new Turn(reducer, items, JSON.parse(snapshot) as StoredRun);
      const routed = itemEvent(event);
      const step = routed ? turn.takeItem(routed) : turn.takeEvent(event);
      return step ?? { ...turn.end(), snapshot };
    },
  };
}

const plainStep = ({ snapshot, status, output, actions, states }: Moved): Step => ({
  snapshot,
  ...(status === "done" ? { result: resultOf(output) } : {}),
  actions,
  states: states.flatMap(shownState),
});

/** The path of a state as its user wrote it; nothing for the ends that the compiler adds. */
function shownState(state: string): string[] {
  if (state.endsWith(`${OWN_STATE}end`) || state.endsWith(`${OWN_STATE}failed`)) return [];
  return [
    state
      .split(".")
      .filter((key) => !key.startsWith(OWN_STATE))
      .join("."),
  ];
}

interface ItemEvent {
  /** Of the Map. */
  readonly path: string;
  readonly index: string;
  readonly event: MachineEvent;
}

function itemEvent(event: MachineEvent): ItemEvent | undefined {
  if (event.type === ITEM_EVENT) {
    const { path, index, event: inner } = event;
    return typeof path === "string" && typeof index === "string"
      ? { path, index, event: asEvent(inner) }
      : undefined;
  }
  const match = ITEM_CHILD.exec(event.type);
  if (!match) return undefined;
  const [, head = "", path = "", index = "", rest = ""] = match;
  return { path, index, event: { ...event, type: head + childOf(rest) } };
}

const asEvent = (value: Json | undefined): MachineEvent =>
  typeof value === "object" && value !== null && "type" in value && typeof value.type === "string"
    ? { ...value, type: value.type }
    : { type: "" };

interface ItemMachine {
  readonly machine: RunMachine;
  readonly maxConcurrency: number;
}

/** One transition and all that follows from it inside the run. */
class Turn {
  readonly #reducer: MachineReducer;
  readonly #items: Readonly<Record<string, ItemMachine>>;
  readonly #stored: StoredRun;
  readonly #actions: Action[] = [];
  #result: Step["result"];

  /** @param stored changed in place */
  constructor(reducer: MachineReducer, items: Readonly<Record<string, ItemMachine>>, stored: StoredRun) {
    this.#reducer = reducer;
    this.#items = items;
    this.#stored = stored;
  }

  take(moved: Moved): Step {
    this.#apply(moved);
    return this.end();
  }

  /** Undefined: it changes nothing. */
  takeEvent(event: MachineEvent): Step | undefined {
    const moved = this.#reducer.transition(this.#stored.machine, event);
    return moved.snapshot === this.#stored.machine ? undefined : this.take(moved);
  }

  /** The same for an event of an item. */
  takeItem({ path, index, event }: ItemEvent): Step | undefined {
    const map = this.#stored.maps[path];
    const item = map?.live[index];
    const definition = this.#items[path];
    if (!map || !item || !definition) return undefined;
    const step = definition.machine.transition(item.run, event);
    if (step.snapshot === item.run) return undefined;
    this.#itemStep(path, map, index, item, step);
    this.#fill(path);
    return this.end();
  }

  end(): Step {
    return {
      snapshot: JSON.stringify(this.#stored),
      ...(this.#result ? { result: this.#result } : {}),
      actions: this.#actions,
      states: this.#stored.states.flatMap((state) => {
        const live = Object.entries(this.#stored.maps[state]?.live ?? {});
        if (live.length === 0) return [state];
        return live.flatMap(([index, { states }]) => states.map((inner) => `${state}[${index}].${inner}`));
      }),
    };
  }

  #apply(moved: Moved): void {
    this.#stored.machine = moved.snapshot;
    this.#stored.states = moved.states.flatMap(shownState);
    if (moved.status === "done") this.#result = resultOf(moved.output);
    const begun: string[] = [];
    for (const action of moved.actions) {
      const map = "id" in action ? this.#mapOf(action.id) : undefined;
      if (map === undefined) this.#actions.push(action);
      else if (action.kind === "stop") this.#stop(map);
      else if (action.kind === "invoke") {
        const items = Array.isArray(action.input) ? action.input : [];
        this.#stored.maps[map] = { items, next: 0, ended: 0, live: {}, results: {} };
        begun.push(map);
      }
    }
    for (const path of begun) this.#fill(path);
  }

  /** The path of the Map that a child of the machine runs the items of. */
  #mapOf(child: string): string | undefined {
    return Object.keys(this.#items).find((path) => childOf(path) === child);
  }

  /** Starts items as far as they may run, and ends the Map when the last one has. */
  #fill(path: string): void {
    const definition = this.#items[path];
    for (;;) {
      const map = this.#stored.maps[path];
      if (!map || !definition) return;
      if (map.ended === map.items.length) {
        delete this.#stored.maps[path];
        const results = map.items.map((_item, at) => map.results[at] ?? null);
        this.#apply(this.#reducer.transition(this.#stored.machine, doneEvent(childOf(path), results)));
        return;
      }
      if (map.next >= map.items.length || Object.keys(map.live).length >= definition.maxConcurrency) return;
      const index = String(map.next++);
      const item: StoredItem = { run: "", states: [], children: [], timers: [] };
      this.#itemStep(path, map, index, item, definition.machine.start(map.items[Number(index)] ?? null));
    }
  }

  #itemStep(path: string, map: StoredMap, index: string, item: StoredItem, step: Step): void {
    for (const action of step.actions) this.#actions.push(itemAction(path, index, item, action));
    if (!step.result) {
      map.live[index] = { ...item, run: step.snapshot, states: step.states };
      return;
    }
    delete map.live[index];
    if ("document" in step.result) {
      map.results[index] = step.result.document;
      map.ended++;
      return;
    }
    this.#stopItem(item);
    this.#stop(path);
    const { errorType, cause } = branchError(index, step.result.failure);
    this.#apply(
      this.#reducer.transition(
        this.#stored.machine,
        errorEvent(childOf(path), { type: errorType, message: causeText(cause), cause }),
      ),
    );
  }

  #stop(path: string): void {
    const map = this.#stored.maps[path];
    delete this.#stored.maps[path];
    for (const item of Object.values(map?.live ?? {})) this.#stopItem(item);
  }

  #stopItem({ children, timers }: StoredItem): void {
    this.#actions.push(...children.map((id): Action => ({ kind: "stop", id })));
    this.#actions.push(...timers.map((id): Action => ({ kind: "cancel-timer", id })));
  }
}

const CHILD_PREFIX = childOf("");
const itemId = (path: string, index: string, id: string): string =>
  id.startsWith(CHILD_PREFIX)
    ? childOf(`${path}[${index}].${id.slice(CHILD_PREFIX.length)}`)
    : `${path}[${index}]/${id}`;

/** The action of an item as the engine sees it; what stays open is noted with the item. */
function itemAction(path: string, index: string, item: StoredItem, action: Action): Action {
  if (action.kind === "emit" || action.kind === "log") return action;
  const id = itemId(path, index, action.id);
  switch (action.kind) {
    case "invoke":
      item.children.push(id);
      return { ...action, id };
    case "stop":
      item.children = item.children.filter((open) => open !== id);
      return { ...action, id };
    case "timer":
      item.timers.push(id);
      return { ...action, id, event: { type: ITEM_EVENT, path, index, event: action.event } };
    default:
      item.timers = item.timers.filter((open) => open !== id);
      return { ...action, id };
  }
}

function resultOf(output: Json | undefined): NonNullable<Step["result"]> {
  if (!isJsonObject(output)) return { document: null };
  const { failure, document } = output;
  if (isJsonObject(failure) && typeof failure["errorType"] === "string")
    return { failure: { errorType: failure["errorType"], cause: failure["cause"] ?? null } };
  return { document: document ?? null };
}
