import type { ResourceDefinition } from "../api/resource.ts";
import type { Json, JsonObject, KubeObject } from "../store/kube-object.ts";

export type IncludeObject = "None" | "Metadata" | "Object";

/** Objects of one kind as the `meta.k8s.io/v1` Table that `kubectl get` prints. */
export function toTable(
  definition: ResourceDefinition,
  objects: readonly KubeObject[],
  metadata: JsonObject,
  include: IncludeObject,
  nowMs: number,
): JsonObject {
  return {
    kind: "Table",
    apiVersion: "meta.k8s.io/v1",
    metadata,
    columnDefinitions: definition.columns.map(({ name, type, format, description, priority }) => ({
      name,
      type,
      format: format ?? "",
      description: description ?? name,
      priority,
    })),
    rows: objects.map((object) => ({
      cells: definition.columns.map((column): Json => column.cell(object, nowMs) ?? null),
      ...rowObject(object, include),
    })),
  };
}

function rowObject(object: KubeObject, include: IncludeObject): JsonObject {
  if (include === "None") return {};
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- objects are JSON
  if (include === "Object") return { object: object as unknown as Json };
  return { object: toPartialMetadata(object) };
}

/** Metadata only, as metadata clients ask for. */
export const toPartialMetadata = (object: KubeObject): JsonObject => ({
  kind: "PartialObjectMetadata",
  apiVersion: "meta.k8s.io/v1",
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- objects are JSON
  metadata: object.metadata as unknown as Json,
});
