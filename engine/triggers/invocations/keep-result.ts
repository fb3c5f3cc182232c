import { setTimeout as sleep } from "node:timers/promises";
import { PlatformError } from "../../../api/errors.ts";
import type { Invocation, InvocationResult } from "./journal.ts";
import { INLINE_BYTES, type Spills } from "./spills.ts";

/** As long as the storage's one pod is away while it is replaced. */
const PATIENCE_MS = 20_000;
const PAUSE_MS = 500;
const MAX_MESSAGE = 1_024;

/**
 * A result as its record will have it: a large one is in the storage from then on. Where that cannot be, the record says so: what the function has done is
 * done, and it is not called again for that.
 * @param signal the end of patience
 */
export async function keepResult(
  { put }: Pick<Spills, "put">,
  { namespace }: Pick<Invocation, "namespace">,
  result: InvocationResult,
  signal: AbortSignal,
  patienceMs = PATIENCE_MS,
): Promise<InvocationResult> {
  const bytes = result.body.length;
  if (bytes <= INLINE_BYTES) return result;
  const body = new Uint8Array();
  const enough = AbortSignal.any([signal, AbortSignal.timeout(patienceMs)]);
  for (;;)
    try {
      const spill = await before(enough, put(namespace, result.body, "result"));
      return { ...result, body, elsewhere: { bytes, spill } };
    } catch (error) {
      const mayGoWell = error instanceof PlatformError && error.code === "storage_unavailable";
      if (mayGoWell && !enough.aborted)
        await sleep(PAUSE_MS, undefined, { signal: enough }).catch(() => undefined);
      if (mayGoWell && !enough.aborted) continue;
      const message = error instanceof Error ? error.message : String(error);
      return { ...result, body, elsewhere: { bytes, lost: message.slice(0, MAX_MESSAGE) } };
    }
}

/** Rejects with an error of the storage's absence when the signal comes first. */
async function before<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  let stop: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(new PlatformError("storage_unavailable", "The storage did not take it in time"));
    signal.addEventListener("abort", stop);
    if (signal.aborted) stop();
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    if (stop) signal.removeEventListener("abort", stop);
  }
}
