import { REVIEWS } from "../http/review-handlers.ts";
import type { Registry } from "../api/registry.ts";
import { apiVersionOf, type ResourceDefinition } from "../api/resource.ts";
import type { Json, JsonObject } from "../store/kube-object.ts";

/** The version that clients take the server for: the one whose definitions it serves. */
export const SERVER_VERSION = {
  major: "1",
  minor: "34",
  gitVersion: "v1.34.1+localkube",
  gitCommit: "0000000000000000000000000000000000000000",
  gitTreeState: "clean",
  buildDate: "2025-09-09T00:00:00Z",
  goVersion: `node${process.versions.node}`,
  compiler: "v8",
  platform: `${process.platform}/${process.arch === "x64" ? "amd64" : process.arch}`,
};

const REVIEW_GROUPS = ["authentication.k8s.io", "authorization.k8s.io"];

function allGroups(registry: Registry): string[] {
  const groups = new Set(registry.groups().filter((group) => group !== ""));
  for (const group of REVIEW_GROUPS) groups.add(group);
  return [...groups].sort();
}

const versionsOf = (registry: Registry, group: string): string[] =>
  REVIEW_GROUPS.includes(group) ? ["v1"] : registry.versions(group);

function groupDocument(registry: Registry, group: string): JsonObject {
  const versions = versionsOf(registry, group).map((version) => ({
    groupVersion: `${group}/${version}`,
    version,
  }));
  return { name: group, versions, preferredVersion: versions[0] ?? null };
}

export const apiVersionsDocument = (address: string): JsonObject => ({
  kind: "APIVersions",
  versions: ["v1"],
  serverAddressByClientCIDRs: [{ clientCIDR: "0.0.0.0/0", serverAddress: address }],
});

export const groupListDocument = (registry: Registry): JsonObject => ({
  kind: "APIGroupList",
  apiVersion: "v1",
  groups: allGroups(registry).map((group) => groupDocument(registry, group)),
});

export function singleGroupDocument(registry: Registry, group: string): JsonObject | undefined {
  if (!allGroups(registry).includes(group)) return undefined;
  return { kind: "APIGroup", apiVersion: "v1", ...groupDocument(registry, group) };
}

interface SubResource {
  name: string;
  kind: string;
  verbs: string[];
  group?: string;
  version?: string;
}

/** What can be reached below an object of this kind. */
function subResources(definition: ResourceDefinition): SubResource[] {
  const subs: SubResource[] = [];
  if (definition.statusSubresource) {
    subs.push({ name: "status", kind: definition.kind, verbs: ["get", "patch", "update"] });
  }
  if (definition.scale) {
    subs.push({
      name: "scale",
      kind: "Scale",
      verbs: ["get", "patch", "update"],
      group: "autoscaling",
      version: "v1",
    });
  }
  if (definition.storage === "pods") {
    subs.push(
      { name: "log", kind: "Pod", verbs: ["get"] },
      { name: "eviction", kind: "Eviction", verbs: ["create"], group: "policy", version: "v1" },
      { name: "binding", kind: "Binding", verbs: ["create"] },
    );
  }
  if (definition.storage === "namespaces")
    subs.push({ name: "finalize", kind: "Namespace", verbs: ["update"] });
  return subs;
}

function resourceEntries(definition: ResourceDefinition): JsonObject[] {
  const main: JsonObject = {
    name: definition.plural,
    singularName: definition.singular,
    namespaced: definition.namespaced,
    kind: definition.kind,
    verbs: definition.verbs,
    storageVersionHash: Buffer.from(definition.storage).toString("base64").slice(0, 12),
    ...(definition.shortNames.length > 0 ? { shortNames: definition.shortNames } : {}),
    ...(definition.categories.length > 0 ? { categories: definition.categories } : {}),
  };
  const below = subResources(definition).map(
    ({ name, ...rest }): JsonObject => ({
      name: `${definition.plural}/${name}`,
      singularName: "",
      namespaced: definition.namespaced,
      ...rest,
    }),
  );
  return [main, ...below];
}

const reviewEntries = (group: string): JsonObject[] =>
  REVIEWS.filter((review) => review.group === group).map((review) => ({
    name: review.plural,
    singularName: review.kind.toLowerCase(),
    namespaced: review.namespaced,
    kind: review.kind,
    verbs: ["create"],
  }));

export function resourceListDocument(
  registry: Registry,
  group: string,
  version: string,
): JsonObject | undefined {
  const resources = [
    ...registry.resources(group, version).flatMap(resourceEntries),
    ...(version === "v1" ? reviewEntries(group) : []),
  ];
  if (resources.length === 0) return undefined;
  return {
    kind: "APIResourceList",
    ...(group ? { apiVersion: "v1" } : {}),
    groupVersion: apiVersionOf({ group, version }),
    resources,
  };
}

export const AGGREGATED_TYPE = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

function aggregatedResource(definition: ResourceDefinition): JsonObject {
  const responseKind = (
    kind: string,
    group = definition.group,
    version = definition.version,
  ): JsonObject => ({
    group,
    version,
    kind,
  });
  return {
    resource: definition.plural,
    responseKind: responseKind(definition.kind),
    scope: definition.namespaced ? "Namespaced" : "Cluster",
    singularResource: definition.singular,
    verbs: definition.verbs,
    ...(definition.shortNames.length > 0 ? { shortNames: definition.shortNames } : {}),
    ...(definition.categories.length > 0 ? { categories: definition.categories } : {}),
    subresources: subResources(definition).map((sub) => ({
      subresource: sub.name,
      responseKind: responseKind(sub.kind, sub.group, sub.version),
      verbs: sub.verbs,
    })),
  };
}

/** All of discovery in one document: of the core group (`/api`) or of all others (`/apis`). */
export function aggregatedDocument(registry: Registry, isCore: boolean): JsonObject {
  const groups = isCore ? [""] : allGroups(registry);
  return {
    kind: "APIGroupDiscoveryList",
    apiVersion: "apidiscovery.k8s.io/v2",
    metadata: {},
    items: groups.map(
      (group): JsonObject => ({
        metadata: group ? { name: group } : {},
        versions: versionsOf(registry, group).map((version) => ({
          version,
          freshness: "Current",
          resources: [
            ...registry.resources(group, version).map(aggregatedResource),
            ...(version === "v1" ? aggregatedReviews(group) : []),
          ],
        })),
      }),
    ),
  };
}

const aggregatedReviews = (group: string): Json[] =>
  REVIEWS.filter((review) => review.group === group).map((review) => ({
    resource: review.plural,
    responseKind: { group, version: "v1", kind: review.kind },
    scope: review.namespaced ? "Namespaced" : "Cluster",
    singularResource: review.kind.toLowerCase(),
    verbs: ["create"],
  }));
