import { createHmac, timingSafeEqual } from "node:crypto";
import { deriveKey, type KeyRing } from "../../net/keys.ts";
import { OWN_PREFIX } from "./own-paths.ts";

interface RunKey {
  readonly namespace: string;
  readonly id: string;
}

/** Addresses of runs on the public listener: whoever has one may read that run, and nobody can make one up. */
export interface RunAddresses {
  /** `/_isotope/runs/<namespace>/<id>/<signature>` */
  of(key: RunKey): string;
  /** The run of an address; undefined when it is not one of ours. */
  keyOf(path: string): RunKey | undefined;
}

const PATH = new RegExp(`^${OWN_PREFIX}runs/([a-z0-9-]{1,63})/([A-Za-z0-9._-]{1,128})/([A-Za-z0-9_-]{22})$`);
const SIGNATURE_BYTES = 16;

export function runAddresses(keys: KeyRing): RunAddresses {
  const signature = (master: Buffer, { namespace, id }: RunKey): Buffer =>
    createHmac("sha256", deriveKey(master, "run-address"))
      .update(`${namespace}/${id}`)
      .digest()
      .subarray(0, SIGNATURE_BYTES);
  return {
    of: (key) => {
      const [master] = keys.masters();
      if (!master) throw new RangeError("Cannot sign the address of a run: the key ring is empty");
      return `${OWN_PREFIX}runs/${key.namespace}/${key.id}/${signature(master, key).toString("base64url")}`;
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
