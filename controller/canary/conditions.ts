import type { CanaryConfigStatus, CanaryPhase } from "../../api/kinds/index.ts";
import type { ConditionUpdate } from "../../kube/conditions.ts";

const REASONS: Readonly<Record<CanaryPhase, string>> = {
  waiting: "Waiting",
  warming: "WarmingPods",
  progressing: "ComparingTraffic",
  holding: "Holding",
  paused: "Paused",
  succeeded: "Succeeded",
  failed: "RolledBack",
  aborted: "Aborted",
};

/** `Progressing`: it may still move by itself. `Ready`: it is able to do its work, or has done it. */
export function canaryConditions(
  { phase = "waiting", sentence = "" }: CanaryConfigStatus,
  dryRun: boolean,
): ConditionUpdate[] {
  const reason = REASONS[phase];
  const message = dryRun ? `${sentence} (dry run: no weight is changed)` : sentence;
  const moves = phase === "warming" || phase === "progressing" || phase === "holding";
  const ready = phase !== "waiting" && phase !== "failed" && phase !== "aborted";
  return [
    { type: "Progressing", status: moves ? "True" : "False", reason, message },
    { type: "Ready", status: ready ? "True" : "False", reason, message },
  ];
}
