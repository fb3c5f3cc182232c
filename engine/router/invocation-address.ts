import { createHmac, timingSafeEqual } from "node:crypto";
import { deriveKey, type KeyRing } from "../../net/keys.ts";
import { OWN_PREFIX } from "./own-paths.ts";

interface InvocationKey {
  readonly namespace: string;
  readonly id: string;
}

/** Addresses of asynchronous invocations on the public listener: whoever has one may read or cancel it, and nobody can make one up. */
export interface InvocationAddresses {
  /** `/_isotope/invocations/<namespace>/<id>/<signature>` */
  of(key: InvocationKey): string;
  /** The invocation of an address; undefined when it is not one of ours. */
  keyOf(path: string): InvocationKey | undefined;
}

const PATH = new RegExp(`^${OWN_PREFIX}invocations/([a-z0-9-]{1,63})/([a-z0-9]{1,64})/([A-Za-z0-9_-]{22})$`);
const SIGNATURE_BYTES = 16;

export function invocationAddresses(keys: KeyRing): InvocationAddresses {
  const signature = (master: Buffer, { namespace, id }: InvocationKey): Buffer =>
    createHmac("sha256", deriveKey(master, "invocation-address"))
      .update(`${namespace}/${id}`)
      .digest()
      .subarray(0, SIGNATURE_BYTES);
  return {
    of: (key) => {
      const [master] = keys.masters();
      if (!master) throw new RangeError("Cannot sign the address of an invocation: the key ring is empty");
      return `${OWN_PREFIX}invocations/${key.namespace}/${key.id}/${signature(master, key).toString("base64url")}`;
    },
    keyOf: (path) => {
      const [, namespace, id, given] = PATH.exec(path) ?? [];
      if (namespace === undefined || id === undefined || given === undefined) return undefined;
      const bytes = Buffer.from(given, "base64url");
      const key = { namespace, id };
      const right = keys.masters().some((master) => timingSafeEqual(bytes, signature(master, key)));
      return right ? key : undefined;
    },
  };
}
