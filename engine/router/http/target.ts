import { isIPv6 } from "node:net";
import {
  HEX_VALUE,
  TARGET_BACKSLASH,
  TARGET_BYTE,
  TARGET_DOT,
  TARGET_ENCODE,
  TARGET_PERCENT,
} from "./byte-class.ts";

/** A `Host` in canonical form. */
export interface Authority {
  /** Lower case, with the port as sent. */
  readonly host: string;
  /** Lower case, without port and without a final dot. */
  readonly hostname: string;
}

/** Flags of a path's bytes that make it worth a closer look. */
export const PATH_NEEDS_WORK = TARGET_PERCENT | TARGET_DOT | TARGET_ENCODE | TARGET_BACKSLASH;

const UNRESERVED = /[A-Za-z0-9\-._~]/;
const ENCODED_SEPARATOR = /%2F|%5C/;

/**
 * The one form of a path that is matched and forwarded: escapes of unreserved characters decoded, other escapes in upper case,
 * characters beyond ASCII (and those that URL parsers escape) escaped. Empty segments stay. `%2F` stays and never separates.
 * @param path latin1, starting with `/`, without query
 * @returns undefined for what no two parties would read alike: dot segments (also `%2e`, also between encoded slashes), `\`, `%00`,
 *   encoded control characters, an invalid escape
 */
export function normalizePath(path: string): string | undefined {
  let out = "";
  let run = 0;
  for (let i = 0; i < path.length; i++) {
    const code = path.charCodeAt(i);
    const kind = TARGET_BYTE[code] ?? TARGET_ENCODE;
    if (kind === TARGET_BACKSLASH || kind === 0) return undefined;
    if (kind === TARGET_ENCODE) {
      out += path.slice(run, i) + percent(code);
      run = i + 1;
    } else if (kind === TARGET_PERCENT) {
      const high = HEX_VALUE[path.charCodeAt(i + 1)] ?? 255;
      const low = HEX_VALUE[path.charCodeAt(i + 2)] ?? 255;
      if (high === 255 || low === 255) return undefined;
      const byte = high * 16 + low;
      if (byte < 0x20 || byte === 0x7f) return undefined;
      const char = String.fromCharCode(byte);
      out += path.slice(run, i) + (byte < 0x80 && UNRESERVED.test(char) ? char : percent(byte));
      i += 2;
      run = i + 1;
    }
  }
  out += path.slice(run);
  return hasDotSegment(out) ? undefined : out;
}

/** Escapes what a query must not carry raw; leaves everything else of it alone. */
export function normalizeQuery(query: string): string {
  let out = "";
  let run = 0;
  for (let i = 0; i < query.length; i++) {
    if (query.charCodeAt(i) < 0x80) continue;
    out += query.slice(run, i) + percent(query.charCodeAt(i));
    run = i + 1;
  }
  return out + query.slice(run);
}

/**
 * Checks and canonicalises the value of `Host` or an authority: registered name, IPv4 or `[IPv6]`, optional port.
 * @returns undefined when it is none of these (userinfo, spaces, slashes, percent-encoding, a port beyond 65535 …)
 */
export function parseAuthority(value: string): Authority | undefined {
  if (value.length === 0 || value.length > 261) return undefined;
  const lower = value.toLowerCase();
  let nameEnd: number;
  if (lower.charCodeAt(0) === 91) {
    nameEnd = lower.indexOf("]") + 1;
    if (nameEnd === 0 || lower.includes("%") || !isIPv6(lower.slice(1, nameEnd - 1))) return undefined;
  } else {
    nameEnd = lower.indexOf(":");
    if (nameEnd === -1) nameEnd = lower.length;
    if (!isRegisteredName(lower, nameEnd)) return undefined;
  }
  if (nameEnd !== lower.length && !isPort(lower, nameEnd)) return undefined;
  const dotted = lower.charCodeAt(nameEnd - 1) === 46;
  return { host: lower, hostname: lower.slice(0, dotted ? nameEnd - 1 : nameEnd) };
}

/**
 * Splits an absolute-form target.
 * @returns undefined when its scheme is neither http nor https or its authority is not valid
 */
export function splitAbsolute(target: string): { authority: Authority; rest: string } | undefined {
  const scheme = /^https?:\/\//i.exec(target);
  if (scheme === null) return undefined;
  const from = scheme[0].length;
  let end = from;
  while (end < target.length && target[end] !== "/" && target[end] !== "?") end++;
  const authority = parseAuthority(target.slice(from, end));
  if (authority === undefined) return undefined;
  const rest = target.slice(end);
  return { authority, rest: rest.startsWith("/") ? rest : `/${rest}` };
}

function isRegisteredName(lower: string, end: number): boolean {
  if (end === 0 || end > 255 || lower.charCodeAt(0) === 46) return false;
  for (let i = 0; i < end; i++) {
    const code = lower.charCodeAt(i);
    const letterOrDigit = (code >= 97 && code <= 122) || (code >= 48 && code <= 57);
    if (!letterOrDigit && code !== 45 && code !== 46 && code !== 95) return false;
    if (code === 46 && lower.charCodeAt(i - 1) === 46) return false;
  }
  return true;
}

function isPort(value: string, colon: number): boolean {
  if (value.charCodeAt(colon) !== 58) return false;
  const digits = value.length - colon - 1;
  if (digits < 1 || digits > 5) return false;
  let port = 0;
  for (let i = colon + 1; i < value.length; i++) {
    const digit = value.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9) return false;
    port = port * 10 + digit;
  }
  return port <= 65_535;
}

function hasDotSegment(path: string): boolean {
  if (!path.includes(".")) return false;
  if (ENCODED_SEPARATOR.test(path)) return path.split(/\/|%2F|%5C/).some(isDots);
  let at = path.indexOf("/.");
  while (at !== -1) {
    const end = path.indexOf("/", at + 1);
    if (isDots(path.slice(at + 1, end === -1 ? path.length : end))) return true;
    at = path.indexOf("/.", at + 1);
  }
  return false;
}

function isDots(segment: string): boolean {
  return segment === "." || segment === "..";
}

function percent(byte: number): string {
  return byte < 16 ? `%0${byte.toString(16).toUpperCase()}` : `%${byte.toString(16).toUpperCase()}`;
}
