import { isPlainObject, type PlainObject, setOwn } from "./plain-object.ts";
import { resolve, type Schema } from "./schema.ts";

const RESERVED = new Set(
  "true false null in as break const continue else for function if import let loop package namespace return var void while".split(
    " ",
  ),
);

/** The identifier by which a rule reaches a property whose name is not one. */
export function celName(name: string): string {
  if (RESERVED.has(name)) return `__${name}__`;
  return name
    .replaceAll("__", "__underscores__")
    .replaceAll(".", "__dot__")
    .replaceAll("-", "__dash__")
    .replaceAll("/", "__slash__");
}

/** A JSON value as CEL sees it under its schema: integers are ints, formatted strings their own types. */
export function toCelValue(schema: Schema | undefined, value: unknown): unknown {
  if (typeof value === "number") {
    return schema?.type === "number" ? value : Number.isInteger(value) ? BigInt(value) : value;
  }
  if (typeof value === "string") return toCelText(schema, value);
  if (Array.isArray(value)) {
    const items = schema?.items && resolve(schema.items);
    return value.map((item) => toCelValue(items, item));
  }
  if (!isPlainObject(value)) return value;
  const output: PlainObject = {};
  const rest =
    typeof schema?.additionalProperties === "object" ? resolve(schema.additionalProperties) : undefined;
  for (const [key, item] of Object.entries(value)) {
    const property =
      schema?.properties && Object.hasOwn(schema.properties, key) ? schema.properties[key] : undefined;
    if (property) setOwn(output, celName(key), toCelValue(resolve(property), item));
    else setOwn(output, key, toCelValue(rest, item));
  }
  return output;
}

function toCelText(schema: Schema | undefined, value: string): unknown {
  if (schema?.format === "date-time" || schema?.format === "date") {
    const time = new Date(value);
    return Number.isNaN(time.getTime()) ? value : time;
  }
  if (schema?.format === "byte") return new Uint8Array(Buffer.from(value, "base64"));
  return value;
}
