import { randomBytes, randomUUID } from "node:crypto";

const MAX_REQUEST_ID = 192;
const PRINTABLE = /^[\x21-\x7e]+$/;
const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?$/;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-(?!0{12})[0-9a-f]{12}$/;
const ZERO_TRACE = "0".repeat(32);
const ZERO_SPAN = "0".repeat(16);

/** The caller's request id when it is up to 192 visible ASCII characters, else a new UUID. */
export function requestIdOf(given: string | undefined): string {
  if (given !== undefined && given.length <= MAX_REQUEST_ID && PRINTABLE.test(given)) return given;
  return randomUUID();
}

const spanPrefix = randomBytes(4).readUInt32BE().toString(16).padStart(8, "0");
let spanCounter = 1;

/** The caller's W3C `traceparent` when it is valid, else the root of a new, unsampled trace; its id is the request's when that is a UUID. */
export function traceparentOf(given: string | undefined, requestId: string): string {
  if (given !== undefined && isTraceparent(given)) return given;
  const uuid = UUID.test(requestId) ? requestId : randomUUID();
  const trace =
    uuid.slice(0, 8) + uuid.slice(9, 13) + uuid.slice(14, 18) + uuid.slice(19, 23) + uuid.slice(24);
  spanCounter = (spanCounter + 1) >>> 0 || 1;
  return `00-${trace}-${spanPrefix}${spanCounter.toString(16).padStart(8, "0")}-00`;
}

/** The trace id within a valid `traceparent`. */
export const traceIdOf = (traceparent: string): string => traceparent.slice(3, 35);

function isTraceparent(text: string): boolean {
  const match = TRACEPARENT.exec(text);
  if (!match) return false;
  const [, version, trace, span, more] = match;
  if (version === "ff" || trace === ZERO_TRACE || span === ZERO_SPAN) return false;
  // Version 00 has no further fields; later ones may.
  return version !== "00" || more === undefined;
}
