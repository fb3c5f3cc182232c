import { HEADER_ATTEMPT, HEADER_IDEMPOTENCY_KEY } from "../../../api/headers.ts";
import type { Target, TriggerEvent } from "./event.ts";

/** Of one connection or of the platform's own, not of the event. */
const NOT_PASSED = new Set([
  "connection",
  "content-length",
  "expect",
  "host",
  "keep-alive",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "x-fission-invoke-mode",
  "x-fission-dedup-key",
  "x-isotope-first-answer",
]);

/** What nobody may say of an event but the platform; header values as HTTP has them. */
const NAME = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

/** The same for every attempt, and for every redelivery of the same event to the same target. */
export const idempotencyKey = (target: Target, { namespace, id }: TriggerEvent): string =>
  `${namespace}/${target.name}/${id}`;

/**
 * Headers of a delivery: the event's own, those that say that it is a CloudEvent (its attributes where it has none of its own), and those by which a
 * function tells repetitions from new events.
 */
export function requestHeaders(target: Target, event: TriggerEvent, attempt: number): Record<string, string> {
  const headers: Record<string, string> = {
    "ce-specversion": "1.0",
    "ce-id": headerText(event.id),
    "ce-source": `/isotope/${event.namespace}/${target.name}`,
    "ce-type": "dev.isotope.event",
  };
  for (const [name, value] of Object.entries(event.headers))
    if (!NOT_PASSED.has(name) && NAME.test(name) && VALUE.test(value)) headers[name] = value;
  headers[HEADER_IDEMPOTENCY_KEY] = headerText(idempotencyKey(target, event));
  headers[HEADER_ATTEMPT] = String(attempt);
  return headers;
}

/** A text as the value of a header: percent-encoded where it goes beyond visible ASCII, as CloudEvents has it. */
export const headerText = (text: string): string =>
  text.replaceAll(/[^\x21-\x24\x26-\x7e]+/gu, (part) =>
    [...Buffer.from(part, "utf8")]
      .map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`)
      .join(""),
  );
