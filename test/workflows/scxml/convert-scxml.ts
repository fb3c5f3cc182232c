// oxlint-disable typescript/no-implied-eval, no-new-func -- expressions of the cases are ECMAScript in text
import {
  type AnyStateMachine,
  assign,
  cancel,
  createMachine,
  enqueueActions,
  fromPromise,
  log,
  not,
  raise,
  sendTo,
  stateIn,
} from "xstate";
import { type Element, readXml } from "./read-xml.ts";

/** A document as an XState machine, with those that it invokes by the name of their actor. */
export interface Converted {
  readonly machine: AnyStateMachine;
  readonly invoked: Readonly<Record<string, Converted>>;
}

/** What XState's types cannot know of a machine that is read from a text. */
// oxlint-disable-next-line typescript/no-explicit-any
type Loose = any;
type Scope = { context: Loose; event: Loose };

/** What the engine does not do, with the reason; the case is listed with it. */
export class NotDone extends Error {}

interface Conversion {
  readonly variables: readonly string[];
  readonly invoked: Record<string, Converted>;
  number: number;
}

/** @throws NotDone */
export function convertScxml(text: string): Converted {
  return convertElement(readXml(text));
}

function convertElement(root: Element): Converted {
  const data = root.children.filter(({ name }) => name === "datamodel").flatMap(({ children }) => children);
  const to: Conversion = {
    variables: data.map(({ attributes }) => attributes["id"] ?? ""),
    invoked: {},
    number: 0,
  };
  const context = Object.fromEntries(
    data.map(({ attributes, text }) => {
      const source = attributes["expr"] ?? text.trim();
      if (/\bfunction\b/.test(source)) throw new NotDone("a function in the context: it has to survive JSON");
      return [
        attributes["id"],
        source === "" ? undefined : new Function("_sessionid", `return (${source})`)(),
      ];
    }),
  );
  const config = { id: "machine", context, ...stateOf(root, to) };
  const actors = Object.fromEntries(
    Object.keys(to.invoked).map((name) => [name, fromPromise(async () => null)]),
  );
  return { machine: createMachine(config).provide({ actors }), invoked: to.invoked };
}

const STATES = ["state", "parallel", "final", "history"];
const keyOf = (id: string): string => id.replaceAll(".", "$");
const targets = (attribute: string | undefined): string[] | undefined =>
  attribute
    ?.trim()
    .split(/\s+/)
    .map((id) => `#${keyOf(id)}`);

function stateOf(element: Element, to: Conversion): Loose {
  const { attributes, children, name } = element;
  const id = attributes["id"] === undefined ? {} : { id: keyOf(attributes["id"]) };
  if (name === "history") {
    const target = targets(children.find((child) => child.name === "transition")?.attributes["target"])?.[0];
    return { ...id, type: "history", history: attributes["type"] ?? "shallow", target };
  }
  const of = (kind: string): Element[] => children.filter((child) => child.name === kind);
  const nested = children.filter((child) => STATES.includes(child.name));
  const states = Object.fromEntries(
    nested.map((child, at) => [keyOf(child.attributes["id"] ?? `state${at}`), stateOf(child, to)]),
  );
  const first =
    attributes["initial"] ??
    of("initial")[0]?.children[0]?.attributes["target"] ??
    nested[0]?.attributes["id"];
  const { on, always } = transitionsOf(of("transition"), to);
  return {
    ...id,
    ...(name === "final" ? { type: "final" } : {}),
    ...(name === "parallel" ? { type: "parallel" } : {}),
    ...(nested.length > 0 && name !== "parallel" && first !== undefined ? { initial: keyOf(first) } : {}),
    ...(nested.length > 0 ? { states } : {}),
    on,
    always,
    entry: of("onentry").flatMap((block) => actionsOf(block.children, to)),
    exit: of("onexit").flatMap((block) => actionsOf(block.children, to)),
    invoke: of("invoke").map((child) => invokeOf(child, to)),
  };
}

function transitionsOf(
  elements: readonly Element[],
  to: Conversion,
): { on: Record<string, Loose[]>; always: Loose[] } {
  const on: Record<string, Loose[]> = {};
  const always: Loose[] = [];
  for (const { attributes, children } of elements) {
    const target = targets(attributes["target"]);
    const config = {
      ...(target ? { target } : {}),
      ...(attributes["type"] === "internal" ? {} : { reenter: true }),
      ...(attributes["cond"] === undefined ? {} : { guard: guardOf(attributes["cond"], to) }),
      actions: actionsOf(children, to),
    };
    for (const event of (attributes["event"] ?? "").trim().split(/\s+/))
      if (event === "") always.push(config);
      else (on[eventName(event)] ??= []).push(config);
  }
  return { on, always };
}

/** XState's names for the events that both have. A name matches what begins with it and a dot, as `name.*` does in XState. */
function eventName(event: string): string {
  if (event === "*" || event.endsWith(".*")) return event;
  const own = event
    .replace(/^done\.state(?=\.|$)/, "xstate.done.state")
    .replace(/^done\.invoke(?=\.|$)/, "xstate.done.actor");
  return `${own}.*`;
}

