import { STICKY_ALLOWED, type StickyRule, parseSticky } from "../../api/sticky.ts";
import { ANNOTATION_STICKY } from "../../api/names.ts";
import type { Exchange } from "./http/types.ts";

/** What a request has in common with the others of the same caller; undefined when it does not say. */
export type StickyKey = (exchange: Exchange) => string | undefined;

/** Reader of the key that the annotation of a trigger or alias asks for, or null; `onProblem` is told of a value that says nothing. */
export function stickyKeyOf(
  annotations: Readonly<Record<string, string>> | undefined,
  clientAddress: (exchange: Exchange) => string,
  onProblem: (message: string) => void,
): StickyKey | null {
  const text = annotations?.[ANNOTATION_STICKY];
  if (text === undefined) return null;
  const rule = parseSticky(text);
  if (rule) return reader(rule, clientAddress);
  onProblem(`annotation ${ANNOTATION_STICKY} must be one of ${STICKY_ALLOWED}, got ${JSON.stringify(text)}`);
  return null;
}

function reader(rule: StickyRule, clientAddress: (exchange: Exchange) => string): StickyKey {
  if (rule.source === "client") return clientAddress;
  const { source, name } = rule;
  if (source === "header") return (exchange) => exchange.header(name) || undefined;
  if (source === "cookie") return (exchange) => cookieValue(exchange.headerJoined("cookie"), name);
  return ({ query }) => (query === "" ? undefined : new URLSearchParams(query).get(name) || undefined);
}

/** Value of a cookie in a `Cookie` header; undefined when it is absent or empty. */
export function cookieValue(header: string | undefined, name: string): string | undefined {
  if (header === undefined) return undefined;
  for (const part of header.split(";")) {
    const equals = part.indexOf("=");
    if (equals >= 0 && part.slice(0, equals).trim() === name)
      return part.slice(equals + 1).trim() || undefined;
  }
  return undefined;
}
