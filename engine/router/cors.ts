import { parseDurationMs } from "../../api/duration.ts";
import type { CorsConfig } from "../../api/kinds/http-trigger.ts";

/** CORS rules of one trigger, compiled. Header blocks are complete lines. */
export interface Cors {
  /** Lines for the answer to a preflight, or undefined when origin, method or headers are not allowed. */
  preflight(origin: string, method: string, headers: string | undefined): string | undefined;
  /** Lines for the answer to a request of this origin (undefined = none was sent). `Vary` is always among them when answers differ by origin. */
  response(origin: string | undefined): string;
}

const SIMPLE_HEADERS = ["accept", "accept-language", "content-language", "content-type", "range"];
const DEFAULT_METHODS = ["GET", "HEAD", "POST"];

/**
 * Compiles a trigger's corsConfig. Origins may be `*` or hold one `*` (`https://*.example.com`); methods default to the trigger's own.
 * Throws TypeError for what admission refuses too: `*` with credentials, an origin with two `*`, a malformed maxAge.
 */
export function compileCors(config: CorsConfig, routeMethods: readonly string[]): Cors {
  const origins = config.allowOrigins ?? [];
  const any = origins.includes("*");
  const credentials = config.allowCredentials === true;
  if (any && credentials)
    throw new TypeError("Cannot compile corsConfig: allowCredentials does not go with the origin *");
  const allows = originMatcher(origins);
  const methods = (config.allowMethods ?? []).map((method) => method.toUpperCase());
  const allowedMethods =
    methods.length > 0 ? methods : routeMethods.length > 0 ? routeMethods : DEFAULT_METHODS;
  const anyMethod = allowedMethods.includes("*") || (methods.length === 0 && routeMethods.length === 0);
  const headers = (config.allowHeaders ?? []).map((header) => header.toLowerCase());
  const anyHeader = headers.includes("*");
  const allowedHeaders = new Set([...SIMPLE_HEADERS, ...headers]);
  const credentialLine = credentials ? "access-control-allow-credentials: true\r\n" : "";
  const maxAge = config.maxAge ? `access-control-max-age: ${maxAgeSeconds(config.maxAge)}\r\n` : "";
  const exposed = config.exposeHeaders?.length
    ? `access-control-expose-headers: ${config.exposeHeaders.join(", ")}\r\n`
    : "";
  const vary = any ? "" : "vary: Origin\r\n";
  const originLine = (origin: string) => `access-control-allow-origin: ${any ? "*" : origin}\r\n`;

  return {
    preflight: (origin, method, asked) => {
      if (!allows(origin) || !(anyMethod || allowedMethods.includes(method))) return undefined;
      const names = (asked ?? "")
        .split(",")
        .map((name) => name.trim().toLowerCase())
        .filter((name) => name !== "");
      if (!anyHeader && !names.every((name) => allowedHeaders.has(name))) return undefined;
      // A browser takes "*" literally when credentials are sent, so the asked names are repeated instead.
      const headerLine = names.length > 0 ? `access-control-allow-headers: ${names.join(", ")}\r\n` : "";
      const methodLine = `access-control-allow-methods: ${anyMethod ? method : allowedMethods.join(", ")}\r\n`;
      return `${originLine(origin)}${methodLine}${headerLine}${credentialLine}${maxAge}vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers\r\n`;
    },
    response: (origin) =>
      origin === undefined || !allows(origin)
        ? vary
        : `${originLine(origin)}${credentialLine}${exposed}${vary}`,
  };
}

function originMatcher(patterns: readonly string[]): (origin: string) => boolean {
  if (patterns.includes("*")) return () => true;
  const exact = new Set<string>();
  const parts: [string, string][] = [];
  for (const pattern of patterns) {
    const pieces = pattern.toLowerCase().split("*");
    const [head = "", tail] = pieces;
    if (pieces.length > 2)
      throw new TypeError(`Cannot compile corsConfig: an origin may hold one *, got "${pattern}"`);
    if (tail === undefined) exact.add(head);
    else parts.push([head, tail]);
  }
  return (given) => {
    const origin = given.toLowerCase();
    return exact.has(origin) || parts.some(([head, tail]) => matchesWildcard(origin, head, tail));
  };
}

/** `*` stands for one or more characters of a host name, so it never reaches over into scheme, port or path. */
function matchesWildcard(origin: string, head: string, tail: string): boolean {
  if (origin.length <= head.length + tail.length || !origin.startsWith(head) || !origin.endsWith(tail))
    return false;
  return /^[a-z0-9.-]+$/.test(origin.slice(head.length, origin.length - tail.length));
}

function maxAgeSeconds(text: string): number {
  return /^\d{1,9}$/.test(text) ? Number(text) : Math.floor(parseDurationMs(text) / 1000);
}