function guardOf(cond: string, to: Conversion): Loose {
  const inside = /^(!?)\s*In\(\s*['"](.*)['"]\s*\)$/.exec(cond.trim());
  if (!inside) return (scope: Scope) => Boolean(evaluate(`return (${cond})`, scope, to));
  const check = stateIn(`#${keyOf(inside[2] ?? "")}`);
  return inside[1] === "!" ? not(check) : check;
}

function evaluate(body: string, { context, event }: Scope, to: Conversion): Loose {
  const variables = to.variables.map((name) => `let ${name} = context[${JSON.stringify(name)}];`).join("");
  const given = { name: event?.type, data: event?.data };
  return new Function("context", "_event", "_sessionid", `${variables}\n${body}`)(context, given, undefined);
}

const actionsOf = (elements: readonly Element[], to: Conversion): Loose[] =>
  elements.map((element) => actionOf(element, to));

function actionOf(element: Element, to: Conversion): Loose {
  const { attributes, name, text } = element;
  const value = (source: string) => (scope: Scope) => evaluate(`return (${source})`, scope, to);
  switch (name) {
    case "raise":
      return raise({ type: attributes["event"] ?? "" } as Loose);
    case "log":
      return log(value(attributes["expr"] ?? "null") as Loose, attributes["label"]);
    case "assign":
      return assign(((scope: Scope) => ({
        [attributes["location"] ?? ""]: value(attributes["expr"] ?? text)(scope),
      })) as Loose);
    case "script":
      return assign(((scope: Scope) =>
        evaluate(`${text}\nreturn {${to.variables.join()}}`, scope, to)) as Loose);
    case "cancel":
      return cancel((attributes["sendid"] ?? value(attributes["sendidexpr"] ?? "")) as Loose);
    case "if":
      return branches(element, to);
    case "send":
      return sendOf(element, to);
    default:
      throw new NotDone(`<${name}> is not converted`);
  }
}

/** `<if>`: the condition is asked when the action's turn has come. */
function branches({ attributes, children }: Element, to: Conversion): Loose {
  const parts: { cond: string | undefined; elements: Element[] }[] = [
    { cond: attributes["cond"], elements: [] },
  ];
  for (const child of children)
    if (child.name === "elseif" || child.name === "else")
      parts.push({ cond: child.attributes["cond"], elements: [] });
    else parts.at(-1)?.elements.push(child);
  const ready = parts.map(({ cond, elements }) => ({ cond, actions: actionsOf(elements, to) }));
  return enqueueActions(({ context, event, enqueue }: Loose) => {
    const taken = ready.find(
      ({ cond }) => cond === undefined || Boolean(evaluate(`return (${cond})`, { context, event }, to)),
    );
    for (const action of taken?.actions ?? []) enqueue(action);
  });
}

function sendOf({ attributes, children }: Element, to: Conversion): Loose {
  const { target, type } = attributes;
  if ((type ?? "").includes("BasicHTTP"))
    throw new NotDone("a send over HTTP: what a workflow calls is a step");
  if (target === "#_parent")
    throw new NotDone("a child sends to its parent while it runs: a child run gives its output at its end");
  if (target?.startsWith("#_") && target !== "#_internal")
    throw new NotDone("a parent sends to its child while it runs: a run takes events from outside only");
  const params = children.filter(({ name }) => name === "param");
  if (params.length < children.length) throw new NotDone("<content> in <send> is not converted");
  const event = (scope: Scope): Loose => {
    const read = (source: string): Loose => evaluate(`return (${source})`, scope, to);
    const data = params.map(({ attributes: param }) => [
      param["name"],
      read(param["expr"] ?? param["location"] ?? ""),
    ]);
    return {
      type: attributes["event"] ?? read(attributes["eventexpr"] ?? ""),
      ...(data.length > 0 ? { data: Object.fromEntries(data) } : {}),
    };
  };
  if (target === "#_internal") return raise(event as Loose);
  const id = attributes["id"] ?? `send${(to.number += 1)}`;
  const { delay, delayexpr } = attributes;
  if (delay === undefined && delayexpr === undefined)
    return sendTo(({ self }: Loose) => self, event as Loose, { id });
  return raise(event as Loose, {
    id,
    delay:
      delay === undefined
        ? (((scope: Scope) => milliseconds(evaluate(`return (${delayexpr})`, scope, to))) as Loose)
        : milliseconds(delay),
  });
}

function milliseconds(text: string): number {
  const [, number, unit] = /^\s*(\d*\.?\d+)\s*(ms|s)?\s*$/.exec(text) ?? [];
  if (number === undefined) throw new Error(`Cannot read the delay "${text}"`);
  return Number(number) * (unit === "s" ? 1_000 : 1);
}

function invokeOf({ attributes, children }: Element, to: Conversion): Loose {
  if (attributes["autoforward"] === "true") throw new NotDone("autoforward: XState 5 has none");
  const document = children.find(({ name }) => name === "content")?.children[0];
  if (!document) throw new NotDone("<invoke> without a document");
  const src = `invoked${(to.number += 1)}`;
  to.invoked[src] = convertElement(document);
  return { src, ...(attributes["id"] === undefined ? {} : { id: attributes["id"] }) };
}
