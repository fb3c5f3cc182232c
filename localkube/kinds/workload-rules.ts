import { type FieldError, invalidField, requiredField, unsupportedField } from "../api/api-error.ts";
import { labelFaults } from "../api/metadata-rules.ts";
import type { KindRules } from "../api/resource.ts";
import { parseLabelSelector, formatLabelSelector } from "../api/selectors.ts";
import { isPlainObject, jsonEqual, textOf } from "../schema/plain-object.ts";
import type { KubeObject } from "../store/kube-object.ts";
import { defaultPodSpec, podSpecFaults } from "./pod-template.ts";

function defaultTemplate(object: KubeObject): void {
  object.spec ??= {};
  object.spec.replicas ??= 1;
  const { template } = object.spec;
  if (!isPlainObject(template)) return;
  if (isPlainObject(template.spec)) defaultPodSpec(template.spec);
}

function templateFaults(object: KubeObject): FieldError[] {
  const errors: FieldError[] = [];
  const { selector, template, replicas } = object.spec ?? {};
  if (typeof replicas === "number" && replicas < 0) {
    errors.push(invalidField("spec.replicas", replicas, "must be greater than or equal to 0"));
  }
  if (!isPlainObject(selector)) errors.push(requiredField("spec.selector"));
  else if (Object.keys(selector).length === 0) {
    errors.push(
      invalidField("spec.selector", selector, `empty selector is invalid for ${object.kind.toLowerCase()}`),
    );
  }
  if (!isPlainObject(template)) return [...errors, requiredField("spec.template")];
  const metadata = isPlainObject(template.metadata) ? template.metadata : {};
  const labels = isPlainObject(metadata.labels) ? metadata.labels : {};
  errors.push(...labelFaults(labels, "spec.template.labels"));
  if (isPlainObject(selector) && Object.keys(selector).length > 0) {
    const test = parseLabelSelector(formatLabelSelector(selector));
    if (
      test &&
      !test(Object.fromEntries(Object.entries(labels).map(([key, value]) => [key, textOf(value)])))
    ) {
      errors.push(
        invalidField("spec.template.metadata.labels", labels, "`selector` does not match template `labels`"),
      );
    }
  }
  const spec = isPlainObject(template.spec) ? template.spec : {};
  errors.push(...podSpecFaults(spec, "spec.template.spec"));
  if (spec.restartPolicy !== "Always" && spec.restartPolicy !== undefined) {
    errors.push(unsupportedField("spec.template.spec.restartPolicy", spec.restartPolicy, ["Always"]));
  }
  return errors;
}

function selectorUnchanged(object: KubeObject, old: KubeObject): FieldError[] {
  const selector = object.spec?.selector;
  if (jsonEqual(selector, old.spec?.selector)) return [];
  return [invalidField("spec.selector", selector, "field is immutable")];
}

export const deploymentRules: KindRules = {
  defaults(object) {
    defaultTemplate(object);
    const spec = object.spec ?? {};
    spec.revisionHistoryLimit ??= 10;
    spec.progressDeadlineSeconds ??= 600;
    spec.strategy ??= { type: "RollingUpdate" };
    const { strategy } = spec;
    if (isPlainObject(strategy)) {
      strategy.type ??= "RollingUpdate";
      if (strategy.type === "RollingUpdate") {
        strategy.rollingUpdate = {
          maxSurge: "25%",
          maxUnavailable: "25%",
          ...(isPlainObject(strategy.rollingUpdate) ? strategy.rollingUpdate : {}),
        };
      }
    }
    object.status ??= {};
  },
  validate(object) {
    const errors = templateFaults(object);
    const strategy = object.spec?.strategy;
    if (isPlainObject(strategy) && strategy.type !== "RollingUpdate" && strategy.type !== "Recreate") {
      errors.push(unsupportedField("spec.strategy.type", strategy.type, ["Recreate", "RollingUpdate"]));
    }
    if (isPlainObject(strategy) && strategy.type === "Recreate" && strategy.rollingUpdate !== undefined) {
      errors.push({
        reason: "FieldValueForbidden",
        field: "spec.strategy.rollingUpdate",
        message: "Forbidden: may not be specified when strategy `type` is 'Recreate'",
      });
    }
    return errors;
  },
  validateUpdate: selectorUnchanged,
};

export const replicaSetRules: KindRules = {
  defaults(object) {
    defaultTemplate(object);
    object.status ??= { replicas: 0 };
  },
  validate: templateFaults,
  validateUpdate: selectorUnchanged,
};
