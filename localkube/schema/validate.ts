import {
  duplicateField,
  type FieldError,
  invalidField,
  requiredField,
  typeField,
  unsupportedField,
} from "../api/api-error.ts";
import { formatFault } from "./formats.ts";
import { canonicalJson, childPath, isPlainObject, jsonEqual, type PlainObject } from "./plain-object.ts";
import { resolve, type Schema } from "./schema.ts";

const patterns = new Map<string, RegExp>();

/** RE2 syntax of schemas as a JavaScript expression; inline `(?i)` and `\z` are what differs in practice. */
export function compilePattern(pattern: string): RegExp {
  let compiled = patterns.get(pattern);
  if (!compiled) {
    const flags = /^\(\?([ims]+)\)/.exec(pattern);
    const body = (flags ? pattern.slice(flags[0].length) : pattern)
      .replaceAll("\\z", "$")
      .replaceAll("\\A", "^")
      .replaceAll("(?P<", "(?<");
    compiled = new RegExp(body, `u${flags?.[1] ?? ""}`);
    patterns.set(pattern, compiled);
  }
  return compiled;
}

const matches = (pattern: string, text: string): boolean => {
  try {
    return compilePattern(pattern).test(text);
  } catch {
    return new RegExp(pattern).test(text);
  }
};

/** Checks a value against a schema; every fault names its field. CEL rules are checked elsewhere. */
export function validateValue(schema: Schema, value: unknown, path = "", isRoot = path === ""): FieldError[] {
  const errors: FieldError[] = [];
  check(resolve(schema), value, path, errors, isRoot);
  return errors;
}

const jsonType = (value: unknown): string => {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "number";
  return typeof value;
};

function check(schema: Schema, value: unknown, path: string, errors: FieldError[], isResource = false): void {
  if (value === null && schema.nullable) return;
  if (schema["x-kubernetes-int-or-string"]) {
    if (typeof value !== "string" && !(typeof value === "number" && Number.isInteger(value))) {
      errors.push(
        typeField(
          path,
          jsonType(value),
          `${path} in body must be of type integer,string: "${jsonType(value)}"`,
        ),
      );
      return;
    }
  } else if (schema.type && !hasType(schema.type, value)) {
    errors.push(
      typeField(
        path,
        jsonType(value),
        `${path} in body must be of type ${schema.type}: "${jsonType(value)}"`,
      ),
    );
    return;
  }
  if (schema.enum && !schema.enum.some((allowed) => jsonEqual(allowed, value))) {
    errors.push(unsupportedField(path, value, schema.enum));
  }
  if (typeof value === "string") checkString(schema, value, path, errors);
  else if (typeof value === "number") checkNumber(schema, value, path, errors);
  else if (Array.isArray(value)) checkArray(schema, value, path, errors);
  else if (isPlainObject(value)) checkObject(schema, value, path, errors, isResource);
  checkLogic(schema, value, path, errors);
}

function hasType(type: string, value: unknown): boolean {
  switch (type) {
    case "object":
      return isPlainObject(value);
    case "array":
      return Array.isArray(value);
    case "integer":
      return typeof value === "number" && Number.isInteger(value);
    case "number":
      return typeof value === "number";
    default:
      return typeof value === type;
  }
}

const tooLong = (path: string, limit: number): FieldError => ({
  reason: "FieldValueTooLong",
  field: path,
  message: `Too long: may not be more than ${limit} bytes`,
});

const tooMany = (path: string, count: number, limit: number): FieldError => ({
  reason: "FieldValueTooMany",
  field: path,
  message: `Too many: ${count}: must have at most ${limit} items`,
});

function checkString(schema: Schema, value: string, path: string, errors: FieldError[]): void {
  const length =
    schema.maxLength === undefined && schema.minLength === undefined ? 0 : Array.from(value).length;
  if (schema.maxLength !== undefined && length > schema.maxLength)
    errors.push(tooLong(path, schema.maxLength));
  if (schema.minLength !== undefined && length < schema.minLength) {
    errors.push(
      invalidField(path, value, `${path} in body should be at least ${schema.minLength} chars long`),
    );
  }
  if (schema.pattern !== undefined && !matches(schema.pattern, value)) {
    errors.push(invalidField(path, value, `${path} in body should match '${schema.pattern}'`));
  }
  const fault = schema.format ? formatFault(schema.format, value) : undefined;
  if (fault) {
    errors.push(
      invalidField(path, value, `${path} in body must be of type ${schema.format}: ${JSON.stringify(value)}`),
    );
  }
}

