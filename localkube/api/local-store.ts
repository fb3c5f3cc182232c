import type { KubeObjectInput } from "../store/kube-object.ts";
import { objectKey } from "../store/object-table.ts";
import type { ListFilter, Store, StoreEvent } from "../store/store.ts";
import { type ApiCore, internalWrite, type ObjectPlace } from "./api-core.ts";
import { ApiError } from "./api-error.ts";
import { deleteObject } from "./delete-object.ts";
import { patchObject } from "./patch-object.ts";
import type { ResourceDefinition } from "./resource.ts";
import { parseSelectors } from "./selectors.ts";
import { createObject, replaceObject, type WriteResult } from "./write-object.ts";

const MANAGER = "localkube";

/** The store as parts in this process see it. */
export function localStore(core: ApiCore): Store {
  const definitionOf = (resource: string): ResourceDefinition => {
    const definition = core.registry.stored(resource);
    if (!definition)
      throw new ApiError(404, "NotFound", `the server does not have the resource "${resource}"`);
    return definition;
  };
  const placeOf = (resource: string, namespace: string | undefined, name: string): ObjectPlace => {
    const definition = definitionOf(resource);
    return { definition, namespace: definition.namespaced ? namespace : undefined, name };
  };
  const settle = async ({ object, stored }: WriteResult) => {
    await stored;
    return object;
  };
  const replace = async (resource: string, object: KubeObjectInput, part: "main" | "status") => {
    const place = placeOf(resource, object.metadata.namespace, object.metadata.name ?? "");
    return settle(replaceObject(core, place, part, object, internalWrite(MANAGER)));
  };
  return {
    get: (resource, namespace, name) => core.table.get(resource, objectKey(namespace, name))?.object,
    list: (resource, filter = {}) => listObjects(core, resource, filter),
    create: async (resource, object) => {
      const definition = definitionOf(resource);
      return settle(
        createObject(core, definition, object.metadata.namespace, object, internalWrite(MANAGER)),
      );
    },
    update: (resource, object) => replace(resource, object, "main"),
    updateStatus: (resource, object) => replace(resource, object, "status"),
    patch: async (resource, namespace, name, patch, options = {}) => {
      const place = placeOf(resource, namespace, name);
      const request = {
        mediaType: "application/merge-patch+json",
        patch,
        force: false,
        part: options.subresource ?? ("main" as const),
      };
      return settle(patchObject(core, place, request, internalWrite(MANAGER)));
    },
    delete: async (resource, namespace, name, options = {}) => {
      const result = deleteObject(core, placeOf(resource, namespace, name), options, internalWrite(MANAGER));
      await result.stored;
    },
    watch: (resource, fromResourceVersion, listener) =>
      watchObjects(core, resource, fromResourceVersion, listener),
  };
}

function listObjects(core: ApiCore, resource: string, filter: ListFilter) {
  const test = parseSelectors(resource, filter.labelSelector, filter.fieldSelector);
  const items = [...core.table.list(resource, filter.namespace)]
    .map((stored) => stored.object)
    .filter((object) => !test || test(object));
  return { items, resourceVersion: String(core.table.resourceVersion) };
}

function watchObjects(
  core: ApiCore,
  resource: string,
  fromResourceVersion: string | undefined,
  listener: (event: StoreEvent) => void,
): () => void {
  let fromRv = core.table.resourceVersion;
  if (fromResourceVersion === undefined) {
    for (const stored of core.table.list(resource)) listener({ type: "ADDED", object: stored.object });
  } else fromRv = Number(fromResourceVersion);
  return core.table.watch(resource, fromRv, (event) =>
    listener({ type: event.type, object: event.current.object }),
  );
}
