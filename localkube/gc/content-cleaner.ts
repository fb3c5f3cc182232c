/**
 * Empties what is being deleted and holds other objects: namespaces and custom resource definitions.
 *
 * Invariants:
 * 1. The holder is released only once nothing is left in it.
 * 2. All work follows from stored state: a restart takes up where it was.
 */
import { type ApiCore, internalWrite, toView } from "../api/api-core.ts";
import { ApiError } from "../api/api-error.ts";
import { deleteObject } from "../api/delete-object.ts";
import { createObject, storeReplacement } from "../api/write-object.ts";
import { CRD_STORAGE, CUSTOM_CLEANUP, definedStorage } from "../kinds/custom-definitions.ts";
import type { KubeObject } from "../store/kube-object.ts";
import { objectKey, type StoredObject, type TableEvent } from "../store/object-table.ts";
import { passQueue } from "./pass-queue.ts";

const WRITER = internalWrite("localkube-gc");

/** Starts cleaning; returns the function that stops it. */
export function startContentCleaner(core: ApiCore, log: (message: string) => void): () => void {
  const queue = passQueue((key) => {
    const [kind, name = ""] = key.split(" ", 2);
    if (kind === "namespace") visitNamespace(core, name);
    else visitDefinition(core, name);
  }, log);
  const onEvent = (event: TableEvent): void => {
    const object = event.current.object;
    if (event.resource === "namespaces") queue.add(`namespace ${object.metadata.name}`);
    else if (event.resource === CRD_STORAGE) queue.add(`definition ${object.metadata.name}`);
    if (event.type !== "DELETED") return;
    if (object.metadata.namespace !== undefined) queue.add(`namespace ${object.metadata.namespace}`);
    queue.add(`definition ${event.resource}`);
  };
  for (const stored of core.table.list("namespaces")) queue.add(`namespace ${stored.object.metadata.name}`);
  for (const stored of core.table.list(CRD_STORAGE)) queue.add(`definition ${stored.object.metadata.name}`);
  const end = core.table.observe(onEvent);
  return () => {
    end();
    queue.stop();
  };
}

/** Asks for the deletion of each object that is not on its way out yet; returns how many there are. */
function deleteAll(core: ApiCore, resource: string, found: StoredObject[]): number {
  const definition = core.registry.stored(resource);
  if (!definition) return 0;
  for (const { object } of found) {
    if (object.metadata.deletionTimestamp) continue;
    const { namespace, name } = object.metadata;
    deleteObject(core, { definition, namespace, name }, { propagationPolicy: "Background" }, WRITER);
  }
  return [...found].filter(({ object }) => core.table.byUid(object.metadata.uid)).length;
}

function visitNamespace(core: ApiCore, name: string): void {
  const stored = core.table.get("namespaces", objectKey(undefined, name));
  const definition = core.registry.stored("namespaces");
  if (!stored || !definition) return;
  if (!stored.object.metadata.deletionTimestamp) {
    ensureServiceAccount(core, name);
    return;
  }
  let left = 0;
  for (const resource of core.table.resources()) {
    if (!core.registry.stored(resource)?.namespaced) continue;
    left += deleteAll(core, resource, [...core.table.list(resource, name)]);
  }
  if (left > 0) return;
  const copy: KubeObject = structuredClone(stored.object);
  copy.spec = { ...copy.spec, finalizers: [] };
  // The kind's own rules keep this list from being written in any other way.
  const unguarded = { ...definition, rules: {} };
  storeReplacement(core, { definition: unguarded, namespace: undefined, name }, "main", copy, WRITER);
}

/** Every namespace has the account that its pods run under. */
function ensureServiceAccount(core: ApiCore, namespace: string): void {
  const definition = core.registry.stored("serviceaccounts");
  if (!definition || core.table.get("serviceaccounts", objectKey(namespace, "default"))) return;
  try {
    createObject(core, definition, namespace, { metadata: { name: "default" } }, WRITER);
  } catch (error) {
    if (!(error instanceof ApiError && error.code === 409)) throw error;
  }
}

function visitDefinition(core: ApiCore, name: string): void {
  const stored = core.table.get(CRD_STORAGE, objectKey(undefined, name));
  const definition = core.registry.stored(CRD_STORAGE);
  if (!stored || !definition || !stored.object.metadata.deletionTimestamp) return;
  if (!(stored.object.metadata.finalizers ?? []).includes(CUSTOM_CLEANUP)) return;
  const resource = definedStorage(stored.object);
  if (deleteAll(core, resource, [...core.table.list(resource)]) > 0) return;
  const copy = structuredClone(stored.object);
  copy.metadata.finalizers = (copy.metadata.finalizers ?? []).filter((each) => each !== CUSTOM_CLEANUP);
  storeReplacement(
    core,
    { definition, namespace: undefined, name },
    "main",
    toView(definition, copy),
    WRITER,
  );
}
