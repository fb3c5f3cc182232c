import { stringify } from "yaml";
import type { PodSummary } from "../api/wire/ops.ts";
import type { CliContext } from "./context.ts";
import { age, table } from "./output.ts";

/** Prints pods for `fn pods` and `env pods`. */
export function printPods(
  context: CliContext,
  pods: readonly PodSummary[],
  output: string | undefined,
): void {
  if (output === "json") context.out(`${JSON.stringify(pods, null, 2)}\n`);
  else if (output === "yaml") context.out(stringify(pods));
  else if (output === "name") for (const pod of pods) context.out(`pods/${pod.name}\n`);
  else if (pods.length === 0) context.note("No pods found");
  else {
    context.out(
      table(
        ["NAME", "FUNCTION", "REVISION", "STATE", "READY", "RESTARTS", "IP", "AGE"],
        pods.map((pod) => [
          pod.name,
          pod.function,
          pod.revision,
          pod.message ? `${pod.phase}: ${pod.message}` : pod.state || pod.phase,
          String(pod.ready),
          String(pod.restarts),
          pod.ip,
          age(pod.createdAt),
        ]),
      ),
    );
  }
}
