import type { Serving } from "../../api/kinds/serving.ts";
import type { KubeEnvironment } from "./cluster.ts";

/**
 * The environment with the image that a version was published with: an environment that moved on changes nothing for versions.
 */
export function pinnedEnvironment(
  environment: KubeEnvironment,
  { environment: { image, contract, shared = false, keepArchive = false } }: Pick<Serving, "environment">,
  fetcherImage: string,
): KubeEnvironment {
  if (image === "" || environment.spec.runtime.image === image) return environment;
  const { sidecar, ...spec } = environment.spec;
  const fetcher = sidecar ?? { image: fetcherImage, shared, keepArchive };
  return {
    ...environment,
    spec: {
      ...spec,
      ...(contract === "sidecar" ? { sidecar: fetcher } : {}),
      runtime: { ...spec.runtime, image },
    },
  };
}
