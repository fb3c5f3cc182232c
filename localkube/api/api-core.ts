import { randomUUID } from "node:crypto";
import type { KubeObject } from "../store/kube-object.ts";
import { type ObjectTable, objectKey, type StoredObject } from "../store/object-table.ts";
import { ApiError, notFound } from "./api-error.ts";
import type { Registry } from "./registry.ts";
import { apiVersionOf, type ResourceDefinition } from "./resource.ts";

/** What every operation works on. */
export interface ApiCore {
  table: ObjectTable;
  registry: Registry;
  nowMs(): number;
  newUid(): string;
}

export const newUid = (): string => randomUUID();

/** How a request wants its write done. */
export interface WriteOptions {
  dryRun: boolean;
  fieldValidation: "Strict" | "Warn" | "Ignore";
  fieldManager: string;
  /** Filled by the operation; sent as `Warning` headers. */
  warnings: string[];
}

export const internalWrite = (fieldManager: string): WriteOptions => ({
  dryRun: false,
  fieldValidation: "Ignore",
  fieldManager,
  warnings: [],
});

/** RFC 3339 in whole seconds, as metadata timestamps are. */
export const timestamp = (nowMs: number): string => `${new Date(nowMs).toISOString().slice(0, 19)}Z`;

export interface ObjectPlace {
  definition: ResourceDefinition;
  namespace: string | undefined;
  name: string;
}

/** The stored object at a place. Throws 404. */
export function requireStored(core: ApiCore, place: ObjectPlace): StoredObject {
  const stored = core.table.get(place.definition.storage, objectKey(place.namespace, place.name));
  if (!stored) throw notFound(place.definition, place.name);
  return stored;
}

/** An object in the shape of one of the versions that serve it. */
export function toView(definition: ResourceDefinition, object: KubeObject): KubeObject {
  if (definition.view) return definition.view.fromStorage(object);
  const apiVersion = apiVersionOf(definition);
  return object.apiVersion === apiVersion ? object : { ...object, apiVersion };
}

/** Its JSON text, without stringifying again when the stored text will do. */
export function viewText(definition: ResourceDefinition, stored: StoredObject): string {
  if (definition.view) return JSON.stringify(definition.view.fromStorage(stored.object));
  const head = `{"apiVersion":${JSON.stringify(apiVersionOf(definition))},`;
  return stored.text.startsWith(head) ? stored.text : JSON.stringify(toView(definition, stored.object));
}

/** Throws unless new objects may be made in the namespace: 404 without one, 403 while it is being removed. */
export function requireLiveNamespace(
  core: ApiCore,
  definition: ResourceDefinition,
  namespace: string,
  name: string,
): void {
  const stored = core.table.get("namespaces", objectKey(undefined, namespace));
  if (!stored) throw notFound({ group: "", plural: "namespaces" }, namespace);
  if (!stored.object.metadata.deletionTimestamp) return;
  const resource = definition.group ? `${definition.plural}.${definition.group}` : definition.plural;
  throw new ApiError(
    403,
    "Forbidden",
    `${resource} "${name}" is forbidden: unable to create new content in namespace ${namespace} because it is being terminated`,
    {
      name,
      group: definition.group,
      kind: definition.plural,
      causes: [
        {
          reason: "NamespaceTerminating",
          message: `namespace ${namespace} is being terminated`,
          field: "metadata.namespace",
        },
      ],
    },
  );
}
