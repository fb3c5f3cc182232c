import { badRequest } from "../api/api-error.ts";
import { copyJson, isPlainObject, type PlainObject } from "./plain-object.ts";
import { resolve, type Schema } from "./schema.ts";

export interface DecodeResult {
  /** A fresh copy with null and unknown fields left out. */
  value: unknown;
  /** Paths that the schema does not know. */
  unknownFields: string[];
}

interface Decoding {
  kind: string;
  version: string;
  unknownFields: string[];
}

const INTEGER_LIMITS: Record<string, number> = { int32: 2 ** 31 - 1, int64: Number.MAX_SAFE_INTEGER };

/**
 * Reads JSON as a built-in kind, the way a typed decoder does: null means absent, an unknown field is dropped
 * and reported, a wrong type is a 400.
 */
export function decodeTyped(schema: Schema, input: unknown, kind: string, version: string): DecodeResult {
  const decoding: Decoding = { kind, version, unknownFields: [] };
  const value = decodeValue(resolve(schema), input, "", decoding);
  return { value, unknownFields: decoding.unknownFields };
}

function decodeValue(schema: Schema, input: unknown, path: string, decoding: Decoding): unknown {
  if (schema["x-kubernetes-int-or-string"]) {
    if (typeof input === "string" || typeof input === "number") return input;
    throw mismatch(
      input,
      path,
      schema.p === "quantity" ? "resource.Quantity" : "intstr.IntOrString",
      decoding,
    );
  }
  if (schema["x-kubernetes-preserve-unknown-fields"] || schema.type === undefined) {
    return copyJson(input);
  }
  switch (schema.type) {
    case "object":
      return decodeObject(schema, input, path, decoding);
    case "array": {
      if (!Array.isArray(input)) throw mismatch(input, path, "array", decoding);
      const items = resolve(schema.items ?? {});
      return input.map((item, index) => decodeValue(items, item, `${path}[${index}]`, decoding));
    }
    case "string":
      if (typeof input !== "string") throw mismatch(input, path, "string", decoding);
      return checkText(schema, input, path, decoding);
    case "boolean":
      if (typeof input !== "boolean") throw mismatch(input, path, "bool", decoding);
      return input;
    case "integer": {
      const limit = INTEGER_LIMITS[schema.format ?? "int64"] ?? Number.MAX_SAFE_INTEGER;
      if (typeof input !== "number" || !Number.isInteger(input) || Math.abs(input) > limit) {
        throw mismatch(input, path, schema.format ?? "int64", decoding);
      }
      return input;
    }
    default:
      if (typeof input !== "number") throw mismatch(input, path, "float64", decoding);
      return input;
  }
}

function decodeObject(schema: Schema, input: unknown, path: string, decoding: Decoding): PlainObject {
  if (!isPlainObject(input)) throw mismatch(input, path, "object", decoding);
  const output: PlainObject = {};
  const rest =
    typeof schema.additionalProperties === "object" ? resolve(schema.additionalProperties) : undefined;
  for (const [key, value] of Object.entries(input)) {
    const property =
      schema.properties && Object.hasOwn(schema.properties, key) ? schema.properties[key] : undefined;
    const child = property ? resolve(property) : rest;
    const childPath = path === "" ? key : `${path}.${key}`;
    if (!child) decoding.unknownFields.push(childPath);
    else if (value !== null) {
      Object.defineProperty(output, key, {
        value: decodeValue(child, value, childPath, decoding),
        enumerable: true,
        configurable: true,
        writable: true,
      });
    }
  }
  return output;
}

const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

function checkText(schema: Schema, input: string, path: string, decoding: Decoding): string {
  if (schema.format === "byte") {
    const text = input.replaceAll(/[\r\n]/g, "");
    if (text.length % 4 !== 0 || !BASE64.test(text)) {
      throw cannotHandle(decoding, `illegal base64 data in "${path}"`);
    }
    return text;
  }
  if (schema.format === "date-time") {
    if (input === "" || Number.isNaN(Date.parse(input))) {
      throw cannotHandle(decoding, `parsing time "${input}" in "${path}" as RFC 3339`);
    }
    // Typed clients send fractions of a second back for times that have none.
    return schema.p === "time" ? input.replace(/\.\d+(?=Z|[+-])/, "") : input;
  }
  return input;
}

const jsonKind = (input: unknown): string => {
  if (Array.isArray(input)) return "array";
  if (typeof input === "number") return Number.isInteger(input) ? "number" : `number ${input}`;
  return input === null ? "null" : typeof input === "boolean" ? "bool" : typeof input;
};

const cannotHandle = (decoding: Decoding, why: string) =>
  badRequest(
    `${decoding.kind} in version "${decoding.version}" cannot be handled as a ${decoding.kind}: ${why}`,
  );

function mismatch(input: unknown, path: string, wanted: string, decoding: Decoding) {
  const place = path === "" ? "value" : `struct field ${decoding.kind}.${path}`;
  return cannotHandle(
    decoding,
    `json: cannot unmarshal ${jsonKind(input)} into Go ${place} of type ${wanted}`,
  );
}
