import { PlatformError } from "../../api/errors.ts";
import type { WarmReply, WarmRequest } from "../../api/wire/executor.ts";
import type { Parts } from "./parts.ts";
import type { Revision } from "./revision.ts";
import { maxPodsOf } from "./scaling.ts";

/** Pods start within some ten milliseconds where the pool has one. */
const LOOK_MS = 20;

/**
 * Has pods of the revision start until there are as many as asked for, and waits for them. Pods that were about to go stay. Resolves with what
 * there is when the time is over or the caller left; throws `PlatformError` when the code does not load.
 */
export async function warmUp(
  parts: Parts,
  revision: Revision,
  { pods, waitMs }: Pick<WarmRequest, "pods" | "waitMs">,
  signal?: AbortSignal,
): Promise<WarmReply> {
  if (!parts.functions.isNamed(revision))
    throw new PlatformError(
      "function_not_ready",
      `Cannot warm revision "${revision.serving.revision}" of function "${revision.identity.name}": neither the function nor a version of it serves it`,
    );
  const until = performance.now() + waitMs;
  for (;;) {
    const wanted = Math.min(pods, Math.max(1, maxPodsOf(parts, revision)));
    const ready = revision.available().length;
    if (ready < wanted) parts.autoScale.apply(revision, wanted);
    const { starting, failure } = revision.snapshot();
    if (ready < wanted && starting === 0 && failure !== null)
      throw new PlatformError("specialization_failed", failure);
    const over = performance.now() >= until || signal?.aborted === true || parts.phase === "stopped";
    if (ready >= wanted || over) return { ready, starting, wanted };
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}
