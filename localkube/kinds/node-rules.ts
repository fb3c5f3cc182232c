import { type FieldError, invalidField } from "../api/api-error.ts";
import type { KindRules } from "../api/resource.ts";

export const nodeRules: KindRules = {
  defaults(object) {
    object.spec ??= {};
    object.status ??= {};
  },
};

export const leaseRules: KindRules = {
  validate(object) {
    const errors: FieldError[] = [];
    const seconds = object.spec?.leaseDurationSeconds;
    if (typeof seconds === "number" && seconds <= 0) {
      errors.push(invalidField("spec.leaseDurationSeconds", seconds, "must be greater than 0"));
    }
    const transitions = object.spec?.leaseTransitions;
    if (typeof transitions === "number" && transitions < 0) {
      errors.push(invalidField("spec.leaseTransitions", transitions, "must be greater than or equal to 0"));
    }
    return errors;
  },
};
