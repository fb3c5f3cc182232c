import { APPLY_JSON, APPLY_YAML, patchedBody } from "../patch/apply-patch.ts";
import { isPlainObject } from "../schema/plain-object.ts";
import { applyConfiguration } from "./apply-object.ts";
import { type ApiCore, type ObjectPlace, requireStored, toView, type WriteOptions } from "./api-core.ts";
import { badRequest } from "./api-error.ts";
import { replaceObject, type WriteResult } from "./write-object.ts";

export interface PatchRequest {
  mediaType: string;
  patch: unknown;
  /** Server-side apply: take fields over from other managers. */
  force: boolean;
  part: "main" | "status";
}

export interface PatchResult extends WriteResult {
  created: boolean;
}

/** Applies a patch of any kind. Throws 404, 409, 415, 422 and 400 as an API server does. */
export function patchObject(
  core: ApiCore,
  place: ObjectPlace,
  request: PatchRequest,
  options: WriteOptions,
): PatchResult {
  if (request.mediaType === APPLY_YAML || request.mediaType === APPLY_JSON) {
    return applyConfiguration(core, place, request, options);
  }
  const stored = requireStored(core, place);
  const current = toView(place.definition, stored.object);
  const body = patchedBody(place.definition, current, request.mediaType, request.patch);
  if (!isPlainObject(body)) throw badRequest("the patched object is not an object");
  const metadata = isPlainObject(body.metadata) ? body.metadata : {};
  // A patch that removes the version asks for no check.
  if (metadata.resourceVersion === undefined) metadata.resourceVersion = String(stored.rv);
  body.metadata = metadata;
  return { ...replaceObject(core, place, request.part, body, options), created: false };
}
