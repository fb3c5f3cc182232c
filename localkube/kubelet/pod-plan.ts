import type { ContainerSpec, RestartPolicy } from "./pod.ts";

/** Where one container is in its life. */
export type ContainerPhase =
  | { is: "new" }
  /** Cannot start for now. */
  | { is: "waiting"; reason: string; message: string; untilMs: number }
  | { is: "starting" }
  | { is: "running"; startedAtMs: number }
  | { is: "ended"; exitCode: number; retryAtMs: number };

export interface PlannedContainer {
  spec: ContainerSpec;
  phase: ContainerPhase;
  /** The startup probe, if any, has succeeded. */
  started: boolean;
}

export interface PodPlan {
  /** Containers to start now. */
  start: string[];
  /** When to look again although nothing happens. */
  wakeAtMs?: number;
  /** Whether all init containers have done their work. */
  initialized: boolean;
  /** The pod is over: nothing will be started any more. */
  finished?: "Succeeded" | "Failed";
}

type Verdict = "go" | "hold" | "over";

function isSidecar(container: PlannedContainer): boolean {
  return container.spec.restartPolicy === "Always";
}

/** Whether a container that ended so is started again. */
export function willRestart(policy: RestartPolicy, exitCode: number): boolean {
  return policy === "Always" || (policy === "OnFailure" && exitCode !== 0);
}

/** What to do next with a pod that is not being deleted. Pure. */
export function planPod(
  policy: RestartPolicy,
  init: readonly PlannedContainer[],
  main: readonly PlannedContainer[],
  nowMs: number,
): PodPlan {
  const plan: PodPlan = { start: [], initialized: false };
  const later = (atMs: number): void => {
    plan.wakeAtMs = Math.min(plan.wakeAtMs ?? Number.POSITIVE_INFINITY, atMs);
  };
  const startWhenDue = (container: PlannedContainer, dueMs: number): void => {
    if (dueMs <= nowMs) plan.start.push(container.spec.name);
    else later(dueMs);
  };
  const tend = (container: PlannedContainer, restartOn: RestartPolicy): Verdict => {
    const { phase } = container;
    switch (phase.is) {
      case "new":
        plan.start.push(container.spec.name);
        return "hold";
      case "waiting":
        startWhenDue(container, phase.untilMs);
        return "hold";
      case "starting":
      case "running":
        return "hold";
      default:
        if (!willRestart(restartOn, phase.exitCode)) return "over";
        startWhenDue(container, phase.retryAtMs);
        return "hold";
    }
  };

  for (const container of init) {
    if (isSidecar(container)) {
      tend(container, "Always");
      if (container.phase.is === "running" && container.started) continue;
      return plan;
    }
    const verdict = tend(container, policy === "Never" ? "Never" : "OnFailure");
    if (verdict === "hold") return plan;
    if (container.phase.is === "ended" && container.phase.exitCode !== 0)
      return { ...plan, finished: "Failed" };
  }
  plan.initialized = true;
  const over = main.map((container) => tend(container, policy)).every((verdict) => verdict === "over");
  if (!over) return plan;
  const failed = main.some((container) => container.phase.is === "ended" && container.phase.exitCode !== 0);
  return { ...plan, finished: failed ? "Failed" : "Succeeded" };
}
