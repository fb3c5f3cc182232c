import { pathNotFound } from "../api/api-error.ts";
import type { Registry } from "../api/registry.ts";
import type { ResourceRequest } from "./exchange.ts";
import { REVIEWS, type Review } from "./review-handlers.ts";

export type Route =
  | { to: "resource"; target: ResourceRequest }
  | { to: "review"; review: Review }
  | { to: "discovery"; level: "api" | "apis" }
  | { to: "group"; group: string }
  | { to: "groupVersion"; group: string; version: string }
  | { to: "openapi"; path: string }
  | { to: "version" }
  | { to: "health" }
  | { to: "root" };

/** Reads a path. Throws 404 for what is not served. */
export function routeRequest(registry: Registry, path: string): Route {
  const parts = path
    .split("/")
    .filter((part) => part !== "")
    .map(decodePart);
  const [first, ...rest] = parts;
  switch (first) {
    case undefined:
      return { to: "root" };
    case "healthz":
    case "readyz":
    case "livez":
      return { to: "health" };
    case "version":
      if (rest.length === 0) return { to: "version" };
      break;
    case "openapi":
      return { to: "openapi", path: rest.join("/") };
    case "api":
      if (rest.length === 0) return { to: "discovery", level: "api" };
      if (rest[0] === "v1") return routeVersion(registry, "", "v1", rest.slice(1));
      break;
    case "apis": {
      const [group, version] = rest;
      if (group === undefined) return { to: "discovery", level: "apis" };
      if (version === undefined) return { to: "group", group };
      return routeVersion(registry, group, version, rest.slice(2));
    }
    default:
  }
  throw pathNotFound();
}

function decodePart(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw pathNotFound();
  }
}

function routeVersion(registry: Registry, group: string, version: string, rest: string[]): Route {
  if (rest.length === 0) return { to: "groupVersion", group, version };
  const inNamespace = rest[0] === "namespaces" && rest.length > 2 && !isNamespaceSubresource(group, rest);
  const namespace = inNamespace ? rest[1] : undefined;
  const [plural = "", name, subresource, extra] = inNamespace ? rest.slice(2) : rest;
  if (extra !== undefined) throw pathNotFound();
  const review = REVIEWS.find((each) => each.group === group && each.plural === plural);
  if (review && version === "v1" && name === undefined) return { to: "review", review };
  const definition = registry.find(group, version, plural);
  if (!definition) throw pathNotFound();
  if (inNamespace && !definition.namespaced) throw pathNotFound();
  if (definition.namespaced && !inNamespace && name !== undefined) throw pathNotFound();
  return { to: "resource", target: { definition, namespace, name, subresource } };
}

const isNamespaceSubresource = (group: string, rest: readonly string[]): boolean =>
  group === "" && rest.length === 3 && (rest[2] === "status" || rest[2] === "finalize");
