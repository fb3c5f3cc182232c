import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Json } from "../store/kube-object.ts";

export interface ValidationRule {
  rule: string;
  message?: string;
  messageExpression?: string;
  reason?: string;
  fieldPath?: string;
  optionalOldSelf?: boolean;
}

/** What structural CRD schemas and the definitions of the built-in kinds have in common. */
export interface Schema {
  $ref?: string;
  description?: string;
  type?: string;
  format?: string;
  title?: string;
  properties?: Record<string, Schema>;
  items?: Schema;
  additionalProperties?: Schema | boolean;
  required?: string[];
  enum?: Json[];
  default?: Json;
  nullable?: boolean;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: boolean;
  exclusiveMaximum?: boolean;
  multipleOf?: number;
  minLength?: number;
  maxLength?: number;
  pattern?: string;
  minItems?: number;
  maxItems?: number;
  uniqueItems?: boolean;
  minProperties?: number;
  maxProperties?: number;
  allOf?: Schema[];
  anyOf?: Schema[];
  oneOf?: Schema[];
  not?: Schema;
  "x-kubernetes-preserve-unknown-fields"?: boolean;
  "x-kubernetes-embedded-resource"?: boolean;
  "x-kubernetes-int-or-string"?: boolean;
  "x-kubernetes-list-type"?: "atomic" | "set" | "map";
  "x-kubernetes-list-map-keys"?: string[];
  "x-kubernetes-map-type"?: "atomic" | "granular";
  "x-kubernetes-validations"?: ValidationRule[];
  "x-kubernetes-patch-merge-key"?: string;
  "x-kubernetes-patch-strategy"?: string;
  /** Built-in kinds only: protobuf field number, protobuf special form, embedded messages by field number. */
  n?: number;
  p?: "time" | "microtime" | "duration" | "fields" | "quantity" | "intorstring" | "raw" | "slice";
  inline?: Record<string, string>;
}

const definitions: Record<string, Schema> = JSON.parse(
  readFileSync(join(import.meta.dirname, "core-kinds.json"), "utf8"),
);

/** All definitions of the built-in kinds, by their full name (`io.k8s.api.core.v1.Pod`). */
export const coreDefinitions: Readonly<Record<string, Schema>> = definitions;

export const OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/** The definition with this name; throws on an unknown name, which is a fault of this program. */
export function definition(name: string): Schema {
  const found = definitions[name];
  if (!found) throw new Error(`No definition "${name}" among the built-in kinds`);
  return found;
}

/** Follows a reference. */
export function resolve(schema: Schema): Schema {
  return schema.$ref === undefined ? schema : definition(schema.$ref);
}

/** The schema of one property or map value; undefined when the schema does not describe it. */
export function childSchema(schema: Schema | undefined, key: string): Schema | undefined {
  if (!schema) return undefined;
  const resolved = resolve(schema);
  const own =
    resolved.properties && Object.hasOwn(resolved.properties, key) ? resolved.properties[key] : undefined;
  if (own) return resolve(own);
  const rest = resolved.additionalProperties;
  return typeof rest === "object" ? resolve(rest) : undefined;
}
