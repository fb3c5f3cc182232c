import {
  type Environment,
  FUNCTION_DEFAULTS,
  type FunctionSpec,
  type Serving,
} from "../../api/kinds/index.ts";
import { podSpecProblems, runtimeContainerProblems } from "../../api/pod-spec-policy.ts";
import type { Problem } from "./resolve.ts";

const DEFAULT_CONTAINER_PORT = 8888;

/** How pods of the function are had. */
export function executorType(spec: FunctionSpec): "poolmgr" | "newdeploy" | "container" | "auto" {
  return spec.InvokeStrategy.ExecutionStrategy?.ExecutorType || "poolmgr";
}

/** Whether a Deployment of the function's own runs its pods. */
export const isDeployed = (spec: FunctionSpec): boolean =>
  executorType(spec) === "newdeploy" || executorType(spec) === "container";

/** The most pods that a function may have at once. */
function maxPodsOf(spec: FunctionSpec): number {
  const { MinScale = 0, MaxScale = 0 } = spec.InvokeStrategy.ExecutionStrategy ?? {};
  const concurrency = spec.concurrency || FUNCTION_DEFAULTS.concurrency;
  switch (executorType(spec)) {
    case "poolmgr":
      return concurrency;
    case "auto":
      return Math.min(concurrency, MaxScale || concurrency);
    default:
      return MaxScale || Math.max(1, MinScale);
  }
}

/** `Serving.scale` of a function; undefined for poolmgr. */
export function scaleOf(spec: FunctionSpec): Serving["scale"] {
  if (executorType(spec) === "poolmgr") return undefined;
  const strategy = spec.InvokeStrategy.ExecutionStrategy ?? {};
  const maxPods = maxPodsOf(spec);
  const requestsPerSecond = strategy.TargetRequestsPerSecond || undefined;
  const scale = {
    minPods: Math.min(strategy.MinScale ?? 0, maxPods),
    maxPods,
    ...(requestsPerSecond === undefined ? {} : { requestsPerSecond }),
  };
  if (!isDeployed(spec)) return scale;
  return {
    ...scale,
    metrics: metricsOf(strategy),
    ...(strategy.hpaBehavior ? { behavior: strategy.hpaBehavior } : {}),
  };
}

const DEFAULT_CPU_PERCENT = 80;

function metricsOf(
  strategy: NonNullable<FunctionSpec["InvokeStrategy"]["ExecutionStrategy"]>,
): NonNullable<NonNullable<Serving["scale"]>["metrics"]> {
  if (strategy.hpaMetrics && strategy.hpaMetrics.length > 0) return strategy.hpaMetrics;
  const averageUtilization = strategy.TargetCPUPercent || DEFAULT_CPU_PERCENT;
  return [
    { type: "Resource", resource: { name: "cpu", target: { type: "Utilization", averageUtilization } } },
  ];
}

/** `Serving.pod` of a function; undefined where pods are the environment's. */
export function podOf(spec: FunctionSpec): Serving["pod"] {
  if (!isDeployed(spec)) return undefined;
  return {
    ...(spec.podspec ? { spec: spec.podspec } : {}),
    ...(spec.resources ? { resources: spec.resources } : {}),
    ...(executorType(spec) === "container" ? { port: containerPort(spec) } : {}),
  };
}

function containerPort({ podspec }: FunctionSpec): number {
  const ports = podspec?.containers?.[0]?.["ports"];
  const [first]: unknown[] = Array.isArray(ports) ? ports : [];
  const port =
    typeof first === "object" && first !== null && "containerPort" in first ? first.containerPort : undefined;
  return typeof port === "number" ? port : DEFAULT_CONTAINER_PORT;
}

/** What a function may not say about its pods. */
export function podProblem(spec: FunctionSpec): Problem | undefined {
  const type = executorType(spec);
  const { podspec } = spec;
  if (type === "container" && !podspec?.containers?.[0]?.image)
    return {
      reason: "ImageMissing",
      message: "Cannot run a container function without an image: set spec.podspec.containers[0].image",
    };
  if (!isDeployed(spec)) return undefined;
  const [first] = podSpecProblems(podspec, type === "container" ? "container" : "runtime", "spec.podspec");
  return first === undefined ? undefined : { reason: "PodSpecNotAllowed", message: first };
}

/** What is accepted but has no effect with this executor type. */
export function podNotes(spec: FunctionSpec): string[] {
  const type = executorType(spec);
  const strategy = spec.InvokeStrategy.ExecutionStrategy ?? {};
  const unused: [unknown, string][] = isDeployed(spec)
    ? [
        [spec.onceOnly, "spec.onceOnly"],
        [spec.retainPods, "spec.retainPods"],
      ]
    : [
        [spec.podspec, "spec.podspec"],
        [spec.resources, "spec.resources"],
        [strategy.hpaMetrics, "hpaMetrics"],
        [strategy.hpaBehavior, "hpaBehavior"],
      ];
  return unused
    .filter(([value]) => value)
    .map(([, name]) => `${name} has no effect with executor type "${type}"`);
}

/** What an environment may not say about its pods. */
export function runtimeProblem({ spec }: Environment): Problem | undefined {
  const [first] = [
    ...podSpecProblems(spec.runtime.podspec, "runtime", "spec.runtime.podspec"),
    ...runtimeContainerProblems(spec.runtime.container, "spec.runtime.container"),
  ];
  return first === undefined ? undefined : { reason: "PodSpecNotAllowed", message: first };
}
