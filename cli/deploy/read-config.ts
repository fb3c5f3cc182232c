import { type Expression, type ObjectExpression, parseSync, type Program } from "oxc-parser";
import type { z } from "zod";
import type { FunctionConfig } from "../../api/function-config.ts";
import { CliError } from "../command.ts";

/** A place in a file, for messages. */
const place = (file: string, code: string, offset: number): string => {
  const before = code.slice(0, offset).split("\n");
  return `${file}:${before.length}:${(before.at(-1)?.length ?? 0) + 1}`;
};

export interface ParsedModule<Config = z.infer<typeof FunctionConfig>> {
  config: Config;
  /** Specifiers of everything imported, statically or by a literal `import()`, without type-only imports. */
  imports: string[];
  /** Literal arguments of `new URL("./x", import.meta.url)`: assets beside the code. */
  assets: string[];
}

/** Parses a module; reads `config` without running anything. @throws {CliError} naming file, line and column. */
export function parseModule<Config = z.infer<typeof FunctionConfig>>(
  file: string,
  code: string,
  schema: z.ZodType<Config>,
): ParsedModule<Config> {
  const parsed = parseSync(file, code);
  const [failure] = parsed.errors.filter((error) => /Error/.test(error.severity));
  if (failure)
    throw new CliError(`Cannot read ${place(file, code, failure.labels[0]?.start ?? 0)}: ${failure.message}`);
  const imports: string[] = [];
  for (const { moduleRequest, entries } of parsed.module.staticImports) {
    if (entries.length === 0 || entries.some((entry) => !entry.isType)) imports.push(moduleRequest.value);
  }
  for (const { entries } of parsed.module.staticExports) {
    for (const entry of entries)
      if (entry.moduleRequest && !entry.isType) imports.push(entry.moduleRequest.value);
  }
  for (const { moduleRequest } of parsed.module.dynamicImports) {
    const literal = /^["'`]([^"'`$]+)["'`]$/.exec(code.slice(moduleRequest.start, moduleRequest.end))?.[1];
    if (literal) imports.push(literal);
  }
  for (const match of code.matchAll(/\brequire\(\s*["']([^"']+)["']\s*\)/g))
    if (match[1]) imports.push(match[1]);
  const assets = [...code.matchAll(/new URL\(\s*["'`]([^"'`$]+)["'`]\s*,\s*import\.meta\.url\s*\)/g)].map(
    (match) => match[1] ?? "",
  );
  return { config: readConfig(file, code, parsed.program, schema), imports: [...new Set(imports)], assets };
}

function configNode(program: Program): Expression | undefined {
  for (const statement of program.body) {
    if (statement.type !== "ExportNamedDeclaration" || statement.declaration?.type !== "VariableDeclaration")
      continue;
    for (const { id, init } of statement.declaration.declarations) {
      if (id.type === "Identifier" && id.name === "config" && init) return init;
    }
  }
  return undefined;
}

function readConfig<Config>(file: string, code: string, program: Program, schema: z.ZodType<Config>): Config {
  const node = configNode(program);
  if (!node) return schema.parse({});
  const value = literal(node, (offset, problem) => {
    throw new CliError(
      `Cannot read config at ${place(file, code, offset)}: ${problem}; it is read without running the code, so only literals are allowed`,
    );
  });
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const { path, message } = telling(result.error.issues[0]);
  throw new CliError(
    `Cannot use config at ${place(file, code, node.start)}: ${path.length > 0 ? `"${path.join(".")}": ` : ""}${message}${gotText(value, path)}`,
  );
}

const MAX_SHOWN = 80;

/** `, got …` with the value at a path; nothing for what holds further values. */
function gotText(value: unknown, path: readonly PropertyKey[]): string {
  let at = value;
  for (const key of path) {
    if (typeof at !== "object" || at === null || !Object.hasOwn(at, key)) return "";
    at = Reflect.get(at, key);
  }
  if (typeof at === "object" && at !== null) return Array.isArray(at) && at.length === 0 ? ", got []" : "";
  const shown = JSON.stringify(at) ?? "undefined";
  return `, got ${shown.length > MAX_SHOWN ? `${shown.slice(0, MAX_SHOWN)}…` : shown}`;
}

interface Telling {
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

/** What an issue says: of a union, what the branch says that fits best. */
function telling(issue: z.core.$ZodIssue | undefined): Telling {
  if (issue?.code !== "invalid_union")
    return { path: issue?.path ?? [], message: issue?.message ?? "is not valid" };
  const branches = issue.errors.flatMap((errors) =>
    errors[0] ? [{ first: errors[0], faults: errors.length, ...telling(errors[0]) }] : [],
  );
  const [deepest] = branches.toSorted(
    (a, b) =>
      Math.sign(b.path.length) - Math.sign(a.path.length) ||
      a.faults - b.faults ||
      b.path.length - a.path.length,
  );
  if (deepest && deepest.path.length > 0)
    return { path: [...issue.path, ...deepest.path], message: deepest.message };
  // What is of another type altogether was not meant.
  const meant = branches.filter(({ first }) => first.code !== "invalid_type");
  const messages = (meant.length > 0 ? meant : branches).map(({ message }) => message);
  return { path: issue.path, message: [...new Set(messages)].join("; or ") };
}

type Refuse = (offset: number, problem: string) => never;

/** The value of a static literal expression. */
function literal(node: Expression, refuse: Refuse): unknown {
  switch (node.type) {
    case "Literal":
      if ("regex" in node && node.regex) return refuse(node.start, "a regular expression is no literal");
      return node.value;
    case "TemplateLiteral":
      if (node.expressions.length > 0) return refuse(node.start, "a template with ${} is no literal");
      return node.quasis[0]?.value.cooked ?? "";
    case "UnaryExpression":
      if (
        (node.operator === "-" || node.operator === "+") &&
        node.argument.type === "Literal" &&
        typeof node.argument.value === "number"
      ) {
        return node.operator === "-" ? -node.argument.value : node.argument.value;
      }
      return refuse(node.start, `the operator ${node.operator} is no literal`);
    case "Identifier":
      if (node.name === "undefined") return undefined;
      return refuse(node.start, `the variable "${node.name}" is no literal`);
    case "ArrayExpression":
      return node.elements.map((element) =>
        element === null || element.type === "SpreadElement"
          ? refuse(node.start, "holes and spreads are no literals")
          : literal(element, refuse),
      );
    case "ObjectExpression":
      return objectLiteral(node, refuse);
    case "TSAsExpression":
    case "TSSatisfiesExpression":
    case "TSTypeAssertion":
    case "TSNonNullExpression":
    case "ParenthesizedExpression":
      return literal(node.expression, refuse);
    default:
      return refuse(node.start, `${node.type} is no literal`);
  }
}

function objectLiteral(node: ObjectExpression, refuse: Refuse): Record<string, unknown> {
  const value: Record<string, unknown> = {};
  for (const property of node.properties) {
    if (property.type === "SpreadElement") return refuse(property.start, "a spread is no literal");
    if (property.computed || property.method || property.shorthand || property.kind !== "init")
      return refuse(property.start, "only `key: value` is allowed");
    const key =
      property.key.type === "Identifier"
        ? property.key.name
        : property.key.type === "Literal"
          ? String(property.key.value)
          : refuse(property.start, "this key is no literal");
    Object.defineProperty(value, key, {
      value: literal(property.value, (offset, problem) => refuse(offset, `"${key}": ${problem}`)),
      enumerable: true,
      writable: true,
      configurable: true,
    });
  }
  return value;
}
