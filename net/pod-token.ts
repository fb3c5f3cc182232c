import { createHmac } from "node:crypto";

/**
 * Token of a pod's control calls under one master key: HMAC-SHA256 (hex) of `pod:<namespace>/<name>`. Nothing is stored, so any process that has the keys
 * can call any pod, also after a restart.
 */
export const podToken = (master: Uint8Array, namespace: string, name: string): string =>
  createHmac("sha256", master).update(`pod:${namespace}/${name}`).digest("hex");

/** The pod's tokens, one per master key, in the keys' order. */
export const podTokens = (masters: readonly Uint8Array[], namespace: string, name: string): string[] =>
  masters.map((master) => podToken(master, namespace, name));
