import { requireStored, toView } from "../api/api-core.ts";
import { deleteObject } from "../api/delete-object.ts";
import { badRequest, conflict, methodNotAllowed } from "../api/api-error.ts";
import { storeReplacement } from "../api/write-object.ts";
import { isPlainObject, textOf } from "../schema/plain-object.ts";
import { mediaType, parseBody, readBody } from "./body.ts";
import { deleteOptions, type Exchange, type ResourceRequest, writeOptions } from "./exchange.ts";
import { placeOf } from "./object-handlers.ts";
import { sendJson } from "./respond.ts";

const SUCCESS = { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", code: 201 };

async function readObject(exchange: Exchange): Promise<Record<string, unknown>> {
  if (exchange.request.method !== "POST") throw methodNotAllowed();
  const body = await readBody(exchange.request);
  const { value } = parseBody(mediaType(exchange.request), body, false);
  if (!isPlainObject(value)) throw badRequest("the request body must be an object");
  return value;
}

/** POST on `/pods/<name>/eviction`: a deletion that asks politely. */
export async function handleEviction(exchange: Exchange, target: ResourceRequest): Promise<void> {
  const value = await readObject(exchange);
  const request = deleteOptions(exchange, value.deleteOptions);
  const options = { ...writeOptions(exchange, "DeleteOptions"), dryRun: request.dryRun };
  const result = deleteObject(exchange.service.core, placeOf(target), request, options);
  await result.stored;
  sendJson(exchange.response, 201, SUCCESS);
}

/** POST on `/pods/<name>/binding`: puts the pod on a node. */
export async function handleBinding(exchange: Exchange, target: ResourceRequest): Promise<void> {
  const value = await readObject(exchange);
  const node = isPlainObject(value.target) ? value.target.name : undefined;
  if (typeof node !== "string" || node === "") throw badRequest("target.name must name the node");
  const { core } = exchange.service;
  const place = placeOf(target);
  const pod = structuredClone(toView(place.definition, requireStored(core, place).object));
  if (pod.spec?.nodeName) {
    throw conflict(
      place.definition,
      place.name,
      `pod ${place.name} is already assigned to node "${textOf(pod.spec.nodeName)}"`,
    );
  }
  pod.spec = { ...pod.spec, nodeName: node };
  const result = storeReplacement(core, place, "main", pod, writeOptions(exchange, "CreateOptions"));
  await result.stored;
  sendJson(exchange.response, 201, SUCCESS);
}

/** PUT on `/namespaces/<name>/finalize`: says what still holds the namespace. */
export async function handleFinalize(exchange: Exchange, target: ResourceRequest): Promise<void> {
  if (exchange.request.method !== "PUT") throw methodNotAllowed();
  const body = await readBody(exchange.request);
  const { value } = parseBody(mediaType(exchange.request), body, false);
  const spec = isPlainObject(value) && isPlainObject(value.spec) ? value.spec : {};
  const finalizers = Array.isArray(spec.finalizers) ? spec.finalizers.map(String) : [];
  const { core } = exchange.service;
  const place = placeOf(target);
  const namespace = structuredClone(requireStored(core, place).object);
  namespace.spec = { ...namespace.spec, finalizers };
  // The kind's own rules protect the list from every other way of writing.
  const definition = { ...place.definition, rules: {} };
  const options = writeOptions(exchange, "UpdateOptions");
  const result = storeReplacement(core, { ...place, definition }, "main", namespace, options);
  await result.stored;
  sendJson(exchange.response, 200, result.object);
}
