import jsonPatch, { type Operation } from "fast-json-patch";
import { ApiError, badRequest } from "../api/api-error.ts";
import type { ResourceDefinition } from "../api/resource.ts";
import { isPlainObject } from "../schema/plain-object.ts";
import type { KubeObject } from "../store/kube-object.ts";

const MAX_OPERATIONS = 10_000;
const OPERATIONS = new Set(["add", "remove", "replace", "move", "copy", "test"]);

/** RFC 6902. Throws 400 for what is not a patch and 422 for one that does not fit the object. */
export function applyJsonPatch(
  definition: ResourceDefinition,
  current: KubeObject,
  patch: unknown[],
): unknown {
  if (patch.length > MAX_OPERATIONS) {
    throw new ApiError(
      413,
      "RequestEntityTooLarge",
      `The allowed maximum operations in a JSON patch is ${MAX_OPERATIONS}, got ${patch.length}`,
    );
  }
  const operations: Operation[] = patch.map((operation, index) => {
    if (
      !isPlainObject(operation) ||
      !OPERATIONS.has(String(operation.op)) ||
      typeof operation.path !== "string"
    ) {
      throw badRequest(`error decoding patch: operation ${index} must have a known "op" and a "path"`);
    }
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- checked just above
    return operation as unknown as Operation;
  });
  try {
    return jsonPatch.applyPatch(structuredClone(current), operations, true, true, true).newDocument;
  } catch (error) {
    const why = error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error);
    throw new ApiError(
      422,
      "Invalid",
      `the server rejected our request due to an error in our request: ${why}`,
      { name: current.metadata.name, group: definition.group, kind: definition.kind },
    );
  }
}
