import { setTimeout as pause } from "node:timers/promises";
import type { Function as FunctionObject, FunctionVersion } from "../../api/kinds/index.ts";
import { publishProblem } from "../../api/releases/publish.ts";
import type { KubeClient } from "../../kube/client.ts";
import { FUNCTIONS } from "../../kube/kinds.ts";
import { publishVersion } from "../../kube/publish-version.ts";
import { CliError } from "../command.ts";

const POLL_MS = 50;

/**
 * Publishes what a function is now, once that serves.
 * @throws {CliError} with the reason, when it does not serve in time
 */
export async function publishFunction(
  kube: KubeClient,
  ref: { namespace: string; name: string },
  options: { description?: string | undefined; timeoutMs: number; signal: AbortSignal },
): Promise<{ version: FunctionVersion; created: boolean }> {
  const fn = await untilServing(kube, ref, options);
  return publishVersion(kube, fn, { description: options.description, now: new Date() });
}

async function untilServing(
  kube: KubeClient,
  ref: { namespace: string; name: string },
  { timeoutMs, signal }: { timeoutMs: number; signal: AbortSignal },
): Promise<FunctionObject> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    signal.throwIfAborted();
    const fn = await kube.get(FUNCTIONS, ref);
    const problem = publishProblem(fn);
    if (problem === undefined) return fn;
    const ready = fn.status?.conditions?.find(({ type }) => type === "Ready");
    const isFinal = ready?.status === "False" && ready.observedGeneration === fn.metadata.generation;
    if (isFinal || performance.now() > deadline)
      throw new CliError(`Cannot publish function "${ref.name}": ${problem}`);
    await pause(POLL_MS);
  }
}
