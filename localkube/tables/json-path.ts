import { isPlainObject } from "../schema/plain-object.ts";

type Step =
  | { kind: "key"; name: string }
  | { kind: "index"; index: number }
  | { kind: "all" }
  | { kind: "filter"; path: string[]; operator: "==" | "!="; value: unknown };

/**
 * Compiles the part of JSONPath that printer columns use: `.a.b`, `['a']`, `[0]`, `[*]`,
 * `[?(@.type=="Ready")]`. Throws on anything else.
 */
export function compileJsonPath(path: string): (object: unknown) => unknown[] {
  const steps = parseSteps(path.startsWith("$") ? path.slice(1) : path);
  return (object) =>
    steps.reduce<unknown[]>((values, step) => values.flatMap((value) => take(step, value)), [object]);
}

const TOKEN =
  /^(?:\.([A-Za-z_$][\w$-]*|\*)|\[(-?\d+)\]|\[\*\]|\[(['"])((?:(?!\3).)*)\3\]|\[\?\(\s*@((?:\.[\w-]+)+)\s*(==|!=)\s*("[^"]*"|'[^']*'|[^)\s]+)\s*\)\])/;

function parseSteps(path: string): Step[] {
  const steps: Step[] = [];
  let rest = path.replaceAll("\\.", "\u0000");
  while (rest !== "" && rest !== ".") {
    const match = TOKEN.exec(rest) ?? /^\.([^.[\]]+)/.exec(rest);
    if (!match) throw new Error(`invalid JSONPath "${path}" at "${rest}"`);
    const [text, key, index, , quoted, filter, operator, value] = match;
    rest = rest.slice(text.length);
    if (key !== undefined)
      steps.push(key === "*" ? { kind: "all" } : { kind: "key", name: key.replaceAll("\u0000", ".") });
    else if (index !== undefined) steps.push({ kind: "index", index: Number(index) });
    else if (quoted !== undefined) steps.push({ kind: "key", name: quoted.replaceAll("\u0000", ".") });
    else if (filter !== undefined) {
      steps.push({
        kind: "filter",
        path: filter.slice(1).split("."),
        operator: operator === "!=" ? "!=" : "==",
        value: literal(value ?? ""),
      });
    } else steps.push({ kind: "all" });
  }
  return steps;
}

function literal(text: string): unknown {
  if (/^(['"]).*\1$/.test(text)) return text.slice(1, -1);
  if (text === "true" || text === "false") return text === "true";
  return Number.isNaN(Number(text)) ? text : Number(text);
}

function take(step: Step, value: unknown): unknown[] {
  switch (step.kind) {
    case "key":
      return isPlainObject(value) && Object.hasOwn(value, step.name) ? [value[step.name]] : [];
    case "index": {
      const item: unknown = Array.isArray(value) ? value.at(step.index) : undefined;
      return item === undefined ? [] : [item];
    }
    case "all":
      return Array.isArray(value) ? value : isPlainObject(value) ? Object.values(value) : [];
    default:
      return (Array.isArray(value) ? value : []).filter((item) => {
        let found: unknown = item;
        for (const part of step.path) found = isPlainObject(found) ? found[part] : undefined;
        return (found === step.value) === (step.operator === "==");
      });
  }
}
