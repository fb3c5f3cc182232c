import type { JsonObject } from "../store/kube-object.ts";

export interface StatusCause {
  reason?: string;
  message?: string;
  field?: string;
}

export interface StatusDetails {
  name?: string;
  group?: string;
  kind?: string;
  uid?: string;
  causes?: StatusCause[];
  retryAfterSeconds?: number;
}

/** The `metav1.Status` body of a failed request. */
export interface FailureStatus {
  kind: "Status";
  apiVersion: "v1";
  metadata: JsonObject;
  status: "Failure";
  message: string;
  reason: string;
  details?: StatusDetails;
  code: number;
}

/** A refusal that reaches the client as a Status object. */
export class ApiError extends Error {
  readonly code: number;
  readonly reason: string;
  readonly details: StatusDetails | undefined;

  constructor(code: number, reason: string, message: string, details?: StatusDetails) {
    super(message);
    this.name = "ApiError";
    this.code = code;
    this.reason = reason;
    this.details = details;
  }

  toStatus(): FailureStatus {
    return {
      kind: "Status",
      apiVersion: "v1",
      metadata: {},
      status: "Failure",
      message: this.message,
      reason: this.reason,
      ...(this.details ? { details: this.details } : {}),
      code: this.code,
    };
  }
}

export const badRequest = (message: string): ApiError => new ApiError(400, "BadRequest", message);
export const unauthorized = (): ApiError => new ApiError(401, "Unauthorized", "Unauthorized");
export const forbidden = (message: string, details?: StatusDetails): ApiError =>
  new ApiError(403, "Forbidden", message, details);
export const pathNotFound = (): ApiError =>
  new ApiError(404, "NotFound", "the server could not find the requested resource", {});
export const methodNotAllowed = (): ApiError =>
  new ApiError(
    405,
    "MethodNotAllowed",
    "the server does not allow this method on the requested resource",
    {},
  );
export const unsupportedMediaType = (message: string): ApiError =>
  new ApiError(415, "UnsupportedMediaType", message, {});
export const expired = (message: string): ApiError => new ApiError(410, "Expired", message);

/** `resource` as kubectl prints it: `pods`, `deployments.apps`. */
export interface QualifiedResource {
  group: string;
  plural: string;
}

const qualified = (resource: QualifiedResource): string =>
  resource.group ? `${resource.plural}.${resource.group}` : resource.plural;

export const notFound = (resource: QualifiedResource, name: string): ApiError =>
  new ApiError(404, "NotFound", `${qualified(resource)} "${name}" not found`, {
    name,
    group: resource.group,
    kind: resource.plural,
  });

export const alreadyExists = (resource: QualifiedResource, name: string): ApiError =>
  new ApiError(409, "AlreadyExists", `${qualified(resource)} "${name}" already exists`, {
    name,
    group: resource.group,
    kind: resource.plural,
  });

export const conflict = (resource: QualifiedResource, name: string, why: string): ApiError =>
  new ApiError(409, "Conflict", `Operation cannot be fulfilled on ${qualified(resource)} "${name}": ${why}`, {
    name,
    group: resource.group,
    kind: resource.plural,
  });

export const MODIFIED_SINCE =
  "the object has been modified; please apply your changes to the latest version and try again";

/** One thing wrong with a field, worded as field.Error of apimachinery words it. */
export interface FieldError {
  reason:
    | "FieldValueRequired"
    | "FieldValueInvalid"
    | "FieldValueNotSupported"
    | "FieldValueForbidden"
    | "FieldValueDuplicate"
    | "FieldValueTooLong"
    | "FieldValueTooMany"
    | "FieldValueTypeInvalid"
    | "FieldValueNotFound";
  field: string;
  message: string;
}

const show = (value: unknown): string => {
  if (value === undefined) return "null";
  const text = JSON.stringify(value);
  return text.length > 1024 ? `${text.slice(0, 1024)}...` : text;
};

export const requiredField = (field: string, why = ""): FieldError => ({
  reason: "FieldValueRequired",
  field,
  message: why ? `Required value: ${why}` : "Required value",
});
export const invalidField = (field: string, value: unknown, why: string): FieldError => ({
  reason: "FieldValueInvalid",
  field,
  message: `Invalid value: ${show(value)}: ${why}`,
});
export const typeField = (field: string, value: unknown, why: string): FieldError => ({
  reason: "FieldValueTypeInvalid",
  field,
  message: `Invalid value: ${show(value)}: ${why}`,
});
export const forbiddenField = (field: string, why: string): FieldError => ({
  reason: "FieldValueForbidden",
  field,
  message: `Forbidden: ${why}`,
});
export const duplicateField = (field: string, value: unknown): FieldError => ({
  reason: "FieldValueDuplicate",
  field,
  message: `Duplicate value: ${show(value)}`,
});
export const unsupportedField = (field: string, value: unknown, allowed: readonly unknown[]): FieldError => ({
  reason: "FieldValueNotSupported",
  field,
  message: `Unsupported value: ${show(value)}: supported values: ${allowed.map(show).join(", ")}`,
});

/** 422 with one cause per wrong field. */
export function invalidObject(
  kind: { group: string; kind: string },
  name: string,
  errors: readonly FieldError[],
): ApiError {
  const parts = errors.map((error) => `${error.field}: ${error.message}`);
  const text = parts.length === 1 ? parts[0] : `[${parts.join(", ")}]`;
  const qualifiedKind = kind.group ? `${kind.kind}.${kind.group}` : kind.kind;
  return new ApiError(422, "Invalid", `${qualifiedKind} "${name}" is invalid: ${text}`, {
    name,
    group: kind.group,
    kind: kind.kind,
    causes: errors.map(({ reason, message, field }) => ({ reason, message, field })),
  });
}
