import { checkRules } from "../schema/cel-rules.ts";
import { decodeTyped } from "../schema/decode-typed.ts";
import { copyJson, isPlainObject, jsonEqual, type PlainObject, textOf } from "../schema/plain-object.ts";
import { applyDefaults, dropForbiddenNulls, prune } from "../schema/prune.ts";
import { definition as schemaDefinition, OBJECT_META } from "../schema/schema.ts";
import { validateValue } from "../schema/validate.ts";
import type { KubeObject } from "../store/kube-object.ts";
import type { WriteOptions } from "./api-core.ts";
import { badRequest, type FieldError, invalidObject } from "./api-error.ts";
import { finalizerFaults, metadataFaults } from "./metadata-rules.ts";
import { apiVersionOf, type ResourceDefinition } from "./resource.ts";

/**
 * Turns a request body into an object of the kind: types checked, unknown fields dropped, refused or warned of.
 * The result is a copy; nothing is defaulted yet.
 */
export function decodeBody(
  definition: ResourceDefinition,
  body: unknown,
  options: WriteOptions,
  extraFaults: readonly string[] = [],
): KubeObject {
  if (!isPlainObject(body)) throw badRequest("the request body must be an object");
  const wantedVersion = apiVersionOf(definition);
  const { apiVersion, kind } = body;
  if (apiVersion !== undefined && apiVersion !== "" && apiVersion !== wantedVersion) {
    throw badRequest(
      `the API version in the data (${textOf(apiVersion)}) does not match the expected API version (${wantedVersion})`,
    );
  }
  if (kind !== undefined && kind !== "" && kind !== definition.kind) {
    // Kubernetes finds it in custom objects only when it checks their fields.
    if (definition.custom)
      throw invalidObject({ ...definition, kind: textOf(kind) }, nameOf(body), [
        {
          reason: "FieldValueInvalid",
          field: "kind",
          message: `Invalid value: ${JSON.stringify(kind)}: must be ${definition.kind}`,
        },
      ]);
    throw badRequest(
      `${textOf(kind)} in version "${definition.version}" cannot be handled as a ${definition.kind}: the kind in the data (${textOf(kind)}) does not match the expected kind (${definition.kind})`,
    );
  }
  const unknown = [...extraFaults];
  const object = definition.custom
    ? decodeCustom(definition, body, unknown)
    : decodeBuiltIn(definition, body, unknown);
  reportUnknown(definition, unknown, options);
  const { apiVersion: _version, kind: _kind, metadata, ...rest } = object;
  return {
    apiVersion: wantedVersion,
    kind: definition.kind,
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- decoded by the schema of ObjectMeta
    metadata: (isPlainObject(metadata) ? metadata : {}) as unknown as KubeObject["metadata"],
    ...rest,
  };
}

const nameOf = ({ metadata }: PlainObject): string =>
  isPlainObject(metadata) && typeof metadata.name === "string" ? metadata.name : "";

function decodeBuiltIn(definition: ResourceDefinition, body: PlainObject, unknown: string[]): PlainObject {
  if (!definition.schema) return copyJson(body);
  const { apiVersion: _version, kind: _kind, ...fields } = body;
  const decoded = decodeTyped(definition.schema, fields, definition.kind, definition.version);
  unknown.push(...decoded.unknownFields.map((path) => `unknown field "${path}"`));
  return isPlainObject(decoded.value) ? decoded.value : {};
}

function decodeCustom(definition: ResourceDefinition, body: PlainObject, unknown: string[]): PlainObject {
  const copy = copyJson(body);
  const meta = decodeTyped(
    schemaDefinition(OBJECT_META),
    copy.metadata ?? {},
    definition.kind,
    definition.version,
  );
  unknown.push(...meta.unknownFields.map((path) => `unknown field "metadata.${path}"`));
  copy.metadata = meta.value;
  if (definition.schema) {
    unknown.push(...prune(definition.schema, copy).map((path) => `unknown field "${path}"`));
    dropForbiddenNulls(definition.schema, copy);
  }
  return copy;
}

function reportUnknown(definition: ResourceDefinition, faults: string[], options: WriteOptions): void {
  if (faults.length === 0 || options.fieldValidation === "Ignore") return;
  if (options.fieldValidation === "Warn") {
    options.warnings.push(...faults);
    return;
  }
  throw badRequest(
    `${definition.kind} in version "${definition.version}" cannot be handled as a ${definition.kind}: strict decoding error: ${faults.join(", ")}`,
  );
}

/** Fills in defaults: those of the schema, then those of the kind. */
export function applyKindDefaults(definition: ResourceDefinition, object: KubeObject): void {
  if (definition.custom && definition.schema) applyDefaults(definition.schema, object);
  definition.rules.defaults?.(object);
}

/** Throws 422 unless the object may be stored. `old` is what it replaces. */
export function assertValid(
  definition: ResourceDefinition,
  object: KubeObject,
  old: KubeObject | undefined,
): void {
  const errors: FieldError[] = old ? finalizerFaults(object, old) : [];
  errors.push(...metadataFaults(object, definition.nameRule));
  if (definition.custom && definition.schema) {
    const shapeErrors = validateValue(definition.schema, object);
    errors.push(...shapeErrors);
    // Rules may rely on the shape, so they only run on objects that have it.
    if (shapeErrors.length === 0) errors.push(...checkRules(definition.schema, object, old));
  }
  errors.push(...(definition.rules.validate?.(object) ?? []));
  if (old) errors.push(...(definition.rules.validateUpdate?.(object, old) ?? []));
  if (errors.length > 0) throw invalidObject(definition, object.metadata.name, errors);
}

/** Whether anything but metadata and status differs: what raises metadata.generation. */
export function desiredStateDiffers(object: KubeObject, old: KubeObject): boolean {
  const desired = ({ metadata: _m, status: _s, apiVersion: _a, ...rest }: KubeObject) => rest;
  return !jsonEqual(desired(object), desired(old));
}
