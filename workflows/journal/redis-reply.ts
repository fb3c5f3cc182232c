/** Replies of Redis, whose shape only the script knows: read strictly, so that a script and its reader cannot drift apart unseen. */

export function rows(reply: unknown): readonly unknown[] {
  if (!Array.isArray(reply))
    throw new TypeError(`Cannot read Redis' reply: expected a list, got ${typeof reply}`);
  return reply;
}

export function text(value: unknown): string {
  if (typeof value === "string") return value;
  if (typeof value === "number") return String(value);
  throw new TypeError(
    `Cannot read Redis' reply: expected text or a number, got ${value === null ? "nil" : typeof value}`,
  );
}

export const texts = (reply: unknown): readonly string[] => rows(reply).map(text);

type Row<N extends number, T extends string[] = []> = T["length"] extends N ? T : Row<N, [...T, string]>;

/** Exactly `length` values. */
export function row<N extends number>(values: readonly string[], length: N): Row<N> {
  if (values.length !== length)
    throw new TypeError(`Cannot read Redis' reply: expected ${length} values, got ${values.length}`);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- its length has been checked
  return [...values] as Row<N>;
}
