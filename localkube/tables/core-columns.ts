import { formatLabelSelector } from "../api/selectors.ts";
import { isPlainObject, type PlainObject, plainObjects, textOf } from "../schema/plain-object.ts";
import type { KubeObject } from "../store/kube-object.ts";
import { age } from "./age.ts";
import type { Column } from "./column.ts";
import { podColumns } from "./pod-columns.ts";

type Cell = Column["cell"];

export const column = (name: string, cell: Cell, options: Partial<Column> = {}): Column => ({
  name,
  type: "string",
  priority: 0,
  ...options,
  cell,
});

export const wide = (name: string, cell: Cell): Column => column(name, cell, { priority: 1 });

export const nameColumn = column("Name", (object) => object.metadata.name, {
  format: "name",
  description: "Name must be unique within a namespace.",
});

export const ageColumn = column("Age", (object, nowMs) => age(object.metadata.creationTimestamp, nowMs), {
  description: "CreationTimestamp is the server time when this object was created.",
});

const at = (object: unknown, ...path: string[]): unknown => {
  let value = object;
  for (const part of path) value = isPlainObject(value) ? value[part] : undefined;
  return value;
};

const text = (value: unknown, otherwise = "<none>"): string =>
  value === undefined || value === null || value === "" ? otherwise : textOf(value);
const count = (value: unknown): number => (isPlainObject(value) ? Object.keys(value).length : 0);
const number = (value: unknown): number => (typeof value === "number" ? value : 0);

const containers = (object: KubeObject): PlainObject[] =>
  plainObjects(at(object, "spec", "template", "spec", "containers"));
const containerNames: Cell = (object) =>
  containers(object)
    .map((each) => text(each.name))
    .join(",");
const containerImages: Cell = (object) =>
  containers(object)
    .map((each) => text(each.image))
    .join(",");
const selectorText: Cell = (object) => {
  const selector = at(object, "spec", "selector");
  return isPlainObject(selector) ? text(formatLabelSelector(selector)) : "<none>";
};
const mapText = (value: unknown): string =>
  isPlainObject(value)
    ? text(
        Object.entries(value)
          .map(([key, item]) => `${key}=${textOf(item)}`)
          .join(","),
      )
    : "<none>";

function servicePorts(object: KubeObject): string {
  const shown = plainObjects(at(object, "spec", "ports")).map((port) => {
    const node = port.nodePort ? `:${textOf(port.nodePort)}` : "";
    return `${textOf(port.port)}${node}/${textOf(port.protocol)}`;
  });
  return text(shown.join(","));
}

function nodeStatus(object: KubeObject): string {
  const ready = plainObjects(at(object, "status", "conditions")).find(
    (condition) => condition.type === "Ready",
  );
  const status = ready === undefined ? "Unknown" : ready.status === "True" ? "Ready" : "NotReady";
  return at(object, "spec", "unschedulable") === true ? `${status},SchedulingDisabled` : status;
}

function nodeRoles(object: KubeObject): string {
  const prefix = "node-role.kubernetes.io/";
  return text(
    Object.keys(object.metadata.labels ?? {})
      .filter((key) => key.startsWith(prefix))
      .map((key) => key.slice(prefix.length))
      .sort()
      .join(","),
  );
}

const nodeAddress =
  (type: string): Cell =>
  (object) =>
    text(plainObjects(at(object, "status", "addresses")).find((address) => address.type === type)?.address);

const involved = (object: KubeObject): PlainObject => {
  const value = object.involvedObject ?? object.regarding;
  return isPlainObject(value) ? value : {};
};

const lastSeen: Cell = (object, nowMs) =>
  age(
    at(object, "series", "lastObservedTime") ??
      object.lastTimestamp ??
      object.deprecatedLastTimestamp ??
      object.eventTime ??
      object.firstTimestamp ??
      object.metadata.creationTimestamp,
    nowMs,
  );

const eventColumns: Column[] = [
  column("Last Seen", lastSeen),
  column("Type", (object) => text(object.type, "")),
  column("Reason", (object) => text(object.reason, "")),
  column(
    "Object",
    (object) => `${text(involved(object).kind, "").toLowerCase()}/${text(involved(object).name, "")}`,
  ),
  wide("Subobject", (object) => text(involved(object).fieldPath, "")),
  wide("Source", (object) =>
    text(at(object, "source", "component") ?? object.reportingComponent ?? object.reportingController, ""),
  ),
  column("Message", (object) => text(object.message ?? object.note, "").trim()),
  wide("First Seen", (object, nowMs) =>
    age(object.firstTimestamp ?? object.eventTime ?? object.metadata.creationTimestamp, nowMs),
  ),
  wide("Count", (object) => number(at(object, "series", "count")) || number(object.count) || 1),
  wide("Name", (object) => object.metadata.name),
];

const replicas = (name: string, ...path: string[]): Column =>
  column(name, (object) => number(at(object, ...path)), { type: "integer" });

