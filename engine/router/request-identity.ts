import { randomFillSync } from "node:crypto";

const MAX_REQUEST_ID = 192;
const PRINTABLE = /^[\x21-\x7e]+$/;
const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?$/;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-(?!0{12})[0-9a-f]{12}$/;
const ZERO_TRACE = "0".repeat(32);
const ZERO_SPAN = "0".repeat(16);

/** The caller's request id when it is up to 192 visible ASCII characters, else a new UUID. */
export function requestIdOf(given: string | undefined): string {
  if (given !== undefined && given.length <= MAX_REQUEST_ID && PRINTABLE.test(given)) return given;
  return newRequestId();
}

/** The caller's W3C `traceparent` when it is valid, else the root of a new, unsampled trace; its id is the request's when that is a UUID. */
export function traceparentOf(given: string | undefined, requestId: string): string {
  if (given !== undefined && isTraceparent(given)) return given;
  const known = requestId === lastRequestId;
  if (!known) newRequestId();
  // Each trace has a span of its own, also when a request id is asked for twice.
  lastRequestId = "";
  if (known || !UUID.test(requestId)) return lastTraceparent;
  return `00-${requestId.replaceAll("-", "")}-${lastTraceparent.slice(36)}`;
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

/*
 * New ids are written out in batches, as one text of UUIDs and one of the traceparents that go with them: a request then costs two
 * slices, where making one UUID and taking it apart again cost more than parsing the request.
 */
const BATCH = 128;
const UUID_LENGTH = 36;
const TRACEPARENT_LENGTH = 55;
/** Of a UUID, then of a span. */
const RANDOM_BYTES = 16 + 8;
const HEX = Buffer.from("0123456789abcdef", "latin1");
const DASH = 45;

const random = new Uint8Array(BATCH * RANDOM_BYTES);
const uuidBytes = Buffer.alloc(BATCH * UUID_LENGTH, DASH);
const traceBytes = Buffer.from(`00-${ZERO_TRACE}-${ZERO_SPAN}-00`.repeat(BATCH), "latin1");
let uuids = "";
let traceparents = "";
let used = BATCH;
let lastRequestId = "";
let lastTraceparent = "";

/** A random UUID (version 4); `lastTraceparent` is the root of its trace then. */
function newRequestId(): string {
  if (used === BATCH) writeBatch();
  lastRequestId = uuids.slice(used * UUID_LENGTH, (used + 1) * UUID_LENGTH);
  lastTraceparent = traceparents.slice(used * TRACEPARENT_LENGTH, (used + 1) * TRACEPARENT_LENGTH);
  used += 1;
  return lastRequestId;
}

function writeBatch(): void {
  randomFillSync(random);
  for (let i = 0; i < BATCH; i += 1) writeIds(i);
  uuids = uuidBytes.toString("latin1");
  traceparents = traceBytes.toString("latin1");
  used = 0;
}

function writeIds(index: number): void {
  const from = index * RANDOM_BYTES;
  let uuidAt = index * UUID_LENGTH;
  let traceAt = index * TRACEPARENT_LENGTH + 3;
  // Version and variant (RFC 9562 5.4), and a span that is not zero.
  random[from + 6] = (random[from + 6]! & 0x0f) | 0x40;
  random[from + 8] = (random[from + 8]! & 0x3f) | 0x80;
  random[from + 16]! |= 1;
  for (let byte = 0; byte < RANDOM_BYTES; byte += 1) {
    const high = HEX[random[from + byte]! >> 4]!;
    const low = HEX[random[from + byte]! & 15]!;
    if (byte === 16) traceAt += 1;
    traceBytes[traceAt] = high;
    traceBytes[traceAt + 1] = low;
    traceAt += 2;
    if (byte >= 16) continue;
    if (byte === 4 || byte === 6 || byte === 8 || byte === 10) uuidAt += 1;
    uuidBytes[uuidAt] = high;
    uuidBytes[uuidAt + 1] = low;
    uuidAt += 2;
  }
}
