import protobuf from "protobufjs/minimal.js";
import { ApiError, badRequest } from "../api/api-error.ts";
import { coreDefinitions, resolve, type Schema } from "../schema/schema.ts";
import { isPlainObject, type PlainObject } from "../schema/plain-object.ts";

export const PROTOBUF_TYPE = "application/vnd.kubernetes.protobuf";

type Reader = protobuf.Reader;

/** What every encoded object begins with. */
const MAGIC = Buffer.from([0x6b, 0x38, 0x73, 0x00]);

interface FieldPlan {
  name: string;
  schema: Schema;
}

interface MessagePlan {
  fields: Map<number, FieldPlan>;
  /** Embedded messages whose fields belong to this one. */
  inline: Map<number, Schema>;
}

const plans = new WeakMap<Schema, MessagePlan>();

function planOf(schema: Schema): MessagePlan {
  let plan = plans.get(schema);
  if (!plan) {
    plan = { fields: new Map(), inline: new Map() };
    for (const [name, field] of Object.entries(schema.properties ?? {})) {
      if (field.n !== undefined) plan.fields.set(field.n, { name, schema: field });
    }
    for (const [number, name] of Object.entries(schema.inline ?? {})) {
      plan.inline.set(Number(number), resolve({ $ref: name }));
    }
    plans.set(schema, plan);
  }
  return plan;
}

/** Definitions by `apiVersion/kind`, as a body names its type. */
let byKind: Map<string, Schema> | undefined;

function definitionOf(apiVersion: string, kind: string): Schema {
  if (!byKind) {
    byKind = new Map();
    for (const [name, schema] of Object.entries(coreDefinitions)) {
      const [version, simple] = name.split(".").slice(-2);
      const group = name.startsWith("io.k8s.apimachinery.") ? "meta" : name.split(".").at(-3);
      byKind.set(`${group}/${version}/${simple}`, schema);
    }
  }
  const [group, version] = apiVersion.includes("/") ? apiVersion.split("/") : ["core", apiVersion];
  const short = group?.split(".")[0] ?? "";
  const family = short === "rbac" || short !== "core" ? short : "core";
  const found = byKind.get(`${family}/${version}/${kind}`) ?? byKind.get(`meta/v1/${kind}`);
  if (!found) {
    throw new ApiError(
      415,
      "UnsupportedMediaType",
      `no protobuf form of ${kind} in "${apiVersion}" is known here: send application/json`,
    );
  }
  return found;
}

/** Reads the body that Go clients send as `application/vnd.kubernetes.protobuf`. Throws 400 on a broken one. */
export function decodeProtobuf(body: Buffer): unknown {
  if (!body.subarray(0, 4).equals(MAGIC)) throw badRequest("the protobuf body lacks its leading k8s marker");
  try {
    const envelope = readEnvelope(protobuf.Reader.create(body.subarray(4)));
    const schema = definitionOf(envelope.apiVersion, envelope.kind);
    const reader = protobuf.Reader.create(envelope.raw);
    const object = readMessage(reader, envelope.raw.length, schema);
    return { apiVersion: envelope.apiVersion, kind: envelope.kind, ...object };
  } catch (error) {
    if (error instanceof ApiError) throw error;
    throw badRequest(`the protobuf body cannot be read: ${error instanceof Error ? error.message : ""}`);
  }
}

function readEnvelope(reader: Reader): { apiVersion: string; kind: string; raw: Uint8Array } {
  const envelope = { apiVersion: "", kind: "", raw: new Uint8Array(0) as Uint8Array };
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if (tag >>> 3 === 1) {
      const end = reader.uint32() + reader.pos;
      while (reader.pos < end) {
        const inner = reader.uint32();
        if (inner >>> 3 === 1) envelope.apiVersion = reader.string();
        else if (inner >>> 3 === 2) envelope.kind = reader.string();
        else reader.skipType(inner & 7);
      }
    } else if (tag >>> 3 === 2) envelope.raw = reader.bytes();
    else reader.skipType(tag & 7);
  }
  return envelope;
}

function readMessage(reader: Reader, end: number, schema: Schema): PlainObject {
  const plan = planOf(schema);
  const object: PlainObject = {};
  while (reader.pos < end) {
    const tag = reader.uint32();
    const number = tag >>> 3;
    const inline = plan.inline.get(number);
    if (inline) {
      const length = reader.uint32();
      Object.assign(object, readMessage(reader, reader.pos + length, inline));
      continue;
    }
    const field = plan.fields.get(number);
    if (!field) {
      reader.skipType(tag & 7);
      continue;
    }
    readField(reader, tag & 7, field, object);
  }
  return object;
}

