import type { z } from "zod";
import { PlatformError } from "../../api/errors.ts";

/** A query string's values by a schema. @throws {PlatformError} bad_request, naming the parameter and what is allowed */
export function parseQuery<T>(action: string, schema: z.ZodType<T>, query: unknown): T {
  const parsed = schema.safeParse(query);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const name = issue?.path.join(".") ?? "";
  throw new PlatformError(
    "bad_request",
    `Cannot ${action}: "${name}": ${issue?.message ?? "it is not valid"}${given(query, name)}`,
  );
}

const MAX_SHOWN = 100;

function given(query: unknown, name: string): string {
  if (typeof query !== "object" || query === null || !Object.hasOwn(query, name)) return "";
  const text = JSON.stringify(Reflect.get(query, name));
  return `, got ${text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text}`;
}
