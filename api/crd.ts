import { z } from "zod";
import type { KindDefinition, PrinterColumn } from "./kinds/index.ts";
import { API_GROUP, API_VERSION } from "./names.ts";

/** A JSON schema node as CRDs have it. */
export interface SchemaNode {
  type?: string;
  description?: string;
  format?: string;
  properties?: Record<string, SchemaNode>;
  items?: SchemaNode;
  additionalProperties?: SchemaNode | boolean;
  enum?: unknown[];
  maxLength?: number;
  maxItems?: number;
  [keyword: string]: unknown;
}

const STRUCTURAL = new Set([
  "type",
  "format",
  "description",
  "properties",
  "items",
  "additionalProperties",
  "required",
  "enum",
  "default",
  "nullable",
  "minimum",
  "maximum",
  "exclusiveMinimum",
  "exclusiveMaximum",
  "multipleOf",
  "minLength",
  "maxLength",
  "pattern",
  "minItems",
  "maxItems",
  "uniqueItems",
  "minProperties",
  "maxProperties",
]);

const refuse = (path: string, problem: string): never => {
  throw new TypeError(`Cannot generate a CRD: ${path} ${problem}`);
};

/** Turns what zod emits into what a CRD accepts, and refuses what a CRD cannot say. Changes `node` in place. */
function makeStructural(node: SchemaNode, path: string): void {
  if (node["x-kubernetes-preserve-unknown-fields"]) {
    delete node.additionalProperties;
    if (node.properties && Object.keys(node.properties).length === 0) delete node.properties;
  }
  if (node["x-kubernetes-int-or-string"]) {
    delete node.type;
    return;
  }
  const preserved = node["x-kubernetes-preserve-unknown-fields"] === true;
  if (!node.type && !preserved)
    refuse(path, 'has no "type": use one optional field per variant, not a union');
  for (const key of Object.keys(node)) {
    if (!STRUCTURAL.has(key) && !key.startsWith("x-kubernetes-"))
      refuse(path, `uses the keyword "${key}", which is not structural`);
  }
  if (node.additionalProperties === false) delete node.additionalProperties;
  if (node.properties && node.additionalProperties !== undefined)
    refuse(path, "has both properties and additionalProperties");
  if (node.type === "string" && !node.enum && !node.format && node.maxLength === undefined)
    refuse(path, "is a string without maxLength");
  if (node.type === "array" && node.maxItems === undefined) refuse(path, "is an array without maxItems");
  for (const [key, child] of Object.entries(node.properties ?? {})) makeStructural(child, `${path}.${key}`);
  if (node.items) makeStructural(node.items, `${path}[]`);
  if (typeof node.additionalProperties === "object") makeStructural(node.additionalProperties, `${path}{}`);
}

/**
 * The structural schema (OpenAPI v3, Kubernetes' subset) of a zod schema.
 * @throws {TypeError} naming the place, when the schema says something that a CRD cannot.
 */
export function structuralSchema(schema: z.ZodType, path: string): SchemaNode {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- zod types its output more loosely than the OpenAPI target is
  const node = z.toJSONSchema(schema, { target: "openapi-3.0", io: "input" }) as SchemaNode;
  delete node.$schema;
  makeStructural(node, path);
  return node;
}

const printerColumn = ({ name, type, jsonPath, priority }: PrinterColumn) => ({
  name,
  type,
  jsonPath,
  ...(priority ? { priority } : {}),
});

/** The CustomResourceDefinition of a kind. */
export function customResourceDefinition(kind: KindDefinition): Record<string, unknown> {
  const properties: Record<string, SchemaNode> = {
    apiVersion: { type: "string" },
    kind: { type: "string" },
    metadata: { type: "object" },
    spec: structuralSchema(kind.spec, `${kind.kind}.spec`),
  };
  if (kind.status) properties.status = structuralSchema(kind.status, `${kind.kind}.status`);
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${kind.plural}.${API_GROUP}` },
    spec: {
      group: API_GROUP,
      scope: kind.scope,
      names: {
        kind: kind.kind,
        listKind: `${kind.kind}List`,
        plural: kind.plural,
        singular: kind.singular,
        ...(kind.shortNames.length ? { shortNames: kind.shortNames } : {}),
        categories: ["isotope"],
      },
      versions: [
        {
          name: API_VERSION,
          served: true,
          storage: true,
          ...(kind.status ? { subresources: { status: {} } } : {}),
          additionalPrinterColumns: kind.columns.map(printerColumn),
          schema: {
            openAPIV3Schema: {
              type: "object",
              description: kind.description,
              required: ["spec"],
              properties,
            },
          },
        },
      ],
    },
  };
}
