import type { Pod } from "./pod.ts";

const CALL_TIMEOUT_MS = 2_000;
const PAUSE_MS = 500;
/** A pod counts as unused when no request came for so long; a router that has not switched yet would send one. */
const QUIET_MS = 500;

/**
 * Lets a pod of an old revision finish: it is retired once it is quiet. After `deadlineMs` it is told to refuse new requests and to
 * exit when the running ones end. Resolves when the pod may be deleted, or has left by itself.
 */
export async function drainPod(pod: Pod, deadlineMs: number, stopped: () => boolean): Promise<void> {
  const until = Date.now() + deadlineMs;
  while (pod.phase !== "leaving" && !stopped()) {
    const status = await pod.calls?.retire(QUIET_MS, CALL_TIMEOUT_MS);
    if (status?.state === "retired" || status?.state === "failed") return;
    if (Date.now() > until) {
      await pod.calls?.drain(CALL_TIMEOUT_MS);
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS).unref());
  }
}
