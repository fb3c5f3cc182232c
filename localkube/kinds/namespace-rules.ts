import { forbidden } from "../api/api-error.ts";
import type { KindRules } from "../api/resource.ts";

/** Namespaces that cannot be removed. */
const LASTING = new Set(["default", "kube-system", "kube-public", "kube-node-lease"]);

export const namespaceRules: KindRules = {
  defaults(object) {
    object.metadata.labels = {
      ...object.metadata.labels,
      "kubernetes.io/metadata.name": object.metadata.name,
    };
    object.spec ??= {};
    object.status ??= { phase: "Active" };
  },
  onCreate(object) {
    object.spec = { ...object.spec, finalizers: ["kubernetes"] };
    object.status = { phase: "Active" };
  },
  onUpdate(object, old) {
    // Only /finalize may change these.
    object.spec = { ...object.spec, finalizers: old.spec?.finalizers ?? [] };
  },
  beforeDelete(object) {
    const { name } = object.metadata;
    if (LASTING.has(name)) {
      throw forbidden(`namespaces "${name}" is forbidden: this namespace may not be deleted`, {
        name,
        kind: "namespaces",
      });
    }
  },
};
