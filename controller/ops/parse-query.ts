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
    `Cannot ${action}: "${name}": ${issue?.message ?? "it is not valid"}`,
  );
}
