import { randomInt } from "node:crypto";
import type { KubeObject } from "../store/kube-object.ts";
import { type FieldError, forbiddenField, invalidField, requiredField, typeField } from "./api-error.ts";
import type { NameRule } from "./resource.ts";

const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const LABEL_1035 = /^[a-z]([-a-z0-9]*[a-z0-9])?$/;
const QUALIFIED_NAME = /^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/;
const LABEL_VALUE = /^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/;

const SUBDOMAIN_TEXT =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_TEXT =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_1035_TEXT =
  "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED_TEXT =
  "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VALUE_TEXT =
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/** Why `name` is not a name under `rule`; undefined when it is. */
export function nameFault(name: string, rule: NameRule): string | undefined {
  if (rule === "path-segment") {
    if (name === "." || name === "..") return `may not be '${name}'`;
    return /[/%]/.test(name) ? "may not contain '/' or '%'" : undefined;
  }
  const limit = rule === "dns-subdomain" ? 253 : 63;
  if (name.length > limit) return `must be no more than ${limit} characters`;
  if (rule === "dns-subdomain") return SUBDOMAIN.test(name) ? undefined : SUBDOMAIN_TEXT;
  if (rule === "dns-label") return LABEL.test(name) ? undefined : LABEL_TEXT;
  return LABEL_1035.test(name) ? undefined : LABEL_1035_TEXT;
}

export const isDnsLabel = (text: string): boolean => text.length <= 63 && LABEL.test(text);

function qualifiedNameFault(key: string): string | undefined {
  const slash = key.indexOf("/");
  const prefix = slash === -1 ? undefined : key.slice(0, slash);
  const name = key.slice(slash + 1);
  if (prefix !== undefined) {
    if (prefix === "") return "prefix part must be non-empty";
    if (prefix.length > 253) return "prefix part must be no more than 253 characters";
    if (!SUBDOMAIN.test(prefix.toLowerCase())) return `prefix part ${SUBDOMAIN_TEXT}`;
  }
  if (name === "") return `name part must be non-empty; ${QUALIFIED_TEXT}`;
  if (name.length > 63) return "name part must be no more than 63 characters";
  return QUALIFIED_NAME.test(name) ? undefined : QUALIFIED_TEXT;
}

/** Checks a map of labels at `path` (also pod templates and selectors). */
export function labelFaults(labels: Record<string, unknown> | undefined, path: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const [key, value] of Object.entries(labels ?? {})) {
    const fault = qualifiedNameFault(key);
    if (fault) errors.push(invalidField(path, key, fault));
    if (typeof value !== "string") {
      errors.push(typeField(`${path}.${key}`, value, "must be a string"));
    } else if (value.length > 63) {
      errors.push(invalidField(path, value, "must be no more than 63 characters"));
    } else if (!LABEL_VALUE.test(value)) errors.push(invalidField(path, value, VALUE_TEXT));
  }
  return errors;
}

const ANNOTATION_BYTES = 256 * 1024;

function annotationFaults(annotations: Record<string, string> | undefined): FieldError[] {
  const errors: FieldError[] = [];
  let bytes = 0;
  for (const [key, value] of Object.entries(annotations ?? {})) {
    const fault = qualifiedNameFault(key);
    if (fault) errors.push(invalidField("metadata.annotations", key, fault));
    bytes += key.length + Buffer.byteLength(value);
  }
  if (bytes > ANNOTATION_BYTES) {
    errors.push({
      reason: "FieldValueTooLong",
      field: "metadata.annotations",
      message: `Too long: may not be more than ${ANNOTATION_BYTES} bytes`,
    });
  }
  return errors;
}

/** Checks all of metadata but what the server sets itself. */
export function metadataFaults(object: KubeObject, rule: NameRule): FieldError[] {
  const { metadata } = object;
  const errors: FieldError[] = [];
  if (!metadata.name) errors.push(requiredField("metadata.name", "name or generateName is required"));
  else {
    const fault = nameFault(metadata.name, rule);
    if (fault) errors.push(invalidField("metadata.name", metadata.name, fault));
  }
  errors.push(...labelFaults(metadata.labels, "metadata.labels"), ...annotationFaults(metadata.annotations));
  for (const finalizer of metadata.finalizers ?? []) {
    const fault = qualifiedNameFault(finalizer);
    if (fault) errors.push(invalidField("metadata.finalizers", finalizer, fault));
  }
  errors.push(...ownerFaults(object));
  return errors;
}

function ownerFaults(object: KubeObject): FieldError[] {
  const errors: FieldError[] = [];
  const owners = object.metadata.ownerReferences ?? [];
  let controllers = 0;
  owners.forEach((owner, index) => {
    const path = `metadata.ownerReferences[${index}]`;
    for (const field of ["apiVersion", "kind", "name", "uid"] as const) {
      if (!owner[field])
        errors.push(invalidField(`${path}.${field}`, owner[field] ?? "", "must not be empty"));
    }
    if (owner.controller) controllers++;
  });
  if (controllers > 1) {
    errors.push(
      invalidField(
        "metadata.ownerReferences",
        owners.map((owner) => owner.name),
        "Only one reference can have Controller set to true",
      ),
    );
  }
  return errors;
}

/** After a deletion began, finalizers may only go. */
export function finalizerFaults(object: KubeObject, old: KubeObject): FieldError[] {
  if (!old.metadata.deletionTimestamp) return [];
  const before = new Set(old.metadata.finalizers);
  const added = (object.metadata.finalizers ?? []).filter((finalizer) => !before.has(finalizer));
  if (added.length === 0) return [];
  return [
    forbiddenField(
      "metadata.finalizers",
      `no new finalizers can be added if the object is being deleted, found new finalizers []string{${added
        .map((name) => JSON.stringify(name))
        .join(", ")}}`,
    ),
  ];
}

/** No vowels and no look-alikes, as the names that Kubernetes generates. */
const SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789";

/** A name from a `generateName` prefix. */
export function generatedName(prefix: string): string {
  const base = prefix.slice(0, 58);
  let suffix = "";
  for (let index = 0; index < 5; index++) suffix += SUFFIX_ALPHABET[randomInt(SUFFIX_ALPHABET.length)];
  return base + suffix;
}