function checkNumber(schema: Schema, value: number, path: string, errors: FieldError[]): void {
  const { minimum, maximum, multipleOf } = schema;
  if (minimum !== undefined && (schema.exclusiveMinimum ? value <= minimum : value < minimum)) {
    const relation = schema.exclusiveMinimum
      ? "should be greater than"
      : "should be greater than or equal to";
    errors.push(invalidField(path, value, `${path} in body ${relation} ${minimum}`));
  }
  if (maximum !== undefined && (schema.exclusiveMaximum ? value >= maximum : value > maximum)) {
    const relation = schema.exclusiveMaximum ? "should be less than" : "should be less than or equal to";
    errors.push(invalidField(path, value, `${path} in body ${relation} ${maximum}`));
  }
  if (multipleOf !== undefined && Math.abs(value / multipleOf - Math.round(value / multipleOf)) > 1e-9) {
    errors.push(invalidField(path, value, `${path} in body should be a multiple of ${multipleOf}`));
  }
  if (schema.format === "int32" && Math.abs(value) > 2 ** 31 - 1) {
    errors.push(invalidField(path, value, `${path} in body must be of type int32`));
  }
}

function checkArray(schema: Schema, value: unknown[], path: string, errors: FieldError[]): void {
  if (schema.maxItems !== undefined && value.length > schema.maxItems) {
    errors.push(tooMany(path, value.length, schema.maxItems));
  }
  if (schema.minItems !== undefined && value.length < schema.minItems) {
    errors.push(
      invalidField(path, value.length, `${path} in body should have at least ${schema.minItems} items`),
    );
  }
  const listType = schema["x-kubernetes-list-type"];
  if (listType === "set" || schema.uniqueItems) checkUnique(value, path, canonicalJson, errors);
  if (listType === "map") {
    const keys = schema["x-kubernetes-list-map-keys"] ?? [];
    checkUnique(
      value,
      path,
      (item) => canonicalJson(mapKey(item, keys)),
      errors,
      (item) => mapKey(item, keys),
    );
  }
  const items = schema.items && resolve(schema.items);
  if (items) {
    value.forEach((item, index) => {
      check(items, item, `${path}[${index}]`, errors, items["x-kubernetes-embedded-resource"] === true);
    });
  }
}

const mapKey = (item: unknown, keys: readonly string[]): PlainObject =>
  Object.fromEntries(keys.map((key) => [key, isPlainObject(item) ? item[key] : undefined]));

function checkUnique(
  value: unknown[],
  path: string,
  identify: (item: unknown) => string,
  errors: FieldError[],
  shown: (item: unknown) => unknown = (item) => item,
): void {
  const seen = new Set<string>();
  value.forEach((item, index) => {
    const id = identify(item);
    if (seen.has(id)) errors.push(duplicateField(`${path}[${index}]`, shown(item)));
    seen.add(id);
  });
}

function checkObject(
  schema: Schema,
  value: PlainObject,
  path: string,
  errors: FieldError[],
  isResource: boolean,
): void {
  const keys = Object.keys(value);
  if (schema.maxProperties !== undefined && keys.length > schema.maxProperties) {
    errors.push(tooMany(path, keys.length, schema.maxProperties));
  }
  if (schema.minProperties !== undefined && keys.length < schema.minProperties) {
    errors.push(
      invalidField(
        path,
        keys.length,
        `${path} in body should have at least ${schema.minProperties} properties`,
      ),
    );
  }
  for (const name of schema.required ?? []) {
    if (!Object.hasOwn(value, name) || value[name] === undefined)
      errors.push(requiredField(childPath(path, name)));
  }
  for (const key of keys) {
    if (isResource && key === "metadata" && path === "") continue;
    const property =
      schema.properties && Object.hasOwn(schema.properties, key) ? schema.properties[key] : undefined;
    const child =
      property ?? (typeof schema.additionalProperties === "object" ? schema.additionalProperties : undefined);
    if (!child) continue;
    const target = resolve(child);
    check(
      target,
      value[key],
      childPath(path, key),
      errors,
      target["x-kubernetes-embedded-resource"] === true,
    );
  }
}

function checkLogic(schema: Schema, value: unknown, path: string, errors: FieldError[]): void {
  const holds = (candidate: Schema): boolean => validateValue(candidate, value, path, false).length === 0;
  for (const part of schema.allOf ?? []) errors.push(...validateValue(part, value, path, false));
  if (schema.anyOf && !schema.anyOf.some(holds)) {
    errors.push(invalidField(path, value, `${path} in body must validate at least one schema (anyOf)`));
  }
  if (schema.oneOf) {
    const count = schema.oneOf.filter(holds).length;
    if (count !== 1) {
      const found = count === 0 ? "Found none valid" : `Found ${count} valid alternatives`;
      errors.push(
        invalidField(path, value, `${path} in body must validate one and only one schema (oneOf). ${found}`),
      );
    }
  }
  if (schema.not && holds(schema.not)) {
    errors.push(invalidField(path, value, `${path} in body must not validate the schema (not)`));
  }
}
