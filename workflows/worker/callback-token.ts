import { createHmac, timingSafeEqual } from "node:crypto";
import { deriveKey, type KeyRing } from "../../net/keys.ts";
import type { RunKey } from "../core/run-record.ts";

/*
 * One-time tokens by which whoever holds one completes one step of one run. Invariants:
 * 1. A token says which step it is for and is signed: nothing is stored for it, and it cannot be made up or changed.
 * 2. It counts once, and only while its attempt is the present one: the journal takes the first completion of an attempt and drops the rest.
 */

export interface CallbackTarget {
  readonly run: RunKey;
  /** Of the effect, or of an item of a map. */
  readonly token: string;
  /** That it was given to: the token of one that failed says nothing about the next. */
  readonly attempt: number;
}

export interface CallbackTokens {
  make(target: CallbackTarget): string;
  /** Undefined when it is none of ours. */
  read(token: string): CallbackTarget | undefined;
}

const PURPOSE = "workflow-callback";
const MAC_BYTES = 24;
const SHAPE = /^([A-Za-z0-9_-]{1,400})\.([A-Za-z0-9_-]{32})$/;

/** Tokens signed with the newest key of the ring, read with any of them. */
export function callbackTokens(keys: KeyRing): CallbackTokens {
  const macs = (body: string): Buffer[] =>
    keys.masters().map((master) => {
      const mac = createHmac("sha256", deriveKey(master, PURPOSE)).update(body).digest();
      return mac.subarray(0, MAC_BYTES);
    });
  return {
    make: ({ run, token, attempt }) => {
      const body = Buffer.from(`${run.namespace}/${run.id}/${token}/${attempt}`, "utf8").toString(
        "base64url",
      );
      const [mac] = macs(body);
      if (!mac) throw new RangeError("Cannot make a callback token: the key ring is empty");
      return `${body}.${mac.toString("base64url")}`;
    },
    read: (given) => {
      const [, body = "", signature = ""] = SHAPE.exec(given) ?? [];
      if (body === "") return undefined;
      const bytes = Buffer.from(signature, "base64url");
      if (!macs(body).some((mac) => mac.length === bytes.length && timingSafeEqual(mac, bytes)))
        return undefined;
      const [namespace, id, token, attempt] = Buffer.from(body, "base64url").toString("utf8").split("/");
      if (namespace === undefined || id === undefined || token === undefined) return undefined;
      return { run: { namespace, id }, token, attempt: Number(attempt) };
    },
  };
}
