import { timestamp } from "../api/api-core.ts";
import { type FieldError, invalidField, requiredField, unsupportedField } from "../api/api-error.ts";
import { isDnsLabel } from "../api/metadata-rules.ts";
import type { Registry } from "../api/registry.ts";
import type { KindRules, ResourceDefinition, ScalePaths } from "../api/resource.ts";
import { isPlainObject, type PlainObject, plainObjects, textOf } from "../schema/plain-object.ts";
import type { Schema } from "../schema/schema.ts";
import { structuralFaults } from "../schema/structural-faults.ts";
import type { JsonObject, KubeObject } from "../store/kube-object.ts";
import type { ResourceName } from "../store/store.ts";
import { ageColumn, column, nameColumn } from "../tables/core-columns.ts";
import { customColumns, type PrinterColumn } from "../tables/custom-columns.ts";

export const CRD_STORAGE: ResourceName = "customresourcedefinitions.apiextensions.k8s.io";
export const CUSTOM_CLEANUP = "customresourcecleanup.apiextensions.k8s.io";

const VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

interface DefinitionNames {
  plural: string;
  kind: string;
  singular?: string;
  listKind?: string;
  shortNames?: string[];
  categories?: string[];
}

interface DefinitionVersion {
  name: string;
  served: boolean;
  storage: boolean;
  deprecated?: boolean;
  deprecationWarning?: string;
  schema?: { openAPIV3Schema?: Schema };
  subresources?: { status?: object; scale?: ScalePaths };
  additionalPrinterColumns?: PrinterColumn[];
}

interface DefinitionSpec {
  group: string;
  scope: "Namespaced" | "Cluster";
  names: DefinitionNames;
  versions: DefinitionVersion[];
}

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- stored definitions have passed definitionFaults
const specOf = (object: KubeObject): DefinitionSpec => object.spec as unknown as DefinitionSpec;

/** Where the objects of a CRD are kept. */
export const definedStorage = (object: KubeObject): ResourceName =>
  `${specOf(object).names.plural}.${specOf(object).group}`;

function setDefaults(object: KubeObject): void {
  const { spec } = object;
  if (!isPlainObject(spec?.names) || typeof spec.names.kind !== "string") return;
  spec.names.singular ??= spec.names.kind.toLowerCase();
  spec.names.listKind ??= `${spec.names.kind}List`;
  spec.conversion ??= { strategy: "None" };
}

function versionFaults(versions: PlainObject[]): FieldError[] {
  const errors: FieldError[] = [];
  versions.forEach((version, index) => {
    const path = `spec.versions[${index}]`;
    if (!isDnsLabel(textOf(version.name ?? "")))
      errors.push(invalidField(`${path}.name`, version.name ?? "", "must be a DNS label"));
    const schema = isPlainObject(version.schema) ? version.schema.openAPIV3Schema : undefined;
    if (!isPlainObject(schema))
      errors.push(requiredField(`${path}.schema.openAPIV3Schema`, "schemas are required"));
    else {
      const at = `${path}.schema.openAPIV3Schema`;
      if (schema.type !== "object")
        errors.push(invalidField(`${at}.type`, schema.type ?? "", "must be object at the root"));
      errors.push(...structuralFaults(schema, at));
    }
    const printed = plainObjects(version.additionalPrinterColumns);
    printed.forEach((each, at) => {
      try {
        customColumns([
          { ...each, name: textOf(each.name), type: textOf(each.type), jsonPath: textOf(each.jsonPath) },
        ]);
      } catch (error) {
        const why = error instanceof Error ? error.message : "";
        errors.push(
          invalidField(`${path}.additionalPrinterColumns[${at}].jsonPath`, each.jsonPath ?? "", why),
        );
      }
    });
  });
  const stored = versions.filter((version) => version.storage === true).length;
  if (stored !== 1) {
    errors.push(
      invalidField(
        "spec.versions",
        versions.map((version) => version.name),
        "must have exactly one version marked as storage version",
      ),
    );
  }
  return errors;
}

function definitionFaults(object: KubeObject): FieldError[] {
  const errors: FieldError[] = [];
  const spec = object.spec ?? {};
  if (typeof spec.group !== "string" || spec.group === "") errors.push(requiredField("spec.group"));
  if (spec.scope !== "Namespaced" && spec.scope !== "Cluster") {
    errors.push(unsupportedField("spec.scope", spec.scope ?? "", ["Cluster", "Namespaced"]));
  }
  const names = isPlainObject(spec.names) ? spec.names : {};
  for (const field of ["plural", "kind"])
    if (!names[field]) errors.push(requiredField(`spec.names.${field}`));
  if (object.metadata.name !== `${textOf(names.plural)}.${textOf(spec.group)}`) {
    errors.push(
      invalidField("metadata.name", object.metadata.name, `must be spec.names.plural+"."+spec.group`),
    );
  }
  const versions = plainObjects(spec.versions);
  if (versions.length === 0) errors.push(requiredField("spec.versions"));
  else errors.push(...versionFaults(versions));
  return errors;
}

