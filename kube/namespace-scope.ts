/**
 * The namespaces that a process minds: all, or those that carry one of some labels, as they come and go.
 *
 * Invariants
 * S1. Handlers hear of a namespace once when it comes into the scope and once when it leaves it (label taken away, or deleted).
 * S2. What was known stays in force while the API server cannot be reached.
 * S3. `synced` resolves when the first list was seen, or on `stop`.
 */
import type { KubeClient } from "./client.ts";
import { createInformer } from "./informer.ts";
import type { KubeObject } from "./object.ts";
import { resourceType } from "./resource.ts";
import { type NamespaceScope, readEverywhere, type NamespaceHandler } from "./scope.ts";

export const NAMESPACES = resourceType<KubeObject>("v1", "Namespace", "namespaces", { namespaced: false });

/** The word for all namespaces in settings. */
export const ALL_NAMESPACES = "*";

export interface ScopeOptions {
  readonly client: Pick<KubeClient, "list" | "watch">;
  /** Each `key=value`; a namespace with one of them is in the scope. */
  readonly labels: readonly string[];
  readonly onError?: (error: unknown, failures: number) => void;
}

/** Follows the namespaces that carry one of the labels, from now on until `stop`. */
export function labelledNamespaces(options: ScopeOptions): NamespaceScope {
  const wanted = options.labels.map(parseLabel);
  const members = new Set<string>();
  const handlers = new Set<NamespaceHandler>();
  const informer = createInformer<KubeObject>({
    client: { list: options.client.list, watch: options.client.watch },
    type: NAMESPACES,
    transform: ({ metadata: { name, uid, resourceVersion, labels, deletionTimestamp } }) => ({
      metadata: { name, uid, resourceVersion, labels, deletionTimestamp },
    }),
    ...(options.onError ? { onError: options.onError } : {}),
  });
  const belongs = ({ metadata: { labels = {} } }: KubeObject) =>
    wanted.some(({ key, value }) => labels[key] === value);
  const settle = (name: string, inside: boolean) => {
    if (members.has(name) === inside) return;
    if (inside) members.add(name);
    else members.delete(name);
    for (const handler of handlers) (inside ? handler.onAdd : handler.onRemove)?.(name);
  };
  informer.subscribe({
    onAdd: (object) => settle(object.metadata.name, belongs(object)),
    onUpdate: (object) => settle(object.metadata.name, belongs(object)),
    onDelete: (object) => settle(object.metadata.name, false),
  });
  informer.start();
  return {
    synced: informer.synced,
    hasSynced: () => informer.hasSynced(),
    has: (namespace) => members.has(namespace),
    list: () => [...members].toSorted(),
    subscribe: (handler) => {
      handlers.add(handler);
      for (const name of members) handler.onAdd?.(name);
      return () => handlers.delete(handler);
    },
    stop: () => informer.stop(),
  };
}

function parseLabel(text: string): { key: string; value: string } {
  const at = text.indexOf("=");
  if (at <= 0) throw new TypeError(`Cannot select namespaces by "${text}": it must be key=value`);
  return { key: text.slice(0, at), value: text.slice(at + 1) };
}

/**
 * The same client with a scope: informers and lists over all namespaces see the scope's namespaces only. What names a namespace is not
 * changed. `*` among the labels means all namespaces, and the client as it is.
 */
export function scopedClient(
  client: KubeClient,
  labels: readonly string[],
  onError?: ScopeOptions["onError"],
): KubeClient {
  if (labels.includes(ALL_NAMESPACES)) return client;
  const scope = labelledNamespaces({ client, labels, ...(onError ? { onError } : {}) });
  return {
    ...client,
    scope,
    list: async (type, options = {}) => {
      if (!type.namespaced || options.namespace !== undefined) return client.list(type, options);
      await scope.synced;
      if (readEverywhere(type)) {
        const page = await client.list(type, options);
        return { ...page, items: page.items.filter(({ metadata }) => scope.has(metadata.namespace ?? "")) };
      }
      // Not paged: the pieces of one namespace are few, and a token could not say in which namespace it goes on.
      const { limit: _, continue: __, ...selection } = options;
      const pages = await Promise.all(
        scope.list().map((namespace) => client.list(type, { ...selection, namespace })),
      );
      return { items: pages.flatMap(({ items }) => items), resourceVersion: "", continue: "" };
    },
    close: async () => {
      await scope.stop();
      await client.close();
    },
  };
}
