/**
 * Makes `core-kinds.json` from the published .proto files of Kubernetes (Apache-2.0):
 *
 *   go mod download k8s.io/api@v0.34.1 k8s.io/apimachinery@v0.34.1
 *   node localkube/schema/import-protos.ts $(go env GOMODCACHE)/k8s.io/api@v0.34.1 \
 *     $(go env GOMODCACHE)/k8s.io/apimachinery@v0.34.1
 *
 * One definition per message: JSON properties (embedded structs flattened), documentation, list and patch
 * markers, and `n`, the protobuf field number.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

interface ProtoField {
  name: string;
  type: string;
  number: number;
  repeated: boolean;
  comment: string[];
}
interface ProtoMessage {
  fullName: string;
  comment: string[];
  fields: ProtoField[];
}
type Node = Record<string, unknown>;

const FILES = [
  ["api", "core/v1", "io.k8s.api.core.v1"],
  ["api", "apps/v1", "io.k8s.api.apps.v1"],
  ["api", "autoscaling/v1", "io.k8s.api.autoscaling.v1"],
  ["api", "autoscaling/v2", "io.k8s.api.autoscaling.v2"],
  ["api", "coordination/v1", "io.k8s.api.coordination.v1"],
  ["api", "discovery/v1", "io.k8s.api.discovery.v1"],
  ["api", "events/v1", "io.k8s.api.events.v1"],
  ["api", "networking/v1", "io.k8s.api.networking.v1"],
  ["api", "policy/v1", "io.k8s.api.policy.v1"],
  ["api", "rbac/v1", "io.k8s.api.rbac.v1"],
  ["api", "authentication/v1", "io.k8s.api.authentication.v1"],
  ["api", "authorization/v1", "io.k8s.api.authorization.v1"],
  ["apimachinery", "pkg/apis/meta/v1", "io.k8s.apimachinery.pkg.apis.meta.v1"],
] as const;

const ROOTS = [
  "Pod",
  "Node",
  "Namespace",
  "Secret",
  "ConfigMap",
  "Event",
  "ServiceAccount",
  "Service",
  "Endpoints",
  "PersistentVolumeClaim",
  "LimitRange",
  "ResourceQuota",
]
  .map((kind) => `io.k8s.api.core.v1.${kind}`)
  .concat(
    ["apps.v1.Deployment", "apps.v1.ReplicaSet", "autoscaling.v1.Scale"].map((k) => `io.k8s.api.${k}`),
    ["autoscaling.v2.HorizontalPodAutoscaler", "coordination.v1.Lease"].map((k) => `io.k8s.api.${k}`),
    ["discovery.v1.EndpointSlice", "events.v1.Event", "policy.v1.PodDisruptionBudget"].map(
      (k) => `io.k8s.api.${k}`,
    ),
    ["networking.v1.Ingress", "networking.v1.NetworkPolicy", "policy.v1.Eviction"].map(
      (k) => `io.k8s.api.${k}`,
    ),
    ["Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"].map((k) => `io.k8s.api.rbac.v1.${k}`),
    ["TokenReview", "SelfSubjectReview"].map((k) => `io.k8s.api.authentication.v1.${k}`),
    [
      "SelfSubjectAccessReview",
      "SubjectAccessReview",
      "LocalSubjectAccessReview",
      "SelfSubjectRulesReview",
    ].map((k) => `io.k8s.api.authorization.v1.${k}`),
    ["DeleteOptions", "Status"].map((k) => `io.k8s.apimachinery.pkg.apis.meta.v1.${k}`),
  );

/** Go embeds these without a JSON key of their own. */
const INLINED = new Set([
  "Volume.volumeSource",
  "EphemeralContainer.ephemeralContainerCommon",
  "Probe.handler",
  "SecretKeySelector.localObjectReference",
  "ConfigMapKeySelector.localObjectReference",
  "SecretEnvSource.localObjectReference",
  "ConfigMapEnvSource.localObjectReference",
  "SecretProjection.localObjectReference",
  "ConfigMapProjection.localObjectReference",
  "SecretVolumeSource.localObjectReference",
  "ConfigMapVolumeSource.localObjectReference",
  "PersistentVolumeSpec.persistentVolumeSource",
  "IngressRule.ingressRuleValue",
]);

