import type { KubeObject, ObjectRef } from "./object.ts";

/** One kind of object at the API: where it lives and, at compile time, what it looks like. */
export interface ResourceType<T extends KubeObject = KubeObject> {
  readonly apiVersion: string;
  readonly kind: string;
  readonly plural: string;
  readonly namespaced: boolean;
  /** Exists at compile time only. */
  readonly object?: T;
}

/**
 * Describes a kind, e.g. `resourceType<Pod>("v1", "Pod", "pods")`. Namespaced unless `{namespaced: false}` is given.
 */
export function resourceType<T extends KubeObject>(
  apiVersion: string,
  kind: string,
  plural: string,
  options: { namespaced?: boolean } = {},
): ResourceType<T> {
  return { apiVersion, kind, plural, namespaced: options.namespaced ?? true };
}

/** Path of a collection; without namespace, of all namespaces. */
export function collectionPath(type: ResourceType, namespace: string | undefined): string {
  const root = type.apiVersion.includes("/") ? `/apis/${type.apiVersion}` : `/api/${type.apiVersion}`;
  const scope = type.namespaced && namespace ? `/namespaces/${encodeURIComponent(namespace)}` : "";
  return `${root}${scope}/${type.plural}`;
}

/** Path of one object, with its subresource if given. Throws when a namespaced kind is named without a namespace. */
export function objectPath(type: ResourceType, ref: ObjectRef, subresource?: string): string {
  if (type.namespaced && !ref.namespace) {
    throw new TypeError(`Cannot name ${type.kind} "${ref.name}": its namespace must be given`);
  }
  if (!ref.name) throw new TypeError(`Cannot name ${type.kind}: its name must not be empty`);
  const path = `${collectionPath(type, ref.namespace)}/${encodeURIComponent(ref.name)}`;
  return subresource ? `${path}/${subresource}` : path;
}
