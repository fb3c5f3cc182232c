import { isDeepStrictEqual } from "node:util";
import type { KubeObject } from "../../kube/object.ts";

export type Action = "create" | "update" | "unchanged" | "delete";

export interface PlannedObject {
  action: Action;
  kind: string;
  object: KubeObject & { spec?: unknown };
  live?: KubeObject & { spec?: unknown };
  /** Paths that differ, for people. */
  changes: string[];
}

type Json = Record<string, unknown>;
const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/**
 * Paths at which `live` differs from `wanted`. A field that only the live object has counts when `owned`, except where the
 * platform or the API's defaults wrote it.
 */
function differences(wanted: unknown, live: unknown, path: string, owned: boolean): string[] {
  if (isDeepStrictEqual(wanted, live)) return [];
  if (!isObject(wanted) || !isObject(live)) return [path];
  const keys = new Set([...Object.keys(wanted), ...(owned ? Object.keys(live) : [])]);
  return [...keys].flatMap((key) => {
    // `undefined` in what is wanted means: not given.
    if (wanted[key] === undefined && live[key] === undefined) return [];
    return differences(wanted[key], live[key], path ? `${path}.${key}` : key, owned);
  });
}

/** Fields of a spec that others write: a build writes the package's deployment archive. */
const NOT_OWNED: Record<string, readonly string[]> = {
  Package: ["deployment"],
};

/** What a deployment would do to one object. */
export function planObject(
  kind: string,
  wanted: PlannedObject["object"],
  live: PlannedObject["object"] | undefined,
): PlannedObject {
  if (!live) return { action: "create", kind, object: wanted, changes: [] };
  const foreign = (NOT_OWNED[kind] ?? []).map((field) => `spec.${field}`);
  const changes = [
    ...differences(wanted.spec, live.spec, "spec", true).filter(
      (path) => !foreign.some((field) => path === field || path.startsWith(`${field}.`)),
    ),
    ...differences(wanted.metadata.labels, live.metadata.labels, "labels", false),
    ...differences(wanted.metadata.annotations ?? {}, live.metadata.annotations ?? {}, "annotations", false),
  ];
  return { action: changes.length > 0 ? "update" : "unchanged", kind, object: wanted, live, changes };
}

/** The spec to write: what is wanted, with what others own carried over from the live object. */
export function mergedSpec(planned: PlannedObject): unknown {
  const spec: Json = isObject(planned.object.spec) ? { ...planned.object.spec } : {};
  const live = isObject(planned.live?.spec) ? planned.live.spec : {};
  for (const field of NOT_OWNED[planned.kind] ?? [])
    if (live[field] !== undefined && spec[field] === undefined) spec[field] = live[field];
  return spec;
}
