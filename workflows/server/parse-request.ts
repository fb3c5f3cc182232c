import type { z } from "zod";
import { PlatformError } from "../../api/errors.ts";

const MAX_SHOWN = 100;

/** What a caller sent, by a schema. @throws {PlatformError} bad_request, naming the field, what is allowed and what was given */
export function parseRequest<T>(action: string, schema: z.ZodType<T>, given: unknown): T {
  const parsed = schema.safeParse(given ?? {});
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const path = issue?.path ?? [];
  const value = path.reduce<unknown>(
    (at, name) => (typeof at === "object" && at !== null ? Reflect.get(at, name) : undefined),
    given,
  );
  const shown = value === undefined ? "" : `, got ${cut(JSON.stringify(value))}`;
  const field = path.length === 0 ? "" : `"${path.join(".")}": `;
  throw new PlatformError(
    "bad_request",
    `Cannot ${action}: ${field}${issue?.message ?? "it is not valid"}${shown}`,
  );
}

const cut = (text: string): string => (text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text);
