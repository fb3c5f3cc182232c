import { Optional, type Environment } from "@marcbachmann/cel-js";
import {
  duplicateField,
  type FieldError,
  forbiddenField,
  invalidField,
  requiredField,
} from "../api/api-error.ts";
import type { KubeObject } from "../store/kube-object.ts";
import { celEnvironment } from "./cel-environment.ts";
import { toCelValue } from "./cel-value.ts";
import { canonicalJson, childPath, isPlainObject } from "./plain-object.ts";
import { resolve, type Schema, type ValidationRule } from "./schema.ts";

type Evaluate = (context: Record<string, unknown>) => unknown;

interface CompiledRule {
  rule: ValidationRule;
  evaluate: Evaluate;
  message: Evaluate | undefined;
  isTransition: boolean;
}

const environments = new Map<string, Environment>();
const compiled = new WeakMap<Schema, CompiledRule[]>();
const ruled = new WeakMap<Schema, boolean>();

/** Compiles the rules of one schema node. Throws on a rule that is not valid CEL or not boolean. */
export function compileRules(schema: Schema): CompiledRule[] {
  const known = compiled.get(schema);
  if (known) return known;
  const rules = (schema["x-kubernetes-validations"] ?? []).map((rule): CompiledRule => {
    const env = environmentFor(rule.optionalOldSelf === true ? "optional<dyn>" : "dyn");
    const parsed = parse(env, rule.rule, ["bool", "dyn"]);
    const message = rule.messageExpression
      ? parse(env, rule.messageExpression, ["string", "dyn"])
      : undefined;
    return { rule, evaluate: parsed, message, isTransition: /\boldSelf\b/.test(rule.rule) };
  });
  compiled.set(schema, rules);
  return rules;
}

function environmentFor(oldSelfType: "dyn" | "optional<dyn>"): Environment {
  const env = environments.get(oldSelfType) ?? celEnvironment(oldSelfType);
  environments.set(oldSelfType, env);
  return env;
}

function parse(env: Environment, expression: string, results: readonly string[]): Evaluate {
  const parsed = env.parse(expression);
  const checked = parsed.check();
  if (!checked.valid) throw new Error(checked.error?.message ?? "compilation failed");
  if (!results.includes(String(checked.type))) {
    throw new Error(`expression must evaluate to ${results[0]}, got ${String(checked.type)}`);
  }
  return (context) => parsed(context);
}

/** Whether there is any rule at or below a node, so that subtrees without one are never walked. */
function hasRules(schema: Schema): boolean {
  const target = resolve(schema);
  const known = ruled.get(target);
  if (known !== undefined) return known;
  ruled.set(target, false);
  const below =
    (target["x-kubernetes-validations"]?.length ?? 0) > 0 ||
    Object.values(target.properties ?? {}).some(hasRules) ||
    (target.items !== undefined && hasRules(target.items)) ||
    (typeof target.additionalProperties === "object" && hasRules(target.additionalProperties));
  ruled.set(target, below);
  return below;
}

/** Runs the `x-kubernetes-validations` of a CRD's schema; transition rules only where there is an old value. */
export function checkRules(schema: Schema, object: KubeObject, old: KubeObject | undefined): FieldError[] {
  const errors: FieldError[] = [];
  if (hasRules(schema)) checkNode(schema, object, old, "", errors);
  return errors;
}

function checkNode(schema: Schema, value: unknown, old: unknown, path: string, errors: FieldError[]): void {
  const target = resolve(schema);
  if (!hasRules(target) || value === undefined || value === null) return;
  const rules = compileRules(target);
  if (rules.length > 0) runRules(rules, target, value, old, path, errors);
  if (Array.isArray(value)) {
    const { items } = target;
    if (!items) return;
    const oldItem = correlate(target, old);
    value.forEach((item, index) => checkNode(items, item, oldItem(item), `${path}[${index}]`, errors));
    return;
  }
  if (!isPlainObject(value)) return;
  const before = isPlainObject(old) ? old : {};
  for (const [key, item] of Object.entries(value)) {
    const property =
      target.properties && Object.hasOwn(target.properties, key) ? target.properties[key] : undefined;
    const child =
      property ?? (typeof target.additionalProperties === "object" ? target.additionalProperties : undefined);
    const previous = Object.hasOwn(before, key) ? before[key] : undefined;
    if (child) checkNode(child, item, previous, childPath(path, key), errors);
  }
}

/** Finds the old counterpart of a list item: only items of `map` lists have an identity. */
function correlate(schema: Schema, old: unknown): (item: unknown) => unknown {
  const keys = schema["x-kubernetes-list-map-keys"];
  if (schema["x-kubernetes-list-type"] !== "map" || !keys || !Array.isArray(old)) return () => undefined;
  const identify = (item: unknown): string =>
    canonicalJson(keys.map((key) => (isPlainObject(item) ? item[key] : undefined) ?? null));
  const byKey = new Map(old.map((item: unknown) => [identify(item), item]));
  return (item) => byKey.get(identify(item));
}

function runRules(
  rules: CompiledRule[],
  schema: Schema,
  value: unknown,
  old: unknown,
  path: string,
  errors: FieldError[],
): void {
  const self = toCelValue(schema, value);
  const hasOld = old !== undefined && old !== null;
  const oldSelf = hasOld ? toCelValue(schema, old) : undefined;
  for (const rule of rules) {
    const { optionalOldSelf } = rule.rule;
    if (rule.isTransition && !hasOld && !optionalOldSelf) continue;
    const context = {
      self,
      oldSelf: optionalOldSelf ? (hasOld ? Optional.of(oldSelf) : Optional.none()) : (oldSelf ?? null),
    };
    const fault = runRule(rule, context);
    if (fault !== undefined) errors.push(ruleError(rule.rule, schema, path, fault));
  }
}

/** Why the rule does not hold; undefined when it does. */
function runRule(rule: CompiledRule, context: Record<string, unknown>): string | undefined {
  try {
    if (rule.evaluate(context) === true) return undefined;
  } catch (error) {
    const why = error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error);
    return `rule evaluation error: ${why} evaluating rule: ${rule.rule.message ?? rule.rule.rule}`;
  }
  if (rule.message) {
    try {
      const text = rule.message(context);
      if (typeof text === "string" && text.trim() !== "" && !text.includes("\n")) return text.trim();
    } catch {
      // A message that cannot be made falls back to the fixed one.
    }
  }
  return rule.rule.message?.trim() ?? `failed rule: ${rule.rule.rule}`;
}

function ruleError(rule: ValidationRule, schema: Schema, path: string, message: string): FieldError {
  const relative = (rule.fieldPath ?? "").replaceAll(/\['([^']*)'\]/g, "[$1]");
  const field = `${path}${relative}`.replace(/^\./, "") || "<nil>";
  switch (rule.reason) {
    case "FieldValueForbidden":
      return forbiddenField(field, message);
    case "FieldValueRequired":
      return requiredField(field, message);
    case "FieldValueDuplicate":
      return duplicateField(field, schema.type ?? "object");
    default:
      return invalidField(field, schema.type ?? "object", message);
  }
}
