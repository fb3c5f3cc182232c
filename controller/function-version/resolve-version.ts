import type { Environment, Function as FunctionObject, FunctionVersion } from "../../api/kinds/index.ts";
import { API_GROUP_VERSION } from "../../api/names.ts";
import { executorType } from "../function/pods.ts";
import { type References, type Resolution, resolveFunction } from "../function/resolve.ts";

/** The function as it was published. */
function publishedFunction({ metadata, spec }: FunctionVersion): FunctionObject {
  return {
    apiVersion: API_GROUP_VERSION,
    kind: "Function",
    metadata: {
      name: spec.functionName,
      namespace: metadata.namespace ?? "default",
      uid: spec.functionUID,
      generation: spec.functionGeneration,
    },
    spec: spec.snapshot,
  };
}

/** Digest in hex of the archive that a version holds on to; empty for container functions. */
export function pinnedDigest({ spec }: FunctionVersion): string {
  return spec.packageDigest.replace(/^sha256:/, "");
}

/**
 * What a version serves: its snapshot, with the archive and the image that it was published with, and everything else as it is now. As long
 * as nothing of that changed, it is the revision that the function itself had then. `archive` is undefined when storage does not have it.
 * Pure.
 */
export function resolveVersion(
  version: FunctionVersion,
  references: References,
  archive: { sizeBytes: number } | undefined,
): Resolution {
  const { metadata, spec } = version;
  if (spec.packageDigest === "" && executorType(spec.snapshot) !== "container")
    return blocked(
      "DigestMissing",
      `Version "${metadata.name}" names no archive: spec.packageDigest must be "sha256:…" unless the function is a container`,
    );
  if (!archive)
    return blocked(
      "ArchiveNotFound",
      `Archive "${spec.packageDigest}" is not in storage: upload it again with isotope archive upload`,
    );
  return resolveFunction(publishedFunction(version), {
    ...references,
    environment: (name) => withImage(references.environment(name), spec.envRuntimeImage),
    pinnedArchive: { digest: pinnedDigest(version), sizeBytes: archive.sizeBytes },
  });
}

function withImage(environment: Environment | undefined, image: string | undefined): Environment | undefined {
  if (!environment || !image || environment.spec.runtime.image === image) return environment;
  const { spec } = environment;
  return { ...environment, spec: { ...spec, runtime: { ...spec.runtime, image } } };
}

const blocked = (reason: string, message: string): Resolution => ({
  kind: "blocked",
  problem: { reason, message },
  package: { type: "PackageReady", status: "False", reason, message },
});
