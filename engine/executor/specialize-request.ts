import type { Serving } from "../../api/kinds/serving.ts";
import type { SpecializeRequest } from "../../api/wire/specialize.ts";
import type { Content } from "./content.ts";
import type { Pod } from "./pod.ts";
import type { FunctionIdentity } from "./revision.ts";

/** The message that makes `pod` a pod of the function's revision. */
export function specializeRequest(
  pod: Pod,
  identity: FunctionIdentity,
  serving: Serving,
  content: Content,
  debug: boolean,
): SpecializeRequest {
  const { limits } = serving;
  return {
    podUid: pod.uid,
    revision: serving.revision,
    function: { ...identity },
    functionName: serving.functionName,
    archive: { sha256: serving.package.digest, sizeBytes: content.archive.length },
    // A foreign runtime has them from its start, or not at all.
    env: serving.environment.contract === "sidecar" ? {} : content.env,
    ...(content.secretEnv.length > 0 ? { secretEnv: content.secretEnv } : {}),
    secrets: content.secrets,
    configMaps: content.configMaps,
    limits: {
      requestsPerPod: limits.onceOnly ? 1 : limits.requestsPerPod,
      onceOnly: limits.onceOnly,
      timeoutMs: limits.streaming ? 0 : limits.timeoutMs,
      maxBodyBytes: limits.maxBodyBytes,
    },
    debug,
  };
}
