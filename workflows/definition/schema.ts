import type { Json } from "../core/json.ts";

/** A schema of any library that follows Standard Schema (zod, valibot, arktype …), as far as it is used here. See https://standardschema.dev. */
export interface Schema<Input = unknown, Output = Input> {
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => Checked<Output> | Promise<Checked<Output>>;
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
  };
}
type Checked<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly Issue[] };
interface Issue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

export type SchemaInput<S> = S extends Schema<infer Input, unknown> ? Input : unknown;
export type SchemaOutput<S> = S extends Schema<unknown, infer Output> ? Output : unknown;

/** The value as the schema gives it, or what is wrong with which field. @throws when the schema is asynchronous */
export function checkValue(
  schema: Schema,
  value: unknown,
): { readonly value: unknown } | { readonly fault: string } {
  const checked = schema["~standard"].validate(value);
  if (checked instanceof Promise)
    throw new Error("A workflow's schemas must be synchronous: this one answers with a promise");
  return checked.issues === undefined
    ? { value: checked.value }
    : { fault: checked.issues.map(sentenceOf).join("; ") };
}

const sentenceOf = ({ message, path }: Issue): string => {
  const names = (path ?? []).map((part) => String(typeof part === "object" ? part.key : part));
  return names.length === 0 ? message : `"${names.join(".")}": ${message}`;
};

/** The schema as JSON Schema, when its library can say it. */
export function jsonSchemaOf(schema: Schema | undefined): Json | undefined {
  const standard: unknown = schema?.["~standard"];
  if (typeof standard !== "object" || standard === null || !("jsonSchema" in standard)) return undefined;
  const { jsonSchema } = standard;
  if (typeof jsonSchema !== "object" || jsonSchema === null || !("input" in jsonSchema)) return undefined;
  if (typeof jsonSchema.input !== "function") return undefined;
  try {
    const json: unknown = jsonSchema.input({ target: "draft-2020-12" });
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the text was JSON
    return JSON.parse(JSON.stringify(json)) as Json;
  } catch {
    // Not everything that a library checks can be said in JSON Schema; it is checked all the same.
    return undefined;
  }
}
