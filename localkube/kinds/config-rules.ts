import { type FieldError, forbiddenField, invalidField, requiredField } from "../api/api-error.ts";
import type { KindRules } from "../api/resource.ts";
import { isPlainObject, jsonEqual } from "../schema/plain-object.ts";
import type { KubeObject } from "../store/kube-object.ts";

const MAX_BYTES = 1024 * 1024;
const KEY = /^[-._a-zA-Z0-9]+$/;

function keyFaults(data: unknown, path: string): FieldError[] {
  if (!isPlainObject(data)) return [];
  return Object.keys(data).flatMap((key) => {
    if (key.length > 253)
      return [invalidField(`${path}[${key}]`, key, "must be no more than 253 characters")];
    if (key === "." || key === ".." || key.startsWith("..")) {
      return [invalidField(`${path}[${key}]`, key, "must not start with '..'")];
    }
    if (KEY.test(key)) return [];
    return [
      invalidField(
        `${path}[${key}]`,
        key,
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
      ),
    ];
  });
}

function sizeFault(total: number, path: string): FieldError[] {
  if (total <= MAX_BYTES) return [];
  return [
    {
      reason: "FieldValueTooLong",
      field: path,
      message: `Too long: may not be more than ${MAX_BYTES} bytes`,
    },
  ];
}

const base64Bytes = (text: unknown): number => Math.floor((String(text).replace(/=+$/, "").length * 3) / 4);

function immutableFaults(object: KubeObject, old: KubeObject, fields: readonly string[]): FieldError[] {
  if (old.immutable !== true) return [];
  const errors: FieldError[] = [];
  if (object.immutable !== true) {
    errors.push(forbiddenField("immutable", "field is immutable when `immutable` is set"));
  }
  for (const field of fields) {
    if (!jsonEqual(object[field] ?? {}, old[field] ?? {})) {
      errors.push(forbiddenField(field, "field is immutable when `immutable` is set"));
    }
  }
  return errors;
}

export const configMapRules: KindRules = {
  validate(object) {
    const errors = [...keyFaults(object.data, "data"), ...keyFaults(object.binaryData, "binaryData")];
    const text = isPlainObject(object.data) ? object.data : {};
    const binary = isPlainObject(object.binaryData) ? object.binaryData : {};
    for (const key of Object.keys(binary)) {
      if (Object.hasOwn(text, key))
        errors.push(invalidField(`data[${key}]`, key, "duplicate of key present in binaryData"));
    }
    let total = 0;
    for (const value of Object.values(text)) total += Buffer.byteLength(String(value));
    for (const value of Object.values(binary)) total += base64Bytes(value);
    return [...errors, ...sizeFault(total, "")];
  },
  validateUpdate: (object, old) => immutableFaults(object, old, ["data", "binaryData"]),
};

/** Keys that a Secret of a known type must have. */
const REQUIRED_KEYS: Record<string, readonly string[]> = {
  "kubernetes.io/dockercfg": [".dockercfg"],
  "kubernetes.io/dockerconfigjson": [".dockerconfigjson"],
  "kubernetes.io/tls": ["tls.crt", "tls.key"],
  "kubernetes.io/ssh-auth": ["ssh-privatekey"],
};

function secretTypeFaults(object: KubeObject, data: Record<string, unknown>): FieldError[] {
  const type = String(object.type);
  const missing = (REQUIRED_KEYS[type] ?? []).filter((key) => !Object.hasOwn(data, key));
  const errors = missing.map((key) => requiredField(`data[${key}]`));
  const json = data[".dockerconfigjson"];
  if (type === "kubernetes.io/dockerconfigjson" && typeof json === "string") {
    try {
      JSON.parse(Buffer.from(json, "base64").toString());
    } catch {
      errors.push(invalidField("data[.dockerconfigjson]", "<secret contents redacted>", "invalid JSON"));
    }
  }
  if (type === "kubernetes.io/basic-auth" && !data.username && !data.password) {
    errors.push(requiredField("data[username]"), requiredField("data[password]"));
  }
  if (
    type === "kubernetes.io/service-account-token" &&
    !object.metadata.annotations?.["kubernetes.io/service-account.name"]
  ) {
    errors.push(requiredField("metadata.annotations[kubernetes.io/service-account.name]"));
  }
  return errors;
}

export const secretRules: KindRules = {
  defaults(object) {
    if (isPlainObject(object.stringData)) {
      const data: Record<string, unknown> = isPlainObject(object.data) ? { ...object.data } : {};
      for (const [key, value] of Object.entries(object.stringData)) {
        data[key] = Buffer.from(String(value)).toString("base64");
      }
      object.data = data;
    }
    delete object.stringData;
    if (object.type === undefined || object.type === "") object.type = "Opaque";
  },
  validate(object) {
    const data = isPlainObject(object.data) ? object.data : {};
    let total = 0;
    for (const value of Object.values(data)) total += base64Bytes(value);
    return [...keyFaults(data, "data"), ...sizeFault(total, "data"), ...secretTypeFaults(object, data)];
  },
  validateUpdate(object, old) {
    const errors = immutableFaults(object, old, ["data"]);
    if (object.type !== old.type) errors.push(invalidField("type", object.type, "field is immutable"));
    return errors;
  },
};
