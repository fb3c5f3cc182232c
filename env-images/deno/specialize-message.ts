import type { SpecializeRequest } from "../../api/wire/specialize.ts";

/** The message breaks its contract; `message` says where and what is allowed. */
export class MalformedMessage extends Error {
  override readonly name = "MalformedMessage";
}

/** Bytes of the message's JSON part, at most. Secrets and config maps are at most 1 MiB each. */
const MAX_JSON_BYTES = 64 * 1024 * 1024;
const MAX_ENTRIES = 4096;

type Json = Readonly<Record<string, unknown>>;

function fail(path: string, allowed: string, got: unknown): never {
  const shown = typeof got === "string" && got.length > 80 ? `${got.slice(0, 80)}…` : got;
  throw new MalformedMessage(
    `Cannot specialise: ${path} must be ${allowed}, got ${shown === undefined ? "nothing" : JSON.stringify(shown)}`,
  );
}

function isRecord(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function record(value: unknown, path: string): Json {
  return isRecord(value) ? value : fail(path, "an object", Array.isArray(value) ? "a list" : value);
}

function text(value: unknown, path: string): string {
  return typeof value === "string" ? value : fail(path, "a string", value);
}

function filled(value: unknown, path: string): string {
  return text(value, path) === "" ? fail(path, "a non-empty string", value) : text(value, path);
}

function whole(value: unknown, path: string, lowest: number): number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= lowest
    ? value
    : fail(path, `a whole number of at least ${lowest}`, value);
}

function flag(value: unknown, path: string): boolean {
  return typeof value === "boolean" ? value : fail(path, "true or false", value);
}

function strings(value: unknown, path: string): Record<string, string> {
  const source = record(value, path);
  const keys = Object.keys(source);
  if (keys.length > MAX_ENTRIES) fail(path, `at most ${MAX_ENTRIES} entries`, keys.length);
  const result: Record<string, string> = {};
  for (const key of keys) {
    Object.defineProperty(result, key, {
      value: text(source[key], `${path}[${JSON.stringify(key)}]`),
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }
  return result;
}

function environment(value: unknown, path: string): Record<string, string> {
  const result = strings(value, path);
  for (const [name, content] of Object.entries(result)) {
    if (!/^[^=\0]+$/.test(name)) fail(path, 'names without "=" and NUL', name);
    if (content.includes("\0")) fail(`${path}[${JSON.stringify(name)}]`, "text without NUL", content);
  }
  return result;
}

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
/** One path segment: a namespace, a name, or a key of a secret. */
const SEGMENT = /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,253}$/;

function segment(value: unknown, path: string): string {
  const name = text(value, path);
  return SEGMENT.test(name)
    ? name
    : fail(path, "one path segment of letters, digits, dot, dash and underscore", name);
}

/** A folder relative to the pod's root; a leading slash is the root. */
function folder(value: unknown, path: string): string {
  const parts = text(value, path)
    .split("/")
    .filter((part) => part !== "");
  if (parts.length === 0 || !parts.every((part) => SEGMENT.test(part))) {
    fail(path, 'a folder relative to the root, without ".." and special characters', value);
  }
  return parts.join("/");
}

function mounted(value: unknown, path: string): SpecializeRequest["secrets"][number] {
  const source = record(value, path);
  const data = strings(source["data"], `${path}.data`);
  for (const [key, content] of Object.entries(data)) {
    segment(key, `the keys of ${path}.data`);
    if (!BASE64.test(content)) fail(`${path}.data[${JSON.stringify(key)}]`, "base64", "other text");
  }
  const mountPath = source["mountPath"];
  return {
    namespace: segment(source["namespace"], `${path}.namespace`),
    name: segment(source["name"], `${path}.name`),
    ...(mountPath === undefined ? {} : { mountPath: folder(mountPath, `${path}.mountPath`) }),
    data,
  };
}

function list(value: unknown, path: string): unknown[] {
  if (!Array.isArray(value)) return fail(path, "a list", value);
  return value.length > MAX_ENTRIES ? fail(path, `at most ${MAX_ENTRIES} entries`, value.length) : value;
}

/** Checks the JSON part against the contract in `api/wire/specialize.ts`. Throws MalformedMessage. */
export function checkSpecializeRequest(value: unknown): SpecializeRequest {
  const source = record(value, "the message");
  const fn = record(source["function"], "function");
  const archive = record(source["archive"], "archive");
  const limits = record(source["limits"], "limits");
  const sha256 = text(archive["sha256"], "archive.sha256");
  if (!/^[0-9a-f]{64}$/.test(sha256)) fail("archive.sha256", "64 lower-case hexadecimal digits", sha256);
  return {
    podUid: text(source["podUid"], "podUid"),
    revision: filled(source["revision"], "revision"),
    function: {
      namespace: filled(fn["namespace"], "function.namespace"),
      name: filled(fn["name"], "function.name"),
      uid: text(fn["uid"], "function.uid"),
      resourceVersion: text(fn["resourceVersion"], "function.resourceVersion"),
    },
    functionName: text(source["functionName"], "functionName"),
    archive: { sha256, sizeBytes: whole(archive["sizeBytes"], "archive.sizeBytes", 0) },
    env: environment(source["env"], "env"),
    ...(source["secretEnv"] === undefined
      ? {}
      : {
          secretEnv: list(source["secretEnv"], "secretEnv").map((name, index) =>
            text(name, `secretEnv[${index}]`),
          ),
        }),
    secrets: list(source["secrets"], "secrets").map((item, index) => mounted(item, `secrets[${index}]`)),
    configMaps: list(source["configMaps"], "configMaps").map((item, index) =>
      mounted(item, `configMaps[${index}]`),
    ),
    limits: {
      requestsPerPod: whole(limits["requestsPerPod"], "limits.requestsPerPod", 1),
      onceOnly: flag(limits["onceOnly"], "limits.onceOnly"),
      timeoutMs: whole(limits["timeoutMs"], "limits.timeoutMs", 0),
      maxBodyBytes: whole(limits["maxBodyBytes"], "limits.maxBodyBytes", 1),
    },
    debug: flag(source["debug"], "debug"),
  };
}

/**
 * Takes a message apart: uint32 big-endian length, that many bytes of JSON, the archive. Throws MalformedMessage.
 * The archive is a view of `bytes`.
 */
export function parseSpecializeMessage(bytes: Uint8Array<ArrayBuffer>): {
  readonly request: SpecializeRequest;
  readonly archive: Uint8Array<ArrayBuffer>;
} {
  if (bytes.length < 4) fail("the message", "at least 4 bytes long", bytes.length);
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
  if (length > MAX_JSON_BYTES || length > bytes.length - 4) {
    fail("the length of the JSON part", `at most ${Math.min(MAX_JSON_BYTES, bytes.length - 4)}`, length);
  }
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(4, 4 + length)));
  } catch (error) {
    fail("the message", "JSON in UTF-8", error instanceof Error ? error.message : "other bytes");
  }
  const request = checkSpecializeRequest(value);
  const archive = bytes.subarray(4 + length);
  if (archive.length !== request.archive.sizeBytes) {
    fail("archive.sizeBytes", `the ${archive.length} bytes that follow the JSON`, request.archive.sizeBytes);
  }
  return { request, archive };
}
