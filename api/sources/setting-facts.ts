import { z } from "zod";

/** What docs, help and errors say of one setting of a source. */
export interface SettingFacts {
  readonly name: string;
  readonly isRequired: boolean;
  /** Completes "must be …". */
  readonly allowed: string;
  readonly fallback: string | undefined;
  readonly what: string;
}

/**
 * The settings of a source, from its schema: the first sentence of each is its description; what is allowed comes from the schema itself, or from
 * `.meta({ allowed })` where that can only be said in words.
 */
export const settingFacts = (config: z.ZodObject): SettingFacts[] =>
  Object.entries(config.shape).map(([name, schema]) => ({
    name,
    isRequired: !z.safeParse(schema, undefined).success,
    allowed: allowedBy(schema),
    fallback: fallbackOf(schema),
    what: described(schema, "description") ?? "",
  }));

function described(schema: z.core.$ZodType, fact: string): string | undefined {
  const value = z.globalRegistry.get(schema)?.[fact];
  return typeof value === "string" ? value : undefined;
}

/** Below a default, or a conversion of what was given. */
function insideOf(schema: z.core.$ZodType): z.core.$ZodType | undefined {
  if (schema instanceof z.ZodPipe) return schema.def.in;
  if (schema instanceof z.ZodPrefault || schema instanceof z.ZodOptional) return schema.def.innerType;
  return undefined;
}

function allowedBy(schema: z.core.$ZodType): string {
  const said = described(schema, "allowed");
  if (said !== undefined) return said;
  const inside = insideOf(schema);
  if (inside) return allowedBy(inside);
  if (schema instanceof z.ZodEnum)
    return `one of ${schema.options.map((option) => `"${option}"`).join(", ")}`;
  if (schema instanceof z.ZodString) {
    const { minLength: min, maxLength: max } = schema;
    if (max !== null) return `${min ?? 0}..${max} characters`;
  }
  return "a text";
}

function fallbackOf(schema: z.core.$ZodType): string | undefined {
  if (schema instanceof z.ZodPrefault) return String(schema.def.defaultValue);
  const inside = insideOf(schema);
  return inside && fallbackOf(inside);
}
