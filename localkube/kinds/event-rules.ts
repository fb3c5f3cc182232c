import { type FieldError, invalidField, requiredField } from "../api/api-error.ts";
import type { KindRules, ResourceDefinition } from "../api/resource.ts";
import { isPlainObject } from "../schema/plain-object.ts";
import type { KubeObject } from "../store/kube-object.ts";

function involvedFaults(object: KubeObject): FieldError[] {
  const field = object.apiVersion === "v1" ? "involvedObject" : "regarding";
  const involved = object[field];
  if (!isPlainObject(involved)) return [];
  const namespace = typeof involved.namespace === "string" ? involved.namespace : "";
  const own = object.metadata.namespace ?? "";
  if (namespace === own || (namespace === "" && own === "default")) return [];
  return [invalidField(`${field}.namespace`, namespace, "does not match event.namespace")];
}

export const eventRules: KindRules = {
  validate(object) {
    const errors = involvedFaults(object);
    if (object.apiVersion !== "v1") {
      if (!object.eventTime) errors.push(requiredField("eventTime"));
      if (!object.reportingController) errors.push(requiredField("reportingController"));
      if (!object.reportingInstance) errors.push(requiredField("reportingInstance"));
      if (!object.action) errors.push(requiredField("action"));
      if (object.type !== "Normal" && object.type !== "Warning") {
        errors.push(invalidField("type", object.type ?? "", ""));
      }
    }
    return errors;
  },
};

/** Field of events.k8s.io/v1 → field of core v1, where the names differ. */
const RENAMED: readonly (readonly [string, string])[] = [
  ["regarding", "involvedObject"],
  ["note", "message"],
  ["deprecatedSource", "source"],
  ["deprecatedFirstTimestamp", "firstTimestamp"],
  ["deprecatedLastTimestamp", "lastTimestamp"],
  ["deprecatedCount", "count"],
  ["reportingController", "reportingComponent"],
];

function renamed(object: KubeObject, apiVersion: string, from: 0 | 1): KubeObject {
  const names = new Map(RENAMED.map((pair) => [pair[from], pair[from === 0 ? 1 : 0]]));
  const entries = Object.entries(object).map(([key, value]) => [names.get(key) ?? key, value]);
  const shown: KubeObject = Object.fromEntries(entries);
  return { ...shown, apiVersion };
}

/** events.k8s.io/v1 shows the events of core v1 under other names. */
export const eventsV1View: NonNullable<ResourceDefinition["view"]> = {
  toStorage: (object) => renamed(object, "v1", 0),
  fromStorage: (object) => renamed(object, "events.k8s.io/v1", 1),
};
