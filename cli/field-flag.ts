import type { z } from "zod";
import { type SchemaNode, structuralSchema } from "../api/crd.ts";
import { CliError, type Flag } from "./command.ts";

const schemas = new WeakMap<z.ZodType, SchemaNode>();

/** The schema node of a field, by its dotted path. */
function nodeAt(schema: z.ZodType, path: string): SchemaNode {
  let node = schemas.get(schema);
  if (!node) {
    node = structuralSchema(schema, "spec");
    schemas.set(schema, node);
  }
  for (const name of path.split(".")) {
    const next: SchemaNode | undefined = node.properties?.[name];
    if (!next) throw new CliError(`A flag refers to the field "${path}", which does not exist`);
    node = next;
  }
  return node;
}

/**
 * A flag that sets a field of a kind's spec: its help, bounds and choices are the field's own, so that they cannot differ.
 * `more` adds names and a default, or overrides the help.
 */
export function fieldFlag<const More extends Partial<Flag> & Pick<Flag, "type">>(
  schema: z.ZodType,
  path: string,
  more: More,
): More & { help: string } {
  const node = nodeAt(schema, path);
  const bounds: Partial<Flag> = {};
  if (more.type === "integer") {
    if (node.minimum !== undefined) bounds.min = Number(node.minimum);
    if (node.maximum !== undefined && Number(node.maximum) < Number.MAX_SAFE_INTEGER)
      bounds.max = Number(node.maximum);
  }
  const choices = node.enum?.map(String).filter((value) => value !== "");
  if (choices) bounds.choices = choices;
  return { help: node.description ?? path, ...bounds, ...more };
}
