import { setTimeout as pause } from "node:timers/promises";
import type { FunctionAlias } from "../../api/kinds/index.ts";
import type { KubeClient } from "../../kube/client.ts";
import { FUNCTION_ALIASES } from "../../kube/kinds.ts";
import { CliError } from "../command.ts";

const POLL_MS = 50;

/** Whether the alias as it is now is resolved, or why it is not. */
function resolution(alias: FunctionAlias): { done: boolean; why: string } {
  const condition = alias.status?.conditions?.find(({ type }) => type === "Resolved");
  const current = (condition?.observedGeneration ?? 0) >= (alias.metadata.generation ?? 0);
  return {
    done: current && condition?.status === "True",
    why: current && condition ? `${condition.reason}: ${condition.message}` : "nobody has looked at it yet",
  };
}

/** @throws {CliError} when the alias does not get resolved in time */
export async function waitForAlias(
  kube: KubeClient,
  ref: { namespace: string; name: string },
  { timeoutMs, signal }: { timeoutMs: number; signal: AbortSignal },
): Promise<FunctionAlias> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    signal.throwIfAborted();
    const alias = await kube.get(FUNCTION_ALIASES, ref);
    const { done, why } = resolution(alias);
    if (done) return alias;
    if (performance.now() > deadline)
      throw new CliError(`FunctionAlias "${ref.name}" is not resolved after ${timeoutMs / 1000} s: ${why}`);
    await pause(POLL_MS);
  }
}
