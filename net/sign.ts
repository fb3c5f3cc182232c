import { createHash, createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import {
  HEADER_AUTH_AUDIENCE,
  HEADER_AUTH_DIGEST,
  HEADER_AUTH_NONCE,
  HEADER_AUTH_SIGNATURE,
  HEADER_AUTH_TIMESTAMP,
} from "../api/headers.ts";
import { deriveKey, type KeyRing } from "./keys.ts";
import { type NonceMemory, nonceMemory } from "./nonce-memory.ts";

/*
 * Signed internal calls. Invariants:
 * 1. A signature binds method, request target, digest of the body, time, receiver (audience) and nonce.
 * 2. One channel's key says nothing of another's: keys are derived per audience.
 * 3. A nonce is remembered for as long as its time would be accepted; when the memory is full, calls are refused.
 * 4. Comparison takes the same time for every wrong signature.
 * 5. The head is verified before a byte of the body is read; the body must then have the digest that was signed.
 */

export const SKEW_MS = 60_000;
export const EMPTY_SHA256 = createHash("sha256").update("").digest("hex");

/** What a signature covers. `target` is the request target as sent (path and query); `bodySha256` is lower-case hex. */
export interface SignedHead {
  readonly method: string;
  readonly target: string;
  readonly bodySha256: string;
}

/** A header lookup by lower-case name; undefined when absent or when the header came more than once. */
export type HeaderLookup = (name: string) => string | undefined;

type VerifyResult =
  | { readonly ok: true; readonly bodySha256: string }
  | { readonly ok: false; readonly reason: string };

export interface SignOptions {
  readonly now?: () => number;
}

export interface Signer {
  /** Headers that sign one call. A retry needs fresh ones: a nonce counts once. */
  (head: SignedHead): Record<string, string>;
}

export interface Verifier {
  /** Whether the call is signed in the platform's own form at all. */
  claims(header: HeaderLookup): boolean;
  /** Verifies the head and uses up its nonce. The caller then compares the body with `bodySha256`. */
  verify(method: string, target: string, header: HeaderLookup): VerifyResult;
}

export const sha256Hex = (data: string | Uint8Array): string =>
  createHash("sha256").update(data).digest("hex");

/** Signer for calls to `audience`: the receiver's identity, the same string as its verifier's. */
export function signer(keys: KeyRing, audience: string, options: SignOptions = {}): Signer {
  const now = options.now ?? Date.now;
  return (head) => {
    const time = String(now());
    const nonce = randomBytes(16).toString("base64url");
    const [master] = keys.masters();
    if (!master) throw new RangeError(`Cannot sign a call to "${audience}": the key ring is empty`);
    return {
      [HEADER_AUTH_TIMESTAMP]: time,
      [HEADER_AUTH_NONCE]: nonce,
      [HEADER_AUTH_AUDIENCE]: audience,
      [HEADER_AUTH_DIGEST]: head.bodySha256,
      [HEADER_AUTH_SIGNATURE]: signature(master, audience, head, time, nonce).toString("base64url"),
    };
  };
}

/** Verifier for calls to `audience`, with a nonce memory of its own unless one is given. */
export function verifier(
  keys: KeyRing,
  audience: string,
  options: SignOptions & { readonly nonces?: NonceMemory } = {},
): Verifier {
  const now = options.now ?? Date.now;
  const nonces = options.nonces ?? nonceMemory();
  return {
    claims: (header) => header(HEADER_AUTH_SIGNATURE) !== undefined,
    verify: (method, target, header) => {
      const given = header(HEADER_AUTH_SIGNATURE);
      const time = header(HEADER_AUTH_TIMESTAMP);
      const nonce = header(HEADER_AUTH_NONCE);
      const bodySha256 = header(HEADER_AUTH_DIGEST);
      if (!given || !time || !nonce || !bodySha256) return refused("the call is not signed");
      if (header(HEADER_AUTH_AUDIENCE) !== audience)
        return refused(`the call is signed for another receiver than "${audience}"`);
      if (!/^\d{10,16}$/.test(time) || !/^[\w-]{16,64}$/.test(nonce) || !/^[0-9a-f]{64}$/.test(bodySha256))
        return refused("a signature header is malformed");
      const timeMs = Number(time);
      if (Math.abs(now() - timeMs) > SKEW_MS)
        return refused("the call's time differs by more than 60 s from the receiver's");
      const bytes = Buffer.from(given, "base64url");
      const head = { method, target, bodySha256 };
      if (!keys.masters().some((master) => equal(bytes, signature(master, audience, head, time, nonce))))
        return refused("the signature is wrong");
      const fresh = nonces.use(nonce, timeMs + SKEW_MS, now());
      if (fresh === "used") return refused("the call was received before");
      if (fresh === "full") return refused("too many signed calls in the last minute");
      return { ok: true, bodySha256 };
    },
  };
}

const refused = (reason: string): VerifyResult => ({ ok: false, reason });

function signature(master: Buffer, audience: string, head: SignedHead, time: string, nonce: string): Buffer {
  return createHmac("sha256", deriveKey(master, `isotope-internal-v1:${audience}`))
    .update(`${head.method}\n${head.target}\n${head.bodySha256}\n${time}\n${audience}\n${nonce}`)
    .digest();
}

/** Equality in constant time; a different length is unequal at once, which tells nothing of the content. */
export function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}
