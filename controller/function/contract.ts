import { ANNOTATION_SPECIALISATION, isDirectImage } from "../../api/direct-image.ts";
import type { Environment, FunctionSpec, Serving } from "../../api/kinds/index.ts";
import type { Problem } from "./resolve.ts";

const isForeign = ({ metadata, spec }: Environment): boolean =>
  !isDirectImage(spec.runtime.image, metadata.annotations);

const isShared = ({ spec }: Environment): boolean => spec.allowedFunctionsPerContainer === "infinite";

/** How pods of the environment are specialised, as `Serving.environment` has it; nothing for our own runtime. */
export function contractOf(
  environment: Environment | undefined,
): Pick<Serving["environment"], "contract" | "keepArchive" | "shared"> {
  if (!environment || !isForeign(environment)) return {};
  return {
    contract: "sidecar",
    ...(environment.spec.keeparchive ? { keepArchive: true } : {}),
    ...(isShared(environment) ? { shared: true } : {}),
  };
}

/** What an environment asks for that its image's contract does not have. */
export function contractProblem(environment: Environment): Problem | undefined {
  const { metadata, spec } = environment;
  if (!isForeign(environment) || !isShared(environment) || spec.version > 1) return undefined;
  return {
    reason: "ContractTooOld",
    message: `Environment "${metadata.name}" has allowedFunctionsPerContainer "infinite", which version 1 of the environment contract cannot serve: set spec.version to 2 or 3`,
  };
}

/** What a function asks for that its environment's image cannot be given by the fetcher. */
export function functionContractProblem(spec: FunctionSpec, environment: Environment): Problem | undefined {
  const type = spec.InvokeStrategy.ExecutionStrategy?.ExecutorType || "poolmgr";
  if (!isForeign(environment) || type === "container") return undefined;
  const { image } = environment.spec.runtime;
  const variables = [...(spec.env ?? []), ...(spec.envFrom ?? [])].length;
  if (variables > 0 && type !== "newdeploy")
    return {
      reason: "EnvNotSupported",
      message: `Environment "${environment.metadata.name}" runs image "${image}", whose process runs before it gets a function, so that spec.env and spec.envFrom cannot reach it with executor type "${type}": use newdeploy, give secrets and configmaps as files, set variables in the environment's runtime.container.env, or annotate the environment with ${ANNOTATION_SPECIALISATION}=direct when its image is made from isotope/deno-env`,
    };
  return contractProblem(environment) ?? sharedProblem(spec, environment);
}

/** What functions that share a pod cannot have. */
function sharedProblem(spec: FunctionSpec, environment: Environment): Problem | undefined {
  if (!isShared(environment)) return undefined;
  const type = spec.InvokeStrategy.ExecutionStrategy?.ExecutorType || "poolmgr";
  const mounted = [...(spec.secrets ?? []), ...(spec.configmaps ?? [])].find(({ mountPath }) => mountPath);
  const wrong =
    type !== "poolmgr"
      ? `executor type "${type}": use poolmgr`
      : spec.onceOnly
        ? "onceOnly: it would end the others' pod"
        : mounted
          ? `mountPath "${mounted.mountPath ?? ""}" of "${mounted.name}": the folder would be the others' too`
          : undefined;
  return wrong === undefined
    ? undefined
    : {
        reason: "SharedPods",
        message: `Functions of environment "${environment.metadata.name}" share pods (allowedFunctionsPerContainer "infinite") and cannot have ${wrong}`,
      };
}
