import { badRequest, unsupportedMediaType } from "../api/api-error.ts";
import type { ResourceDefinition } from "../api/resource.ts";
import { copyJson, isPlainObject } from "../schema/plain-object.ts";
import type { KubeObject } from "../store/kube-object.ts";
import { applyJsonPatch } from "./json-patch.ts";
import { mergePatch } from "./merge-patch.ts";
import { strategicMerge } from "./strategic-merge.ts";

export const JSON_PATCH = "application/json-patch+json";
export const MERGE_PATCH = "application/merge-patch+json";
export const STRATEGIC_PATCH = "application/strategic-merge-patch+json";
export const APPLY_YAML = "application/apply-patch+yaml";
export const APPLY_JSON = "application/apply-patch+json";

/** The patched object as a plain body. Throws 400, 415 or 422 as an API server does. */
export function patchedBody(
  definition: ResourceDefinition,
  current: KubeObject,
  mediaType: string,
  patch: unknown,
): unknown {
  switch (mediaType) {
    case JSON_PATCH:
      if (!Array.isArray(patch)) {
        throw badRequest(
          "error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch",
        );
      }
      return applyJsonPatch(definition, current, patch);
    case MERGE_PATCH:
      if (!isPlainObject(patch)) throw badRequest("error decoding patch: a merge patch must be an object");
      return mergePatch(copyJson(current), patch);
    case STRATEGIC_PATCH:
      if (definition.custom || !definition.schema) {
        throw unsupportedMediaType(
          `the body of the request was in an unknown format - accepted media types include: ${JSON_PATCH}, ${MERGE_PATCH}, ${APPLY_YAML}`,
        );
      }
      if (!isPlainObject(patch))
        throw badRequest("error decoding patch: a strategic merge patch must be an object");
      return strategicMerge(definition.schema, copyJson(current), patch);
    default:
      throw unsupportedMediaType(
        `the body of the request was in an unknown format - accepted media types include: ${JSON_PATCH}, ${MERGE_PATCH}, ${STRATEGIC_PATCH}, ${APPLY_YAML}`,
      );
  }
}
