import { createHash, timingSafeEqual } from "node:crypto";
import type { Exchange } from "../../engine/router/http/types.ts";

/** Whether a request bears the pod's token. Compares digests, so that neither length nor content of it shows in the time. */
export function hasToken(exchange: Exchange, token: string): boolean {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(exchange.header("authorization") ?? ""), digest(`Bearer ${token}`));
}
