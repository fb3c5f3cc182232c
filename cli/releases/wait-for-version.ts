import { setTimeout as pause } from "node:timers/promises";
import type { FunctionVersion } from "../../api/kinds/index.ts";
import type { KubeClient } from "../../kube/client.ts";
import { FUNCTION_VERSIONS } from "../../kube/kinds.ts";
import { CliError } from "../command.ts";

const POLL_MS = 50;

/** Resolves when the version can be called. @throws {CliError} with the reason when it cannot in time */
export async function waitForVersion(
  kube: KubeClient,
  ref: { namespace: string; name: string },
  { timeoutMs, signal }: { timeoutMs: number; signal: AbortSignal },
): Promise<FunctionVersion> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    signal.throwIfAborted();
    const version = await kube.get(FUNCTION_VERSIONS, ref);
    const ready = version.status?.conditions?.find(({ type }) => type === "Ready");
    if (version.status?.serving && ready?.status !== "False") return version;
    if (performance.now() > deadline)
      throw new CliError(
        `Version "${ref.name}" is not ready after ${timeoutMs / 1000} s: ${ready ? `${ready.reason}: ${ready.message}` : "nobody has looked at it yet"}`,
      );
    await pause(POLL_MS);
  }
}
