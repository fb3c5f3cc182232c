/** What a function returned, as a Response; and the replies that the runtime makes itself. */
import { HEADER_ERROR_CODE, HEADER_REFUSED, HEADER_REQUEST_ID, type PodRefusal } from "../../api/headers.ts";
import {
  hasInstance,
  headersDelete,
  headersHas,
  isArray,
  jsonStringify,
  NativeHeaders,
  NativeReadableStream,
  NativeResponse,
  objectKeys,
  responseBody,
  responseHeaders,
  responseStatus,
} from "./primordials.ts";
import { refusalStatus } from "./pod.ts";

/** A function returned something that is no reply; the message says what is allowed. */
export class UnusableReply extends TypeError {
  override readonly name = "UnusableReply";
}

const JSON_TYPE = "application/json; charset=utf-8";
const TEXT_TYPE = "text/plain; charset=utf-8";
const BINARY_TYPE = "application/octet-stream";

const isResponse = (value: object): value is Response => {
  try {
    responseStatus(value as Response);
    return true;
  } catch {
    return false;
  }
};

const isView = ArrayBuffer.isView;
const NativeArrayBuffer = ArrayBuffer;
const NativeBlob = Blob;

/** A JSON reply of the runtime itself. */
export function jsonReply(status: number, body: unknown, headers: Record<string, string> = {}): Response {
  return new NativeResponse(jsonStringify(body), {
    status,
    headers: { "content-type": JSON_TYPE, ...headers },
  });
}

/** The reply of a pod that refuses a request before running anything. */
export function refusalReply(reason: PodRefusal): Response {
  return new NativeResponse(null, { status: refusalStatus(reason), headers: { [HEADER_REFUSED]: reason } });
}

/** The reply for an error of the function: an `ErrorBody`, with message and stack only when debugging is on. */
export function errorReply(
  status: number,
  reason: string,
  requestId: string,
  details: { message?: string | undefined; stack?: string | undefined } = {},
): Response {
  return jsonReply(
    status,
    { component: "function", reason, requestId, ...details },
    { [HEADER_ERROR_CODE]: reason, [HEADER_REQUEST_ID]: requestId },
  );
}

/**
 * Takes off what only the runtime may say. It says it with error statuses only, and elsewhere the router does not listen: the headers of
 * a successful reply are left alone, since Deno sends a reply whose headers nobody asked for faster.
 */
function withoutRuntimeHeaders(reply: Response): Response {
  if (responseStatus(reply) < 400) return reply;
  const headers = responseHeaders(reply);
  if (!headersHas(headers, HEADER_REFUSED) && !headersHas(headers, HEADER_ERROR_CODE)) return reply;
  const cleaned = new NativeHeaders(headers);
  headersDelete(cleaned, HEADER_REFUSED);
  headersDelete(cleaned, HEADER_ERROR_CODE);
  return new NativeResponse(responseBody(reply), { status: responseStatus(reply), headers: cleaned });
}

/** A Response of another implementation (a polyfill in the bundle): same members, other class. */
function isForeignResponse(value: object): value is Pick<Response, "status" | "headers" | "body"> {
  return (
    "status" in value &&
    typeof value.status === "number" &&
    "headers" in value &&
    typeof value.headers === "object" &&
    value.headers !== null &&
    Symbol.iterator in value.headers &&
    "body" in value &&
    "arrayBuffer" in value
  );
}

const REPLY_KEYS: ReadonlySet<string> = new Set(["status", "statusCode", "body", "headers"]);

/** Whether a plain object is the reference system's reply form: a status, and nothing beside body and headers. */
export function isReplyForm(
  value: object,
): value is { status?: unknown; statusCode?: unknown; body?: unknown; headers?: unknown } {
  if (isArray(value)) return false;
  const keys = objectKeys(value);
  const status = "status" in value ? value.status : "statusCode" in value ? value.statusCode : undefined;
  return (
    typeof status === "number" && status >= 200 && status <= 599 && keys.every((key) => REPLY_KEYS.has(key))
  );
}

/** Body and default content type of a value that is no Response; null when it has no form of its own. */
function bodyOf(value: unknown): { body: BodyInit; type: string } | null {
  if (typeof value === "string") return { body: value, type: TEXT_TYPE };
  if (typeof value !== "object" || value === null) return null;
  if (hasInstance(NativeReadableStream, value)) return { body: value as ReadableStream, type: BINARY_TYPE };
  if (isView(value) || hasInstance(NativeArrayBuffer, value))
    return { body: value as BufferSource, type: BINARY_TYPE };
  if (hasInstance(NativeBlob, value))
    return { body: value as Blob, type: (value as Blob).type || BINARY_TYPE };
  return null;
}

function jsonBody(value: unknown): string {
  const body = jsonStringify(value);
  if (body === undefined) {
    throw new UnusableReply(
      `Cannot reply: the function must return a Response, text, bytes, a stream, JSON data or nothing, got a ${typeof value}`,
    );
  }
  return body;
}

/**
 * A Response of whatever a function returned: a Response as it is; nothing → 204; text; bytes and streams; else JSON.
 * Throws UnusableReply (a function, a symbol) or the serialiser's error (a cycle).
 */
export function toResponse(value: unknown): Response {
  if (typeof value === "object" && value !== null) {
    if (isResponse(value)) return withoutRuntimeHeaders(value);
    if (isForeignResponse(value)) {
      return withoutRuntimeHeaders(
        new NativeResponse(value.body, {
          status: value.status,
          headers: new NativeHeaders([...value.headers]),
        }),
      );
    }
    if (isReplyForm(value))
      return fromReplyForm(value.status ?? value.statusCode, value.body, value.headers, TEXT_TYPE);
  }
  if (value === undefined || value === null) return new NativeResponse(null, { status: 204 });
  const known = bodyOf(value);
  return known === null
    ? new NativeResponse(jsonBody(value), { headers: { "content-type": JSON_TYPE } })
    : new NativeResponse(known.body, { headers: { "content-type": known.type } });
}

function setHeaders(target: Headers, source: unknown): void {
  if (source === undefined || source === null) return;
  if (typeof source !== "object")
    throw new UnusableReply(`Cannot reply: headers must be an object, got a ${typeof source}`);
  const pairs: Iterable<readonly [string, unknown]> =
    Symbol.iterator in source ? (source as Iterable<readonly [string, unknown]>) : Object.entries(source);
  for (const [name, value] of pairs) {
    if (isArray(value)) for (const item of value) target.append(name, String(item));
    else if (value !== undefined && value !== null) target.set(name, String(value));
  }
}

const withoutBody = (status: number): boolean => status === 204 || status === 205 || status === 304;

/** A Response of `{status, body, headers}`. Throws UnusableReply naming the field that is wrong. */
export function fromReplyForm(status: unknown, body: unknown, headers: unknown, textType: string): Response {
  const code = Number(status);
  if (!Number.isInteger(code) || code < 200 || code > 599) {
    throw new UnusableReply(`Cannot reply: status must be 200..599, got ${String(status)}`);
  }
  const result = new NativeHeaders();
  setHeaders(result, headers);
  const known = body === undefined || body === null || body === "" ? { body: null, type: "" } : bodyOf(body);
  const type = known === null ? JSON_TYPE : known.type === TEXT_TYPE ? textType : known.type;
  if (type !== "" && !result.has("content-type")) result.set("content-type", type);
  const content = known === null ? jsonBody(body) : known.body;
  return withoutRuntimeHeaders(
    new NativeResponse(withoutBody(code) ? null : content, { status: code, headers: result }),
  );
}