function readField(reader: Reader, wireType: number, field: FieldPlan, object: PlainObject): void {
  const { schema, name } = field;
  if (schema.type === "array" && schema.items && schema.p !== "slice") {
    const list: unknown[] = Array.isArray(object[name]) ? object[name] : [];
    object[name] = list;
    const items = schema.items;
    if (wireType === 2 && isPacked(resolve(items))) {
      const end = reader.uint32() + reader.pos;
      while (reader.pos < end) list.push(readValue(reader, items));
    } else list.push(readValue(reader, items));
    return;
  }
  if (schema.type === "object" && typeof schema.additionalProperties === "object") {
    const map = isPlainObject(object[name]) ? object[name] : {};
    object[name] = map;
    readMapEntry(reader, schema.additionalProperties, map);
    return;
  }
  const value = readValue(reader, schema);
  // Go writes the zero value of what is unset and no pointer; it stands for "absent".
  if (value === undefined || value === "" || ((value === 0 || value === false) && PLAIN_IN_GO.has(name)))
    return;
  object[name] = value;
}

/** Numbers and flags whose zero value means "not given". */
const PLAIN_IN_GO = new Set([
  "hostPort",
  "nodePort",
  "timeoutSeconds",
  "periodSeconds",
  "successThreshold",
  "failureThreshold",
  "initialDelaySeconds",
  "generation",
  "observedGeneration",
  "minReadySeconds",
  "paused",
  "count",
  "hostNetwork",
  "hostPID",
  "hostIPC",
  "stdin",
  "stdinOnce",
  "tty",
  "readOnly",
  "publishNotReadyAddresses",
  "allocateLoadBalancerNodePorts",
  "healthCheckNodePort",
]);

const isPacked = (schema: Schema): boolean =>
  schema.type === "integer" || schema.type === "number" || schema.type === "boolean";

function readMapEntry(reader: Reader, valueSchema: Schema, map: PlainObject): void {
  const end = reader.uint32() + reader.pos;
  let key = "";
  let value: unknown = valueSchema.type === "string" ? "" : {};
  while (reader.pos < end) {
    const tag = reader.uint32();
    if (tag >>> 3 === 1) key = reader.string();
    else if (tag >>> 3 === 2) value = readValue(reader, valueSchema);
    else reader.skipType(tag & 7);
  }
  Object.defineProperty(map, key, { value, enumerable: true, configurable: true, writable: true });
}

function readValue(reader: Reader, given: Schema): unknown {
  const schema = resolve(given);
  if (schema.p) return readSpecial(reader, schema);
  switch (schema.type) {
    case "string":
      return schema.format === "byte" ? Buffer.from(reader.bytes()).toString("base64") : reader.string();
    case "boolean":
      return reader.bool();
    case "integer":
      return Number(reader.int64());
    case "number":
      return reader.double();
    default: {
      const length = reader.uint32();
      return readMessage(reader, reader.pos + length, schema);
    }
  }
}

function readNumbers(reader: Reader): Map<number, number | string | Uint8Array> {
  const end = reader.uint32() + reader.pos;
  const found = new Map<number, number | string | Uint8Array>();
  while (reader.pos < end) {
    const tag = reader.uint32();
    const number = tag >>> 3;
    if ((tag & 7) === 0) found.set(number, Number(reader.int64()));
    else if ((tag & 7) === 2) found.set(number, reader.bytes());
    else reader.skipType(tag & 7);
  }
  return found;
}

const asText = (value: number | string | Uint8Array | undefined): string =>
  value instanceof Uint8Array ? Buffer.from(value).toString() : String(value ?? "");

function readSpecial(reader: Reader, schema: Schema): unknown {
  if (schema.p === "slice") {
    const end = reader.uint32() + reader.pos;
    const list: unknown[] = [];
    while (reader.pos < end) {
      const tag = reader.uint32();
      if (tag >>> 3 === 1) list.push(readValue(reader, schema.items ?? {}));
      else reader.skipType(tag & 7);
    }
    return list;
  }
  const parts = readNumbers(reader);
  switch (schema.p) {
    case "time":
    case "microtime": {
      if (parts.size === 0) return undefined;
      const ms = Number(parts.get(1) ?? 0) * 1000 + Number(parts.get(2) ?? 0) / 1e6;
      const text = new Date(ms).toISOString();
      if (schema.p === "time") return `${text.slice(0, 19)}Z`;
      const micros = Math.floor(Number(parts.get(2) ?? 0) / 1000);
      return `${text.slice(0, 19)}.${String(micros).padStart(6, "0")}Z`;
    }
    case "quantity":
      return asText(parts.get(1));
    case "intorstring":
      return Number(parts.get(1) ?? 0) === 0 ? Number(parts.get(2) ?? 0) : asText(parts.get(3));
    case "duration":
      return `${Number(parts.get(1) ?? 0) / 1e9}s`;
    default: {
      const raw = asText(parts.get(1));
      return raw === "" ? undefined : (JSON.parse(raw) as unknown);
    }
  }
}
