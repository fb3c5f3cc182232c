import { createHmac } from "node:crypto";
import { deriveKey, type KeyRing } from "./keys.ts";
import { equal, type HeaderLookup, type SignedHead, SKEW_MS } from "./sign.ts";

/**
 * The reference system's signatures, for its CLI and other clients of its format: HMAC-SHA256 (hex) over
 * `METHOD\nREQUEST-URI\nsha256hex(body)\n<unix minute>`, key = HKDF-SHA256(master, info `fission-internal-v1:<service>[:<namespace>]`).
 * It has no nonce: a call may be replayed within the skew. The digest of the body is no header, so the body must be read first.
 */
const HEADER_TIMESTAMP = "x-fission-auth-timestamp";
const HEADER_SIGNATURE = "x-fission-auth-signature";
const HEADER_NAMESPACE = "x-fission-auth-namespace";

export type ReferenceService = "storagesvc" | "router-internal" | "executor" | "builder" | "fetcher";

export interface ReferenceVerifier {
  /** Whether the call carries this format's signature. */
  claims(header: HeaderLookup): boolean;
  /** `namespace` is the caller's when the key was a namespace's, else undefined. */
  verify(
    head: SignedHead,
    header: HeaderLookup,
  ):
    | { readonly ok: true; readonly namespace: string | undefined }
    | { readonly ok: false; readonly reason: string };
}

/** Headers that sign a call in the reference system's format. */
export function referenceSigner(
  keys: KeyRing,
  service: ReferenceService,
  options: { readonly namespace?: string; readonly now?: () => number } = {},
): (head: SignedHead) => Record<string, string> {
  const now = options.now ?? Date.now;
  return (head) => {
    const seconds = Math.floor(now() / 1000);
    const [master] = keys.masters();
    if (!master) throw new RangeError(`Cannot sign a call to "${service}": the key ring is empty`);
    return {
      [HEADER_TIMESTAMP]: String(seconds),
      [HEADER_SIGNATURE]: signature(master, service, options.namespace, head, seconds).toString("hex"),
      ...(options.namespace === undefined ? {} : { [HEADER_NAMESPACE]: options.namespace }),
    };
  };
}

/** Verifier of the reference system's format for one service, with the same two keys as our own format. */
export function referenceVerifier(
  keys: KeyRing,
  service: ReferenceService,
  options: { readonly now?: () => number } = {},
): ReferenceVerifier {
  const now = options.now ?? Date.now;
  return {
    claims: (header) => header(HEADER_SIGNATURE) !== undefined,
    verify: (head, header) => {
      const given = header(HEADER_SIGNATURE);
      const time = header(HEADER_TIMESTAMP);
      const namespace = header(HEADER_NAMESPACE);
      if (!given || !time) return { ok: false, reason: "the call is not signed" };
      if (!/^[0-9a-f]{64}$/i.test(given) || !/^\d{1,12}$/.test(time))
        return { ok: false, reason: "a signature header is malformed" };
      if (namespace !== undefined && !/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(namespace))
        return { ok: false, reason: "the namespace header is malformed" };
      const seconds = Number(time);
      if (Math.abs(now() - seconds * 1000) > SKEW_MS)
        return { ok: false, reason: "the call's time differs by more than 60 s from the receiver's" };
      const bytes = Buffer.from(given, "hex");
      const right = keys
        .masters()
        .some((master) => equal(bytes, signature(master, service, namespace, head, seconds)));
      return right ? { ok: true, namespace } : { ok: false, reason: "the signature is wrong" };
    },
  };
}

function signature(
  master: Buffer,
  service: ReferenceService,
  namespace: string | undefined,
  head: SignedHead,
  seconds: number,
): Buffer {
  const info = `fission-internal-v1:${service}${namespace === undefined ? "" : `:${namespace}`}`;
  const minute = Math.floor(seconds / 60) * 60;
  return createHmac("sha256", deriveKey(master, info))
    .update(`${head.method}\n${head.target}\n${head.bodySha256}\n${minute}`)
    .digest();
}
