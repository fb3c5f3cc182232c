import type { Schema } from "../schema/schema.ts";
import type { KubeObject } from "../store/kube-object.ts";
import type { ResourceName } from "../store/store.ts";
import type { Column } from "../tables/column.ts";
import type { FieldError } from "./api-error.ts";

/** What a kind does beyond what all kinds do. Functions may change `object`: it is the writer's own copy. */
export interface KindRules {
  /** Fills in defaults; runs on every write. */
  defaults?(object: KubeObject): void;
  /** What the server decides on creation: phases, addresses, an initial status. */
  onCreate?(object: KubeObject): void;
  /** What the server decides on replacement of the main resource. */
  onUpdate?(object: KubeObject, old: KubeObject): void;
  validate?(object: KubeObject): FieldError[];
  validateUpdate?(object: KubeObject, old: KubeObject): FieldError[];
  /** Thrown errors refuse the deletion. */
  beforeDelete?(object: KubeObject): void;
}

export interface ScalePaths {
  specReplicasPath: string;
  statusReplicasPath: string;
  labelSelectorPath?: string;
}

export type NameRule = "dns-subdomain" | "dns-label" | "dns-1035-label" | "path-segment";

/** One served resource: a kind in one version of its group. */
export interface ResourceDefinition {
  group: string;
  version: string;
  kind: string;
  plural: string;
  singular: string;
  listKind: string;
  shortNames: string[];
  categories: string[];
  namespaced: boolean;
  verbs: string[];
  /** Where its objects are kept; two definitions with the same storage are two views of the same objects. */
  storage: ResourceName;
  /** Built-in kinds refuse wrong types with 400 and drop unknown fields; custom ones answer 422 and prune. */
  custom: boolean;
  schema: Schema | undefined;
  /** Full name of the kind's definition in the OpenAPI documents. */
  definitionName: string;
  nameRule: NameRule;
  statusSubresource: boolean;
  scale: ScalePaths | undefined;
  tracksGeneration: boolean;
  columns: Column[];
  rules: KindRules;
  /** Served and stored shape differ (events.k8s.io over core events). */
  view?: { toStorage(object: KubeObject): KubeObject; fromStorage(object: KubeObject): KubeObject };
  deprecationWarning?: string;
}

export const apiVersionOf = (definition: { group: string; version: string }): string =>
  definition.group ? `${definition.group}/${definition.version}` : definition.version;

export const resourceName = (definition: { group: string; plural: string }): ResourceName =>
  definition.group ? `${definition.plural}.${definition.group}` : definition.plural;
