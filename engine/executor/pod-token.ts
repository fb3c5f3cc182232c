import { createHmac } from "node:crypto";

/**
 * Tokens of a pod's control calls, one per master key, in the keys' order: HMAC-SHA256 (hex) of `pod:<namespace>/<name>`.
 * Nothing is stored, so any executor can call any pod, also after a restart.
 */
export function podTokens(masters: readonly Uint8Array[], namespace: string, name: string): string[] {
  return masters.map((master) =>
    createHmac("sha256", master).update(`pod:${namespace}/${name}`).digest("hex"),
  );
}
