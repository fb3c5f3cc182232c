import type { ResourceName } from "../store/store.ts";
import { type ResourceDefinition, resourceName } from "./resource.ts";

/** All resources being served; custom ones come and go. */
export class Registry {
  /** group → version → plural. */
  readonly #groups = new Map<string, Map<string, Map<string, ResourceDefinition>>>();
  /** Storage → the definition whose shape the stored objects have. */
  readonly #stored = new Map<ResourceName, ResourceDefinition>();
  #generation = 0;

  /** Rises with every change, for caches of derived documents. */
  get generation(): number {
    return this.#generation;
  }

  add(definition: ResourceDefinition, isStorage = true): void {
    const versions = this.#groups.get(definition.group) ?? new Map<string, Map<string, ResourceDefinition>>();
    this.#groups.set(definition.group, versions);
    const resources = versions.get(definition.version) ?? new Map<string, ResourceDefinition>();
    versions.set(definition.version, resources);
    resources.set(definition.plural, definition);
    if (isStorage) this.#stored.set(definition.storage, definition);
    this.#generation++;
  }

  /** Stops serving all versions of a resource. */
  remove(group: string, plural: string): void {
    const versions = this.#groups.get(group);
    for (const [version, resources] of versions ?? []) {
      resources.delete(plural);
      if (resources.size === 0) versions?.delete(version);
    }
    if (versions?.size === 0) this.#groups.delete(group);
    this.#stored.delete(resourceName({ group, plural }));
    this.#generation++;
  }

  find(group: string, version: string, plural: string): ResourceDefinition | undefined {
    return this.#groups.get(group)?.get(version)?.get(plural);
  }

  /** The definition in whose shape `storage` keeps its objects. */
  stored(storage: ResourceName): ResourceDefinition | undefined {
    return this.#stored.get(storage);
  }

  byKind(apiVersion: string, kind: string): ResourceDefinition | undefined {
    const slash = apiVersion.indexOf("/");
    const group = slash === -1 ? "" : apiVersion.slice(0, slash);
    for (const definition of this.#groups
      .get(group)
      ?.get(apiVersion.slice(slash + 1))
      ?.values() ?? []) {
      if (definition.kind === kind) return definition;
    }
    return undefined;
  }

  storedDefinitions(): ResourceDefinition[] {
    return [...this.#stored.values()];
  }

  groups(): string[] {
    return [...this.#groups.keys()];
  }

  /** Versions of a group, the preferred one first. */
  versions(group: string): string[] {
    return [...(this.#groups.get(group)?.keys() ?? [])].sort(comparePriority);
  }

  resources(group: string, version: string): ResourceDefinition[] {
    return [...(this.#groups.get(group)?.get(version)?.values() ?? [])].sort((a, b) =>
      a.plural < b.plural ? -1 : 1,
    );
  }

  all(): ResourceDefinition[] {
    return this.groups().flatMap((group) =>
      this.versions(group).flatMap((version) => this.resources(group, version)),
    );
  }
}

/** Kubernetes' order of versions: v2, v1, v2beta1, v1alpha1. */
function comparePriority(a: string, b: string): number {
  const rank = (version: string): [number, number, number] => {
    const match = /^v(\d+)(?:(alpha|beta)(\d+))?$/.exec(version);
    if (!match) return [-1, 0, 0];
    const stability = match[2] === undefined ? 2 : match[2] === "beta" ? 1 : 0;
    return [stability, Number(match[1]), Number(match[3] ?? 0)];
  };
  const [left, right] = [rank(a), rank(b)];
  return right[0] - left[0] || right[1] - left[1] || right[2] - left[2] || (a < b ? -1 : 1);
}