const SCALARS: Record<string, Node> = {
  string: { type: "string" },
  bool: { type: "boolean" },
  int32: { type: "integer", format: "int32" },
  int64: { type: "integer", format: "int64" },
  double: { type: "number", format: "double" },
  bytes: { type: "string", format: "byte" },
};

const META = "io.k8s.apimachinery.pkg.apis.meta.v1";
const SPECIAL: Record<string, Node> = {
  [`${META}.Time`]: { type: "string", format: "date-time", p: "time" },
  [`${META}.MicroTime`]: { type: "string", format: "date-time", p: "microtime" },
  [`${META}.Duration`]: { type: "string", p: "duration" },
  [`${META}.FieldsV1`]: { type: "object", p: "fields", "x-kubernetes-preserve-unknown-fields": true },
  "io.k8s.apimachinery.pkg.api.resource.Quantity": { p: "quantity", "x-kubernetes-int-or-string": true },
  "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {
    p: "intorstring",
    "x-kubernetes-int-or-string": true,
  },
  "io.k8s.apimachinery.pkg.runtime.RawExtension": {
    type: "object",
    p: "raw",
    "x-kubernetes-preserve-unknown-fields": true,
  },
};

function parseProto(text: string, packageName: string): ProtoMessage[] {
  const messages: ProtoMessage[] = [];
  let comment: string[] = [];
  let current: ProtoMessage | undefined;
  for (const raw of text.split("\n")) {
    const line = raw.trim();
    const remark = /^\/\/ ?(.*)$/.exec(line);
    const message = /^message (\w+) \{$/.exec(line);
    const field =
      /^(optional|repeated)?\s*(map<\s*string\s*,\s*[\w.]+>|[\w.]+) (\w+) = (\d+)(?:\s*\[.*\])?;$/.exec(line);
    if (remark) {
      comment.push(remark[1] ?? "");
      continue;
    }
    if (message) {
      current = { fullName: `${packageName}.${message[1]}`, comment, fields: [] };
      messages.push(current);
    } else if (field && current) {
      current.fields.push({
        name: field[3] ?? "",
        type: (field[2] ?? "").replaceAll(" ", ""),
        number: Number(field[4]),
        repeated: field[1] === "repeated",
        comment,
      });
    } else if (line === "}") current = undefined;
    if (line !== "") comment = [];
  }
  return messages;
}

const describe = (comment: string[]): string =>
  comment
    .filter((line) => !/^\+\w/.test(line.trim()))
    .join("\n")
    .replace(/\n{2,}/g, "\n\n")
    .replace(/([^\n])\n(?=[^\n*-])/g, "$1 ")
    .trim();

const marker = (comment: string[], name: string): string[] =>
  comment
    .map((line) => new RegExp(`^\\+${name}=(.*)$`).exec(line.trim())?.[1])
    .filter((value) => value !== undefined);

function typeNode(type: string, owner: string, all: Map<string, ProtoMessage>): Node {
  const scalar = SCALARS[type];
  if (scalar) return { ...scalar };
  const name = type.startsWith(".")
    ? type.replace(".k8s.io.", "io.k8s.")
    : `${owner.slice(0, owner.lastIndexOf("."))}.${type}`;
  const special = SPECIAL[name];
  if (special) return { ...special };
  const message = all.get(name);
  if (!message) throw new Error(`Cannot import "${owner}": it names the unknown type "${name}"`);
  // A message with one repeated "items" stands for a Go slice type.
  if (message.fields.length === 1 && message.fields[0]?.name === "items" && !name.endsWith("List")) {
    return { type: "array", p: "slice", items: typeNode(message.fields[0].type, name, all) };
  }
  return { $ref: name };
}

function fieldNode(field: ProtoField, owner: string, all: Map<string, ProtoMessage>): Node {
  const map = /^map<string,(.+)>$/.exec(field.type);
  let node: Node;
  if (map) {
    node = { type: "object", additionalProperties: typeNode(map[1] ?? "", owner, all) };
  } else if (field.repeated) {
    node = { type: "array", items: typeNode(field.type, owner, all) };
    const listType = marker(field.comment, "listType")[0];
    if (listType) node["x-kubernetes-list-type"] = listType;
    const keys = marker(field.comment, "listMapKey");
    if (keys.length > 0) node["x-kubernetes-list-map-keys"] = keys;
  } else node = typeNode(field.type, owner, all);
  const mapType = marker(field.comment, "mapType")[0] ?? marker(field.comment, "structType")[0];
  if (mapType === "atomic") node["x-kubernetes-map-type"] = "atomic";
  const mergeKey = marker(field.comment, "patchMergeKey")[0];
  if (mergeKey) node["x-kubernetes-patch-merge-key"] = mergeKey;
  const strategy = marker(field.comment, "patchStrategy")[0];
  if (strategy) node["x-kubernetes-patch-strategy"] = strategy;
  const description = describe(field.comment);
  if (description) node.description = description;
  node.n = field.number;
  return node;
}

function define(
  message: ProtoMessage,
  all: Map<string, ProtoMessage>,
): Node & { properties: Record<string, Node> } {
  const short = message.fullName.slice(message.fullName.lastIndexOf(".") + 1);
  const properties: Record<string, Node> = {};
  const required: string[] = [];
  const inline: Record<string, string> = {};
  for (const field of message.fields) {
    if (INLINED.has(`${short}.${field.name}`)) {
      const target = `${message.fullName.slice(0, message.fullName.lastIndexOf("."))}.${field.type}`;
      inline[String(field.number)] = target;
      const inner = all.get(target);
      if (!inner) throw new Error(`Cannot import "${message.fullName}": no message "${target}" to embed`);
      for (const [name, node] of Object.entries(define(inner, all).properties)) {
        const { n: _number, ...rest } = node;
        properties[name] = rest;
      }
      continue;
    }
    properties[field.name] = fieldNode(field, message.fullName, all);
    if (!field.comment.some((line) => line.trim() === "+optional")) required.push(field.name);
  }
  const node: Node & { properties: Record<string, Node> } = {
    description: describe(message.comment),
    type: "object",
    properties,
  };
  if (required.length > 0) node.required = required;
  if (Object.keys(inline).length > 0) node.inline = inline;
  if (message.comment.some((line) => /^\+(structType|mapType)=atomic/.test(line.trim()))) {
    node["x-kubernetes-map-type"] = "atomic";
  }
  return node;
}

function references(node: unknown, found: Set<string>): void {
  if (typeof node !== "object" || node === null) return;
  for (const [key, value] of Object.entries(node)) {
    if (key === "$ref" && typeof value === "string") found.add(value);
    else if (key === "inline") for (const target of Object.values<unknown>(value)) found.add(String(target));
    else references(value, found);
  }
}

const [apiDir, machineryDir] = process.argv.slice(2);
if (!apiDir || !machineryDir) throw new Error("usage: import-protos.ts <k8s.io/api dir> <apimachinery dir>");
const all = new Map<string, ProtoMessage>();
for (const [base, path, packageName] of FILES) {
  const file = join(base === "api" ? apiDir : machineryDir, path, "generated.proto");
  for (const message of parseProto(readFileSync(file, "utf8"), packageName))
    all.set(message.fullName, message);
}
const definitions: Record<string, Node> = {};
const queue: string[] = [...ROOTS];
for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
  if (definitions[name]) continue;
  const message = all.get(name);
  if (!message) throw new Error(`Cannot import "${name}": no such message`);
  definitions[name] = define(message, all);
  const found = new Set<string>();
  references(definitions[name], found);
  queue.push(...found);
}
const sorted = Object.fromEntries(Object.entries(definitions).sort(([a], [b]) => (a < b ? -1 : 1)));
writeFileSync(
  join(import.meta.dirname, "core-kinds.json"),
  `{\n${Object.entries(sorted)
    .map(([name, node]) => `${JSON.stringify(name)}: ${JSON.stringify(node)}`)
    .join(",\n")}\n}\n`,
);
