import { API_GROUP } from "../api/names.ts";
import type { ResourceType } from "./resource.ts";

export interface NamespaceHandler {
  readonly onAdd?: (namespace: string) => void;
  readonly onRemove?: (namespace: string) => void;
}

export interface NamespaceScope {
  readonly synced: Promise<void>;
  hasSynced(): boolean;
  has(namespace: string): boolean;
  /** Sorted. */
  list(): string[];
  /** Adds a handler; it first hears of every namespace that is in the scope. Gives a function that removes it. */
  subscribe(handler: NamespaceHandler): () => void;
  stop(): Promise<void>;
}

/**
 * Whether a process may read a kind in all namespaces. The platform's own kinds and EndpointSlices, yes: one watch of all costs less than
 * one per namespace, and they hold no secrets. All else it may read only where functions live, namespace by namespace.
 */
export function readEverywhere({ apiVersion }: ResourceType): boolean {
  return apiVersion.startsWith(`${API_GROUP}/`) || apiVersion.startsWith("discovery.k8s.io/");
}
