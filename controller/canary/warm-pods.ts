import type { CanarySide, SideCounts } from "../../api/kinds/index.ts";
import type { Serving } from "../../api/kinds/serving.ts";
import { PlatformError } from "../../api/errors.ts";
import { WarmReply, type WarmRequest } from "../../api/wire/executor.ts";
import type { SignedClient } from "../../net/signed-client.ts";
import type { Warmth } from "./decide.ts";

/** Asks the executor for pods ahead of traffic. */
export type WarmPods = (namespace: string, side: CanarySide, pods: number) => Promise<Warmth>;

/** How long one call waits; the canary asks again each second. */
const WAIT_MS = 500;
const CALL_TIMEOUT_MS = 3_000;
/** The code that says that the revision itself cannot start. */
const CANNOT_START = new Set<string>(["specialization_failed", "specialization_timeout"]);

export function warmPods(executor: Pick<SignedClient, "postJson">): WarmPods {
  return async (namespace, side, pods) => {
    const body: WarmRequest = {
      namespace,
      name: side.function,
      uid: side.uid,
      revision: side.revision,
      pods,
      waitMs: WAIT_MS,
    };
    try {
      const reply = await executor.postJson("/v2/warm", body, WarmReply, { timeoutMs: CALL_TIMEOUT_MS });
      return reply.ready >= Math.min(pods, reply.wanted) ? "ready" : "waiting";
    } catch (error) {
      if (error instanceof PlatformError && CANNOT_START.has(error.code)) return { failed: error.message };
      // No executor is no fault of the new side: its pods may come with the first requests.
      return "waiting";
    }
  };
}

const HEADROOM = 1.3;
const MAX_PODS = 100;

/**
 * Pods that a share of the present traffic needs: requests in flight at the present rate and latency (Little's law), with some room.
 * `window` is what both sides together did in `windowMs`.
 */
export function podsFor(
  window: SideCounts,
  windowMs: number,
  bounds: readonly number[],
  share: number,
  { limits }: Pick<Serving, "limits">,
): number {
  const busyMs = window.buckets.reduce((sum, count, i) => sum + count * (bounds[i] ?? bounds.at(-1) ?? 0), 0);
  const inFlight = windowMs > 0 ? (busyMs / windowMs) * share * HEADROOM : 0;
  return Math.max(1, Math.min(MAX_PODS, limits.concurrency, Math.ceil(inFlight / limits.requestsPerPod)));
}
