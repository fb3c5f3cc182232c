import { type FieldError, forbiddenField, invalidField, requiredField } from "../api/api-error.ts";
import { compileRules } from "./cel-rules.ts";
import { isPlainObject } from "./plain-object.ts";
import type { Schema } from "./schema.ts";
import { compilePattern, validateValue } from "./validate.ts";

const TYPES = new Set(["object", "array", "string", "integer", "number", "boolean"]);
const FORBIDDEN = [
  "$ref",
  "definitions",
  "dependencies",
  "deprecated",
  "discriminator",
  "id",
  "patternProperties",
  "readOnly",
  "writeOnly",
  "xml",
];

/** Why a CRD's schema is not structural or holds a rule that does not compile; every fault with its path. */
export function structuralFaults(schema: Schema, path: string): FieldError[] {
  const errors: FieldError[] = [];
  checkNode(schema, path, errors);
  return errors;
}

function checkNode(schema: Schema, path: string, errors: FieldError[]): void {
  const open =
    schema["x-kubernetes-preserve-unknown-fields"] === true || schema["x-kubernetes-int-or-string"] === true;
  if (schema.type === undefined) {
    if (!open) errors.push(requiredField(`${path}.type`, "must not be empty for specified object fields"));
  } else if (!TYPES.has(schema.type)) {
    errors.push({
      reason: "FieldValueNotSupported",
      field: `${path}.type`,
      message: `Unsupported value: ${JSON.stringify(schema.type)}: supported values: "array", "boolean", "integer", "number", "object", "string"`,
    });
  }
  for (const name of FORBIDDEN)
    if (Object.hasOwn(schema, name))
      errors.push(forbiddenField(`${path}.${name}`, `${name} is not supported`));
  if (schema.uniqueItems === true)
    errors.push(
      forbiddenField(
        `${path}.uniqueItems`,
        "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
      ),
    );
  if (
    schema.properties &&
    schema.additionalProperties !== undefined &&
    schema.additionalProperties !== false
  ) {
    errors.push(
      forbiddenField(
        `${path}.additionalProperties`,
        "additionalProperties and properties are mutual exclusive",
      ),
    );
  }
  if (schema.type === "array" && !isPlainObject(schema.items) && !open)
    errors.push(requiredField(`${path}.items`, "must be specified"));
  checkList(schema, path, errors);
  checkPattern(schema, path, errors);
  checkDefault(schema, path, errors);
  checkRulesOf(schema, path, errors);
  for (const [name, child] of Object.entries(schema.properties ?? {}))
    checkNode(child, `${path}.properties[${name}]`, errors);
  if (isPlainObject(schema.items)) checkNode(schema.items, `${path}.items`, errors);
  if (isPlainObject(schema.additionalProperties))
    checkNode(schema.additionalProperties, `${path}.additionalProperties`, errors);
}

function checkList(schema: Schema, path: string, errors: FieldError[]): void {
  const listType = schema["x-kubernetes-list-type"];
  const keys = schema["x-kubernetes-list-map-keys"];
  if (listType === "map") {
    if (!keys || keys.length === 0)
      errors.push(
        requiredField(
          `${path}.x-kubernetes-list-map-keys`,
          "must not be empty if x-kubernetes-list-type is map",
        ),
      );
    for (const key of keys ?? []) {
      const property = schema.items?.properties?.[key];
      if (!property)
        errors.push(
          invalidField(
            `${path}.x-kubernetes-list-map-keys`,
            key,
            "entries must all be names of item properties",
          ),
        );
      else if (!schema.items?.required?.includes(key) && property.default === undefined) {
        errors.push(
          requiredField(
            `${path}.items.properties[${key}].default`,
            "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
          ),
        );
      }
    }
  } else if (keys && keys.length > 0) {
    errors.push(
      forbiddenField(`${path}.x-kubernetes-list-map-keys`, "forbidden unless x-kubernetes-list-type is map"),
    );
  }
}

function checkPattern(schema: Schema, path: string, errors: FieldError[]): void {
  if (schema.pattern === undefined) return;
  try {
    compilePattern(schema.pattern);
  } catch {
    try {
      RegExp(schema.pattern);
    } catch (error) {
      errors.push(
        invalidField(
          `${path}.pattern`,
          schema.pattern,
          `must be a valid regular expression: ${error instanceof Error ? error.message : ""}`,
        ),
      );
    }
  }
}

function checkDefault(schema: Schema, path: string, errors: FieldError[]): void {
  if (schema.default === undefined) return;
  for (const fault of validateValue(schema, schema.default, "", false)) {
    errors.push(
      invalidField(`${path}.default${fault.field ? `.${fault.field}` : ""}`, schema.default, fault.message),
    );
  }
}

function checkRulesOf(schema: Schema, path: string, errors: FieldError[]): void {
  const rules = schema["x-kubernetes-validations"];
  if (rules === undefined) return;
  rules.forEach((rule, index) => {
    if (typeof rule.rule !== "string" || rule.rule.trim() === "")
      errors.push(requiredField(`${path}.x-kubernetes-validations[${index}].rule`, "rule is not specified"));
    if (rule.message?.includes("\n"))
      errors.push(
        invalidField(
          `${path}.x-kubernetes-validations[${index}].message`,
          rule.message,
          "message must not contain line breaks",
        ),
      );
  });
  try {
    compileRules(schema);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    const index = Math.max(
      0,
      rules.findIndex((rule) => !compiles({ ...schema, "x-kubernetes-validations": [rule] })),
    );
    errors.push(
      invalidField(
        `${path}.x-kubernetes-validations[${index}].rule`,
        rules[index]?.rule,
        `compilation failed: ${why}`,
      ),
    );
  }
}

function compiles(schema: Schema): boolean {
  try {
    compileRules(schema);
    return true;
  } catch {
    return false;
  }
}
