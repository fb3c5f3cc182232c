import { requireStored, toView } from "../api/api-core.ts";
import {
  badRequest,
  conflict,
  invalidField,
  invalidObject,
  methodNotAllowed,
  MODIFIED_SINCE,
  pathNotFound,
} from "../api/api-error.ts";
import type { ScalePaths } from "../api/resource.ts";
import { formatLabelSelector } from "../api/selectors.ts";
import { storeReplacement } from "../api/write-object.ts";
import { MERGE_PATCH, patchedBody, STRATEGIC_PATCH } from "../patch/apply-patch.ts";
import { setValueAt, valueAt } from "../schema/object-path.ts";
import { isPlainObject } from "../schema/plain-object.ts";
import type { KubeObject } from "../store/kube-object.ts";
import { mediaType, parseBody, parseJson, readBody } from "./body.ts";
import { type Exchange, type ResourceRequest, writeOptions } from "./exchange.ts";
import { placeOf } from "./object-handlers.ts";
import { sendJson } from "./respond.ts";

function scaleOf(object: KubeObject, paths: ScalePaths): KubeObject {
  const selector = paths.labelSelectorPath ? valueAt(object, paths.labelSelectorPath) : undefined;
  const text = isPlainObject(selector)
    ? formatLabelSelector(selector)
    : typeof selector === "string"
      ? selector
      : "";
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata;
  const replicas = valueAt(object, paths.specReplicasPath);
  const current = valueAt(object, paths.statusReplicasPath);
  return {
    kind: "Scale",
    apiVersion: "autoscaling/v1",
    metadata: {
      name,
      ...(namespace === undefined ? {} : { namespace }),
      uid,
      resourceVersion,
      creationTimestamp,
    },
    spec: typeof replicas === "number" ? { replicas } : {},
    status: { replicas: typeof current === "number" ? current : 0, ...(text ? { selector: text } : {}) },
  };
}

/** Answers GET, PUT and PATCH on `/scale`. */
export async function handleScale(exchange: Exchange, target: ResourceRequest): Promise<void> {
  const { definition } = target;
  const { scale } = definition;
  const { core } = exchange.service;
  if (!scale) throw pathNotFound();
  const place = placeOf(target);
  const { method } = exchange.request;
  if (method === "GET") {
    sendJson(exchange.response, 200, scaleOf(toView(definition, requireStored(core, place).object), scale));
    return;
  }
  if (method !== "PUT" && method !== "PATCH") throw methodNotAllowed();
  const body = await readBody(exchange.request);
  const options = writeOptions(exchange, "UpdateOptions");
  const stored = requireStored(core, place);
  const object = toView(definition, stored.object);
  const type = mediaType(exchange.request);
  const given =
    method === "PUT"
      ? parseBody(type, body, false).value
      : patchedBody(
          { ...definition, custom: true },
          scaleOf(object, scale),
          type === STRATEGIC_PATCH ? MERGE_PATCH : type,
          parseJson(body.toString()),
        );
  if (!isPlainObject(given)) throw badRequest("the request body must be a Scale");
  const version = valueAt(given, "metadata.resourceVersion");
  if (version && version !== object.metadata.resourceVersion) {
    throw conflict(definition, place.name, MODIFIED_SINCE);
  }
  const replicas = valueAt(given, "spec.replicas") ?? 0;
  if (typeof replicas !== "number" || !Number.isInteger(replicas) || replicas < 0) {
    throw invalidObject({ group: "autoscaling", kind: "Scale" }, place.name, [
      invalidField("spec.replicas", replicas, "must be greater than or equal to 0"),
    ]);
  }
  const next = structuredClone(object);
  setValueAt(next, scale.specReplicasPath, replicas);
  const result = storeReplacement(core, place, "main", next, options);
  await result.stored;
  sendJson(exchange.response, 200, scaleOf(result.object, scale));
}
