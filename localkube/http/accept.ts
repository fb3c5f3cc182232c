import type { IncomingMessage } from "node:http";
import { ApiError } from "../api/api-error.ts";

export type Shape = "object" | "table" | "metadata";

export interface Representation {
  shape: Shape;
  format: "json" | "yaml";
}

/** Chooses what to answer with from the Accept header. Throws 406 when nothing fits. */
export function negotiate(request: IncomingMessage): Representation {
  const accept = request.headers.accept;
  if (!accept) return { shape: "object", format: "json" };
  for (const range of accept.split(",")) {
    const [type = "", ...parameters] = range.split(";").map((part) => part.trim());
    const wanted = new Map(
      parameters.map((parameter) => {
        const [name = "", value = ""] = parameter.split("=");
        return [name.toLowerCase(), value] as const;
      }),
    );
    const shape = shapeOf(wanted);
    if (!shape) continue;
    if (type === "application/json" || type === "*/*" || type === "application/*")
      return { shape, format: "json" };
    if (type === "application/yaml") return { shape, format: "yaml" };
  }
  throw new ApiError(
    406,
    "NotAcceptable",
    "only the following media types are accepted: application/json, application/yaml",
  );
}

function shapeOf(parameters: ReadonlyMap<string, string>): Shape | undefined {
  const as = parameters.get("as");
  if (as === undefined) return "object";
  if (parameters.get("g") !== "meta.k8s.io" || parameters.get("v") !== "v1") return undefined;
  if (as === "Table") return "table";
  if (as === "PartialObjectMetadata" || as === "PartialObjectMetadataList") return "metadata";
  return undefined;
}
