/**
 * Who gets the same side of a split each time: the value of the annotation `isotope.dev/sticky` on a FunctionAlias or an HTTPTrigger.
 * A request without the header, cookie or query parameter is treated as if nothing were sticky.
 */
export type StickyRule =
  | { readonly source: "client" }
  | { readonly source: "header" | "cookie" | "query"; readonly name: string };

const RULE = /^(header|cookie|query):([!#$%&'*+.^_`|~0-9A-Za-z-]{1,128})$/;

/** Undefined when the text is no rule; allowed are `header:NAME`, `cookie:NAME`, `query:NAME` and `client`. */
export function parseSticky(text: string): StickyRule | undefined {
  if (text === "client") return { source: "client" };
  const match = RULE.exec(text);
  const [, source, name = ""] = match ?? [];
  if (source === "header") return { source, name: name.toLowerCase() };
  return source === "cookie" || source === "query" ? { source, name } : undefined;
}

export const STICKY_ALLOWED = "header:NAME, cookie:NAME, query:NAME, client";