function establishedStatus(object: KubeObject): JsonObject {
  const condition = (type: string, reason: string, message: string) => ({
    type,
    status: "True",
    lastTransitionTime: timestamp(Date.now()),
    reason,
    message,
  });
  const names = isPlainObject(object.spec?.names) ? object.spec.names : {};
  const versions = plainObjects(object.spec?.versions);
  return {
    acceptedNames: names,
    conditions: [
      condition("NamesAccepted", "NoConflicts", "no conflicts found"),
      condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
    ],
    storedVersions: versions
      .filter((version) => version.storage === true)
      .map((version) => textOf(version.name)),
  };
}

const rules: KindRules = {
  defaults: setDefaults,
  onCreate(object) {
    object.metadata.finalizers = [...new Set([...(object.metadata.finalizers ?? []), CUSTOM_CLEANUP])];
    object.status = establishedStatus(object);
  },
  onUpdate(object) {
    if (!isPlainObject(object.status)) object.status = establishedStatus(object);
    else object.status = { ...object.status, acceptedNames: object.spec?.names ?? {} };
  },
  validate: definitionFaults,
  validateUpdate(object, old) {
    const errors: FieldError[] = [];
    for (const field of ["group", "scope"]) {
      if (object.spec?.[field] !== old.spec?.[field]) {
        errors.push(invalidField(`spec.${field}`, object.spec?.[field], "field is immutable"));
      }
    }
    return errors;
  },
};

/** The kind CustomResourceDefinition itself. */
export const crdDefinition = (): ResourceDefinition => ({
  group: "apiextensions.k8s.io",
  version: "v1",
  kind: "CustomResourceDefinition",
  plural: "customresourcedefinitions",
  singular: "customresourcedefinition",
  listKind: "CustomResourceDefinitionList",
  shortNames: ["crd", "crds"],
  categories: ["api-extensions"],
  namespaced: false,
  verbs: VERBS,
  storage: CRD_STORAGE,
  custom: true,
  schema: {
    type: "object",
    required: ["spec"],
    properties: {
      spec: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
      status: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
    },
  },
  definitionName: "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
  nameRule: "dns-subdomain",
  statusSubresource: true,
  scale: undefined,
  tracksGeneration: true,
  columns: [
    nameColumn,
    column("Created At", (object) => object.metadata.creationTimestamp),
    { ...ageColumn, priority: 1 },
  ],
  rules,
});

function toDefinition(object: KubeObject, version: DefinitionVersion): ResourceDefinition {
  const { group, names, scope } = specOf(object);
  const reversed = group.split(".").toReversed().join(".");
  return {
    group,
    version: version.name,
    kind: names.kind,
    plural: names.plural,
    singular: names.singular ?? names.kind.toLowerCase(),
    listKind: names.listKind ?? `${names.kind}List`,
    shortNames: names.shortNames ?? [],
    categories: names.categories ?? [],
    namespaced: scope === "Namespaced",
    verbs: VERBS,
    storage: definedStorage(object),
    custom: true,
    schema: structuredClone(version.schema?.openAPIV3Schema),
    definitionName: `${reversed}.${version.name}.${names.kind}`,
    nameRule: "dns-subdomain",
    statusSubresource: version.subresources?.status !== undefined,
    scale: version.subresources?.scale,
    tracksGeneration: true,
    columns: customColumns(version.additionalPrinterColumns),
    rules: {},
    ...(version.deprecated
      ? {
          deprecationWarning:
            version.deprecationWarning ?? `${group}/${version.name} ${names.kind} is deprecated`,
        }
      : {}),
  };
}

/** Serves what a CRD defines, in all its served versions. */
export function registerCustom(registry: Registry, object: KubeObject): void {
  const { group, names, versions } = specOf(object);
  registry.remove(group, names.plural);
  for (const version of versions) {
    if (version.served || version.storage) registry.add(toDefinition(object, version), version.storage);
  }
}

export function unregisterCustom(registry: Registry, object: KubeObject): void {
  const { group, names } = specOf(object);
  registry.remove(group, names.plural);
}
