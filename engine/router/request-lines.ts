import {
  CALLER_HEADERS,
  HEADER_ATTEMPT,
  HEADER_AUTH_AUDIENCE,
  HEADER_AUTH_DIGEST,
  HEADER_AUTH_NONCE,
  HEADER_AUTH_SIGNATURE,
  HEADER_AUTH_TIMESTAMP,
  HEADER_CALLBACK_TOKEN,
  HEADER_COMPONENT,
  HEADER_FULL_URL,
  HEADER_FUNCTION_NAME,
  HEADER_FUNCTION_NAMESPACE,
  HEADER_FUNCTION_RESOURCE_VERSION,
  HEADER_FUNCTION_UID,
  HEADER_PARAMS_PREFIX,
  HEADER_REQUEST_ID,
  HEADER_ROUTE_MISS,
  HEADER_RUN,
  INTERNAL_HEADER_PREFIXES,
} from "../../api/headers.ts";
import { FORWARDED_HEADERS } from "./forwarded.ts";
import { isHeaderName, isHeaderValue } from "./http/header-filter.ts";
import type { Exchange, HeaderRule } from "./http/types.ts";

/** What no caller from outside may send to a function: everything internal but what callers steer a call with. */
export const PUBLIC_REQUEST_RULE: HeaderRule = {
  strip: [...FORWARDED_HEADERS, "traceparent"],
  stripPrefixes: INTERNAL_HEADER_PREFIXES,
  keep: CALLER_HEADERS.filter((name) => name !== HEADER_REQUEST_ID),
};

/** What a signed caller may not send: the platform's triggers set headers of their own, but nobody names pod, revision or function. */
export const INTERNAL_REQUEST_RULE: HeaderRule = {
  strip: [
    ...FORWARDED_HEADERS,
    "traceparent",
    HEADER_REQUEST_ID,
    HEADER_FULL_URL,
    HEADER_FUNCTION_UID,
    HEADER_FUNCTION_NAME,
    HEADER_FUNCTION_NAMESPACE,
    HEADER_FUNCTION_RESOURCE_VERSION,
    HEADER_AUTH_AUDIENCE,
    HEADER_AUTH_DIGEST,
    HEADER_AUTH_NONCE,
    HEADER_AUTH_SIGNATURE,
    HEADER_AUTH_TIMESTAMP,
  ],
  stripPrefixes: ["x-isotope-", "x-fission-auth-"],
  keep: [HEADER_ATTEMPT, HEADER_RUN, HEADER_CALLBACK_TOKEN],
};

/** What a function's answer may not say: only the platform marks answers so. */
export const RESPONSE_RULE: HeaderRule = {
  strip: [HEADER_ROUTE_MISS, HEADER_COMPONENT, HEADER_REQUEST_ID],
  stripPrefixes: ["x-isotope-"],
};

/** The same where the trigger's corsConfig decides. */
export const CORS_RESPONSE_RULE: HeaderRule = {
  ...RESPONSE_RULE,
  stripPrefixes: ["x-isotope-", "access-control-"],
};

// In one piece each: what is put together per request costs by the number of pieces.
const FULL_URL_START = `${HEADER_FULL_URL}: `;
const REQUEST_ID_START = `\r\n${HEADER_REQUEST_ID}: `;
const TRACEPARENT_START = "\r\ntraceparent: ";

/** Lines that tell the function of this one request: original path, request id, trace. Path and query are visible ASCII by then. */
export function requestLines(exchange: Exchange, requestId: string, traceparent: string): string {
  return `${FULL_URL_START}${exchange.path}${exchange.query}${REQUEST_ID_START}${requestId}${TRACEPARENT_START}${traceparent}\r\n`;
}

/** `x-fission-params-<name>: ` for each variable of a route; "" for a name that is no header name. */
export function paramPrefixes(names: readonly string[]): string[] {
  return names.map((name) => (isHeaderName(name) ? `${HEADER_PARAMS_PREFIX}${name}: ` : ""));
}

/** Lines with the values of path variables, percent-decoded; characters beyond ASCII as UTF-8 bytes. */
export function paramLines(prefixes: readonly string[], values: readonly string[]): string {
  let lines = "";
  for (let i = 0; i < prefixes.length; i += 1) {
    const prefix = prefixes[i];
    if (prefix) lines += `${prefix}${paramValue(values[i] ?? "")}\r\n`;
  }
  return lines;
}

function paramValue(raw: string): string {
  if (!raw.includes("%")) return raw;
  let bytes: string;
  try {
    bytes = Buffer.from(decodeURIComponent(raw), "utf8").toString("latin1");
  } catch {
    return raw;
  }
  return isHeaderValue(bytes) ? bytes : raw;
}

/** The path without its first `count` segments; at least `/`. */
export function cutSegments(path: string, count: number): string {
  let at = 0;
  for (let cut = 0; cut < count; cut += 1) {
    while (path.charCodeAt(at) === 47) at += 1;
    const next = path.indexOf("/", at);
    if (next < 0) return "/";
    at = next;
  }
  return at === 0 ? path : path.slice(at);
}