const endpointAddresses: Cell = (object) => {
  const addresses = plainObjects(object.endpoints).flatMap((each) =>
    Array.isArray(each.addresses) ? each.addresses : [],
  );
  const more = addresses.length > 3 ? ` + ${addresses.length - 3} more...` : "";
  return text(addresses.slice(0, 3).join(",") + more, "<unset>");
};

const COLUMNS: Record<string, Column[]> = {
  Namespace: [nameColumn, column("Status", (object) => text(at(object, "status", "phase"), "")), ageColumn],
  Secret: [
    nameColumn,
    column("Type", (object) => text(object.type, "")),
    column("Data", (object) => count(object.data)),
    ageColumn,
  ],
  ConfigMap: [
    nameColumn,
    column("Data", (object) => count(object.data) + count(object.binaryData)),
    ageColumn,
  ],
  Event: eventColumns,
  Node: [
    nameColumn,
    column("Status", nodeStatus),
    column("Roles", nodeRoles),
    ageColumn,
    column("Version", (object) => text(at(object, "status", "nodeInfo", "kubeletVersion"), "")),
    wide("Internal-IP", nodeAddress("InternalIP")),
    wide("External-IP", nodeAddress("ExternalIP")),
    wide("OS-Image", (object) => text(at(object, "status", "nodeInfo", "osImage"), "<unknown>")),
    wide("Kernel-Version", (object) => text(at(object, "status", "nodeInfo", "kernelVersion"), "<unknown>")),
    wide("Container-Runtime", (object) =>
      text(at(object, "status", "nodeInfo", "containerRuntimeVersion"), "<unknown>"),
    ),
  ],
  ServiceAccount: [nameColumn, column("Secrets", (object) => plainObjects(object.secrets).length), ageColumn],
  Service: [
    nameColumn,
    column("Type", (object) => text(at(object, "spec", "type"), "")),
    column("Cluster-IP", (object) => text(at(object, "spec", "clusterIP"))),
    column("External-IP", (object) =>
      at(object, "spec", "type") === "ExternalName" ? text(at(object, "spec", "externalName")) : "<none>",
    ),
    column("Port(s)", servicePorts),
    ageColumn,
    wide("Selector", (object) => mapText(at(object, "spec", "selector"))),
  ],
  Deployment: [
    nameColumn,
    column(
      "Ready",
      (object) =>
        `${number(at(object, "status", "readyReplicas"))}/${number(at(object, "spec", "replicas"))}`,
    ),
    replicas("Up-to-date", "status", "updatedReplicas"),
    replicas("Available", "status", "availableReplicas"),
    ageColumn,
    wide("Containers", containerNames),
    wide("Images", containerImages),
    wide("Selector", selectorText),
  ],
  ReplicaSet: [
    nameColumn,
    replicas("Desired", "spec", "replicas"),
    replicas("Current", "status", "replicas"),
    replicas("Ready", "status", "readyReplicas"),
    ageColumn,
    wide("Containers", containerNames),
    wide("Images", containerImages),
    wide("Selector", selectorText),
  ],
  Lease: [
    nameColumn,
    column("Holder", (object) => text(at(object, "spec", "holderIdentity"), "")),
    ageColumn,
  ],
  EndpointSlice: [
    nameColumn,
    column("AddressType", (object) => text(object.addressType, "")),
    column("Ports", (object) =>
      text(
        plainObjects(object.ports)
          .map((port) => textOf(port.port))
          .join(","),
        "<unset>",
      ),
    ),
    column("Endpoints", endpointAddresses),
    ageColumn,
  ],
  Ingress: [
    nameColumn,
    column("Class", (object) => text(at(object, "spec", "ingressClassName"))),
    column("Hosts", (object) =>
      text(
        plainObjects(at(object, "spec", "rules"))
          .map((rule) => text(rule.host, "*"))
          .join(","),
        "*",
      ),
    ),
    ageColumn,
  ],
  PodDisruptionBudget: [
    nameColumn,
    column("Min Available", (object) => text(at(object, "spec", "minAvailable"), "N/A")),
    column("Max Unavailable", (object) => text(at(object, "spec", "maxUnavailable"), "N/A")),
    ageColumn,
  ],
  HorizontalPodAutoscaler: [
    nameColumn,
    column("Reference", (object) => {
      const target = at(object, "spec", "scaleTargetRef");
      return `${text(at(target, "kind"), "")}/${text(at(target, "name"), "")}`;
    }),
    column("MinPods", (object) => text(at(object, "spec", "minReplicas"), "<unset>")),
    replicas("MaxPods", "spec", "maxReplicas"),
    replicas("Replicas", "status", "currentReplicas"),
    ageColumn,
  ],
};

/** The columns of a built-in kind. */
export function columnsFor(kind: string): Column[] {
  if (kind === "Pod") return podColumns([nameColumn], [ageColumn]);
  return COLUMNS[kind] ?? [nameColumn, ageColumn];
}
