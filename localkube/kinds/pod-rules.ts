import { type FieldError, forbiddenField, invalidField } from "../api/api-error.ts";
import type { KindRules } from "../api/resource.ts";
import { isPlainObject, jsonEqual, type PlainObject, plainObjects } from "../schema/plain-object.ts";
import type { JsonObject, KubeObject } from "../store/kube-object.ts";
import { defaultPodSpec, podSpecFaults } from "./pod-template.ts";

function qosClass(spec: PlainObject): string {
  const containers = plainObjects(spec.containers);
  const resources = containers.map((container) =>
    isPlainObject(container.resources) ? container.resources : {},
  );
  const amounts = resources.flatMap((each) => [each.limits, each.requests]).filter(isPlainObject);
  if (!amounts.some((each) => each.cpu !== undefined || each.memory !== undefined)) return "BestEffort";
  const guaranteed = resources.every(
    ({ limits, requests }) =>
      isPlainObject(limits) &&
      isPlainObject(requests) &&
      ["cpu", "memory"].every((name) => limits[name] !== undefined && limits[name] === requests[name]),
  );
  return guaranteed ? "Guaranteed" : "Burstable";
}

/** The parts of a pod's spec that may change once it exists, taken out. */
function fixedPart(spec: JsonObject | undefined): PlainObject {
  const copy: PlainObject = structuredClone(spec ?? {});
  for (const field of [
    "activeDeadlineSeconds",
    "terminationGracePeriodSeconds",
    "tolerations",
    "schedulingGates",
  ]) {
    delete copy[field];
  }
  for (const list of ["containers", "initContainers"]) {
    for (const container of plainObjects(copy[list])) delete container.image;
  }
  return copy;
}

function updateFaults(object: KubeObject, old: KubeObject): FieldError[] {
  const next = fixedPart(object.spec);
  const before = fixedPart(old.spec);
  // Binding: a pod gets its node once.
  if (!before.nodeName) delete next.nodeName;
  if (jsonEqual(next, before)) return [];
  return [
    forbiddenField(
      "spec",
      "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
    ),
  ];
}

export const podRules: KindRules = {
  defaults(object) {
    object.spec ??= {};
    defaultPodSpec(object.spec);
    object.spec.enableServiceLinks ??= true;
    const account = object.spec.serviceAccountName ?? object.spec.serviceAccount ?? "default";
    object.spec.serviceAccountName = account;
    object.spec.serviceAccount = account;
  },
  onCreate(object) {
    object.status = { phase: "Pending", qosClass: qosClass(object.spec ?? {}) };
  },
  validate(object) {
    const errors = podSpecFaults(object.spec ?? {}, "spec");
    const phase = object.status?.phase;
    if (
      typeof phase === "string" &&
      !["Pending", "Running", "Succeeded", "Failed", "Unknown"].includes(phase)
    ) {
      errors.push(
        invalidField("status.phase", phase, "must be Pending, Running, Succeeded, Failed or Unknown"),
      );
    }
    return errors;
  },
  validateUpdate: updateFaults,
};
