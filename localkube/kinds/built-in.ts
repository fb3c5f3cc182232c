import type { NameRule, KindRules, ResourceDefinition, ScalePaths } from "../api/resource.ts";
import { definition } from "../schema/schema.ts";
import { columnsFor } from "../tables/core-columns.ts";
import { configMapRules, secretRules } from "./config-rules.ts";
import { eventRules, eventsV1View } from "./event-rules.ts";
import { namespaceRules } from "./namespace-rules.ts";
import { leaseRules, nodeRules } from "./node-rules.ts";
import { podRules } from "./pod-rules.ts";
import { endpointSliceRules, serviceRules } from "./service-rules.ts";
import { deploymentRules, replicaSetRules } from "./workload-rules.ts";

const ALL_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

interface Row {
  group?: string;
  version?: string;
  kind: string;
  plural?: string;
  short?: string[];
  categories?: string[];
  clusterScoped?: boolean;
  status?: boolean;
  generation?: boolean;
  scale?: ScalePaths;
  name?: NameRule;
  rules?: KindRules;
  verbs?: string[];
  view?: ResourceDefinition["view"];
  storage?: string;
}

const SCALE: ScalePaths = {
  specReplicasPath: ".spec.replicas",
  statusReplicasPath: ".status.replicas",
  labelSelectorPath: ".spec.selector",
};

const RBAC = "rbac.authorization.k8s.io";

const ROWS: Row[] = [
  {
    kind: "Namespace",
    short: ["ns"],
    clusterScoped: true,
    status: true,
    name: "dns-label",
    rules: namespaceRules,
    verbs: ALL_VERBS.filter((verb) => verb !== "deletecollection"),
  },
  { kind: "Secret", rules: secretRules },
  { kind: "ConfigMap", short: ["cm"], rules: configMapRules },
  { kind: "Event", short: ["ev"], rules: eventRules },
  { kind: "Pod", short: ["po"], categories: ["all"], status: true, generation: true, rules: podRules },
  { kind: "Node", short: ["no"], clusterScoped: true, status: true, rules: nodeRules },
  { kind: "ServiceAccount", short: ["sa"] },
  {
    kind: "Service",
    short: ["svc"],
    categories: ["all"],
    status: true,
    name: "dns-1035-label",
    rules: serviceRules,
  },
  { kind: "Endpoints", plural: "endpoints", short: ["ep"] },
  { kind: "PersistentVolumeClaim", short: ["pvc"], status: true },
  { kind: "LimitRange", short: ["limits"] },
  { kind: "ResourceQuota", short: ["quota"], status: true },
  {
    group: "apps",
    kind: "Deployment",
    short: ["deploy"],
    categories: ["all"],
    status: true,
    generation: true,
    scale: SCALE,
    rules: deploymentRules,
  },
  {
    group: "apps",
    kind: "ReplicaSet",
    short: ["rs"],
    categories: ["all"],
    status: true,
    generation: true,
    scale: SCALE,
    rules: replicaSetRules,
  },
  {
    group: "autoscaling",
    version: "v2",
    kind: "HorizontalPodAutoscaler",
    short: ["hpa"],
    categories: ["all"],
    status: true,
  },
  { group: "coordination.k8s.io", kind: "Lease", rules: leaseRules },
  { group: "discovery.k8s.io", kind: "EndpointSlice", generation: true, rules: endpointSliceRules },
  {
    group: "events.k8s.io",
    kind: "Event",
    short: ["ev"],
    storage: "events",
    view: eventsV1View,
    rules: eventRules,
  },
  {
    group: "networking.k8s.io",
    kind: "Ingress",
    plural: "ingresses",
    short: ["ing"],
    status: true,
    generation: true,
  },
  {
    group: "networking.k8s.io",
    kind: "NetworkPolicy",
    plural: "networkpolicies",
    short: ["netpol"],
    generation: true,
  },
  { group: "policy", kind: "PodDisruptionBudget", short: ["pdb"], status: true, generation: true },
  { group: RBAC, kind: "Role", name: "path-segment" },
  { group: RBAC, kind: "RoleBinding", name: "path-segment" },
  { group: RBAC, kind: "ClusterRole", clusterScoped: true, name: "path-segment" },
  { group: RBAC, kind: "ClusterRoleBinding", clusterScoped: true, name: "path-segment" },
];

const DEFINITION_PACKAGES: Record<string, string> = {
  "": "core",
  "coordination.k8s.io": "coordination",
  "discovery.k8s.io": "discovery",
  "events.k8s.io": "events",
  "networking.k8s.io": "networking",
  [RBAC]: "rbac",
};

function fromRow(row: Row): ResourceDefinition {
  const group = row.group ?? "";
  const version = row.version ?? "v1";
  const plural = row.plural ?? `${row.kind.toLowerCase()}s`;
  const definitionName = `io.k8s.api.${DEFINITION_PACKAGES[group] ?? group}.${version}.${row.kind}`;
  return {
    group,
    version,
    kind: row.kind,
    plural,
    singular: row.kind.toLowerCase(),
    listKind: `${row.kind}List`,
    shortNames: row.short ?? [],
    categories: row.categories ?? [],
    namespaced: !row.clusterScoped,
    verbs: row.verbs ?? ALL_VERBS,
    storage: row.storage ?? (group ? `${plural}.${group}` : plural),
    custom: false,
    schema: definition(definitionName),
    definitionName,
    nameRule: row.name ?? "dns-subdomain",
    statusSubresource: row.status ?? false,
    scale: row.scale,
    tracksGeneration: row.generation ?? false,
    columns: columnsFor(row.kind),
    rules: row.rules ?? {},
    ...(row.view ? { view: row.view } : {}),
  };
}

/** The kinds that are served without any CRD. */
export const builtInDefinitions = (): ResourceDefinition[] => ROWS.map(fromRow);
