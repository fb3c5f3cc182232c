import { z } from "zod";

/**
 * Large contents that one process hands to another (or to itself, later) by way of the storage: bodies and results of asynchronous invocations. Each is
 * gone when its time comes, which is part of its name, as are its size and its digest: nothing needs to be remembered of it anywhere else. Signed calls,
 * for this audience: whoever may only pass calls for archives on reaches none of it. Errors are `ErrorBody`.
 *
 *   PUT    /v1/payloads/<ref>                content of just that size and digest → 201, once it is durable; 413 body_too_large, 507 storage_full
 *   GET    /v1/payloads/<ref>                the content, verified; 404 payload_not_found
 *   POST   /v1/payloads/<ref>/keep?until=ms  the same content for longer → `PayloadKept`: under another name
 *   DELETE /v1/payloads/<ref>                → 204, also when it is not there
 */
export const PAYLOADS_AUDIENCE = "storage-payloads";
export const PAYLOADS_PATH = "/v1/payloads/";

/** Largest payload. */
export const MAX_PAYLOAD_BYTES = 50 * 2 ** 20;
/** For this long at most one is kept: dead letters may be kept for a year. */
export const MAX_PAYLOAD_KEPT_MS = 400 * 24 * 3_600_000;

export interface Payload {
  /** Whose it is: no namespace takes all the room. */
  readonly namespace: string;
  /** When it goes, milliseconds since the epoch. */
  readonly expiresAtMs: number;
  readonly id: string;
  readonly sizeBytes: number;
  /** 64 lower-case hex digits. */
  readonly sha256: string;
}

const REF = /^([a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)\/(\d{13})\/([0-9a-z]{1,32})\.(\d{1,9})\.([0-9a-f]{64})$/;

/** Name of a payload: `<namespace>/<expiry>/<id>.<bytes>.<sha256>`. */
export const payloadRef = ({ namespace, expiresAtMs, id, sizeBytes, sha256 }: Payload): string =>
  `${namespace}/${expiresAtMs}/${id}.${sizeBytes}.${sha256}`;

/** The payload of such a name; undefined when it is none. */
export function payloadOf(ref: string): Payload | undefined {
  const [, namespace, expiresAt, id, size, sha256] = REF.exec(ref) ?? [];
  if (namespace === undefined || id === undefined || sha256 === undefined) return undefined;
  return { namespace, expiresAtMs: Number(expiresAt), id, sizeBytes: Number(size), sha256 };
}

export const PayloadKept = z.object({ ref: z.string() });
