import { parseDurationMs } from "./duration.ts";
import type { TimeTrigger } from "./kinds/index.ts";

const METHOD = /^[A-Z]{3,16}$/;
const HEADER = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

/** What is wrong with the call that a timer makes, or undefined. The sentence names the field as `spec.<field>`, the value and what is allowed. */
export function timerCallFault({
  method,
  subpath,
  jitter,
  headers,
}: Pick<TimeTrigger["spec"], "method" | "subpath" | "jitter" | "headers">): string | undefined {
  if (method !== undefined && method !== "" && !METHOD.test(method))
    return `spec.method must be a method such as POST, got "${method}"`;
  if (subpath !== undefined && subpath !== "" && !subpath.startsWith("/"))
    return `spec.subpath must start with "/", got "${subpath}"`;
  for (const [name, value] of Object.entries(headers ?? {})) {
    if (!HEADER.test(name))
      return `spec.headers must have names of HTTP headers, got ${JSON.stringify(name)}`;
    if (!HEADER_VALUE.test(value))
      return `spec.headers.${name} must be a value of an HTTP header, got ${JSON.stringify(value)}`;
  }
  return jitter === undefined || jitter === "" ? undefined : jitterFault(jitter);
}

const LONGEST_JITTER_MS = 24 * 3_600_000;

function jitterFault(jitter: string): string | undefined {
  try {
    const ms = parseDurationMs(jitter);
    if (ms <= LONGEST_JITTER_MS) return undefined;
  } catch {
    // Said below.
  }
  return `spec.jitter must be a duration of 24h at most such as 30s, got "${jitter}"`;
}
