import { type ObjectPlace, requireStored, toView, viewText } from "../api/api-core.ts";
import { deleteObject } from "../api/delete-object.ts";
import { badRequest, methodNotAllowed } from "../api/api-error.ts";
import { patchObject } from "../api/patch-object.ts";
import { parseSelectors } from "../api/selectors.ts";
import { createObject, replaceObject } from "../api/write-object.ts";
import { APPLY_YAML } from "../patch/apply-patch.ts";
import { apiVersionOf } from "../api/resource.ts";
import type { KubeObject } from "../store/kube-object.ts";
import { toPartialMetadata, toTable } from "../tables/table.ts";
import { negotiate } from "./accept.ts";
import { mediaType, parseBody, parseJson, parseYamlText, readBody } from "./body.ts";
import { deleteOptions, type Exchange, flag, type ResourceRequest, writeOptions } from "./exchange.ts";
import { includeObject } from "./list-handler.ts";
import { sendJson, sendWarnings } from "./respond.ts";

/** Answers with one object in the representation that was asked for. */
export function sendObject(
  exchange: Exchange,
  target: ResourceRequest,
  code: number,
  object: KubeObject,
): void {
  const { shape, format } = negotiate(exchange.request);
  if (shape === "object") {
    sendJson(exchange.response, code, object, format);
    return;
  }
  const metadata = { resourceVersion: object.metadata.resourceVersion };
  const body =
    shape === "metadata"
      ? toPartialMetadata(object)
      : toTable(
          target.definition,
          [object],
          metadata,
          includeObject(exchange.query),
          exchange.service.core.nowMs(),
        );
  sendJson(exchange.response, code, body, format);
}

export function placeOf(target: ResourceRequest): ObjectPlace {
  if (target.name === undefined) throw methodNotAllowed();
  return { definition: target.definition, namespace: target.namespace, name: target.name };
}

const partOf = (target: ResourceRequest): "main" | "status" =>
  target.subresource === "status" ? "status" : "main";

export async function handleGet(exchange: Exchange, target: ResourceRequest): Promise<void> {
  const { core } = exchange.service;
  const stored = requireStored(core, placeOf(target));
  const settled = core.table.pending();
  if (settled) await settled;
  const { shape, format } = negotiate(exchange.request);
  if (shape === "object" && format === "json") {
    sendJson(exchange.response, 200, viewText(target.definition, stored));
  } else sendObject(exchange, target, 200, toView(target.definition, stored.object));
}

export async function handleCreate(exchange: Exchange, target: ResourceRequest): Promise<void> {
  if (target.name !== undefined) throw methodNotAllowed();
  const { service, request, response } = exchange;
  const body = await readBody(request);
  const options = writeOptions(exchange, "CreateOptions");
  const parsed = parseBody(mediaType(request), body, options.fieldValidation !== "Ignore");
  const namespace = namespaceOf(target);
  const result = createObject(
    service.core,
    target.definition,
    namespace,
    parsed.value,
    options,
    parsed.faults,
  );
  await result.stored;
  sendWarnings(response, options.warnings);
  sendObject(exchange, target, 201, result.object);
}

/** A namespaced object must be made in a namespace, which only the path names. */
function namespaceOf(target: ResourceRequest): string | undefined {
  if (!target.definition.namespaced) return undefined;
  if (target.namespace === undefined) throw badRequest("an empty namespace may not be set during creation");
  return target.namespace;
}

export async function handleReplace(exchange: Exchange, target: ResourceRequest): Promise<void> {
  const { service, request, response } = exchange;
  const body = await readBody(request);
  const options = writeOptions(exchange, "UpdateOptions");
  const parsed = parseBody(mediaType(request), body, options.fieldValidation !== "Ignore");
  const place = placeOf(target);
  const result = replaceObject(service.core, place, partOf(target), parsed.value, options, parsed.faults);
  await result.stored;
  sendWarnings(response, options.warnings);
  sendObject(exchange, target, 200, result.object);
}

export async function handlePatch(exchange: Exchange, target: ResourceRequest): Promise<void> {
  const { service, request, response, query } = exchange;
  const body = await readBody(request);
  const options = writeOptions(exchange, "PatchOptions");
  const type = mediaType(request);
  if (type === APPLY_YAML && !query.get("fieldManager"))
    throw badRequest("fieldManager is required for apply patch");
  const text = body.toString();
  const patch = type === APPLY_YAML ? parseYamlText(text) : parseJson(text);
  const result = patchObject(
    service.core,
    placeOf(target),
    { mediaType: type, patch, force: flag(query, "force"), part: partOf(target) },
    options,
  );
  await result.stored;
  sendWarnings(response, options.warnings);
  sendObject(exchange, target, result.created ? 201 : 200, result.object);
}

async function readDeleteOptions(exchange: Exchange): Promise<ReturnType<typeof deleteOptions>> {
  const body = await readBody(exchange.request);
  const parsed = body.length > 0 ? parseBody(mediaType(exchange.request), body, false).value : undefined;
  return deleteOptions(exchange, parsed);
}

/** Kinds whose deletion answers with the object even when it is gone. */
const RETURNS_OBJECT = new Set(["pods", "serviceaccounts"]);

export async function handleDelete(exchange: Exchange, target: ResourceRequest): Promise<void> {
  const { core } = exchange.service;
  const request = await readDeleteOptions(exchange);
  const options = { ...writeOptions(exchange, "DeleteOptions"), dryRun: request.dryRun };
  const result = deleteObject(core, placeOf(target), request, options);
  await result.stored;
  if (!result.gone || RETURNS_OBJECT.has(target.definition.storage)) {
    sendObject(exchange, target, 200, result.object);
    return;
  }
  const { definition } = target;
  sendJson(exchange.response, 200, {
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Success",
    details: {
      name: result.object.metadata.name,
      ...(definition.group ? { group: definition.group } : {}),
      kind: definition.plural,
      uid: result.object.metadata.uid,
    },
  });
}

export async function handleDeleteCollection(exchange: Exchange, target: ResourceRequest): Promise<void> {
  const { core } = exchange.service;
  const { definition, namespace } = target;
  if (definition.namespaced && namespace === undefined) throw methodNotAllowed();
  if (!definition.verbs.includes("deletecollection")) throw methodNotAllowed();
  const request = await readDeleteOptions(exchange);
  const options = { ...writeOptions(exchange, "DeleteOptions"), dryRun: request.dryRun };
  const { query } = exchange;
  const test = parseSelectors(
    definition.storage,
    query.get("labelSelector") ?? undefined,
    query.get("fieldSelector") ?? undefined,
  );
  const found = [...core.table.list(definition.storage, namespace)].filter(
    (stored) => !test || test(stored.object),
  );
  const results = found.map((stored) => {
    const { metadata } = stored.object;
    const place = { definition, namespace: metadata.namespace, name: metadata.name };
    return deleteObject(core, place, request, options);
  });
  await core.table.pending();
  sendJson(exchange.response, 200, {
    kind: definition.listKind,
    apiVersion: apiVersionOf(definition),
    metadata: { resourceVersion: String(core.table.resourceVersion) },
    items: results.map((result) => result.object),
  });
}
