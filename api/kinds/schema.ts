import { z } from "zod";

/** A CEL rule that crosses fields; `self` is the object that the rule is attached to. */
export interface CelRule {
  rule: string;
  message: string;
}

/** Attaches CEL rules to an object schema. */
export const withRules = <Schema extends z.ZodType>(schema: Schema, rules: CelRule[]): Schema =>
  schema.meta({ ...schema.meta(), "x-kubernetes-validations": rules });

/** A string of at most `max` characters: every string in a CRD needs a bound, or CEL costs cannot be estimated. */
export const text = (max = 1024) => z.string().max(max);

/** DNS-1123 label. */
export const Label = z
  .string()
  .max(63)
  .regex(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/);

/** The same, or nothing: clients of the reference system send "" for a reference that is not used. */
export const OptionalLabel = z
  .string()
  .max(63)
  .regex(/^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$/);

export const ObjectName = z.string().max(63);
export const Namespace = z.string().max(63);
export const int = (min: number, max: number) => z.int().min(min).max(max);
export const int32 = (min = 0) => z.int().min(min).max(2_147_483_647).meta({ format: "int32" });
export const int64 = (min = 0) => z.int().min(min).max(Number.MAX_SAFE_INTEGER).meta({ format: "int64" });
export const StringMap = z.record(z.string(), text(65_536)).meta({ maxProperties: 256 });

/** An object whose fields are Kubernetes' own and are checked by Kubernetes when it is used. */
export const opaqueObject = (description: string) =>
  z.looseObject({}).describe(description).meta({ "x-kubernetes-preserve-unknown-fields": true });

/** Any JSON value. */
export const anyJson = (description: string) =>
  z.any().describe(description).meta({ "x-kubernetes-preserve-unknown-fields": true });

export const listMap = <Item extends z.ZodType>(item: Item, key: string, max: number) =>
  z
    .array(item)
    .max(max)
    .meta({ "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key] });

export const listSet = <Item extends z.ZodType>(item: Item, max: number) =>
  z.array(item).max(max).meta({ "x-kubernetes-list-type": "set" });

/** A point in time, RFC 3339. */
export const Time = z.string().meta({ format: "date-time" });

/** metav1.Condition. */
export const Condition = z.object({
  type: text(316),
  status: z.enum(["True", "False", "Unknown"]),
  observedGeneration: int64().optional(),
  lastTransitionTime: Time,
  reason: text(1024),
  message: text(32_768),
});
export type Condition = z.infer<typeof Condition>;

export const Conditions = listMap(Condition, "type", 32);
