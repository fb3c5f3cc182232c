import type { KubeObject } from "../store/kube-object.ts";
import type { Store } from "../store/store.ts";
import type { ConfigSources } from "./environment.ts";

function entries(value: unknown): [string, string][] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, text]): [string, string][] =>
    typeof text === "string" ? [[key, text]] : [],
  );
}

function decode(
  object: KubeObject | undefined,
  plain: string,
  encoded: string,
): ReadonlyMap<string, Buffer> | undefined {
  if (!object) return undefined;
  return new Map([
    ...entries(object[plain]).map(([key, text]): [string, Buffer] => [key, Buffer.from(text, "utf8")]),
    ...entries(object[encoded]).map(([key, text]): [string, Buffer] => [key, Buffer.from(text, "base64")]),
  ]);
}

/** Secrets and ConfigMaps as the pods see them, read when they are needed. */
export function readConfigSources(store: Pick<Store, "get">): ConfigSources {
  return {
    secret: (namespace, name) => decode(store.get("secrets", namespace, name), "stringData", "data"),
    configMap: (namespace, name) => decode(store.get("configmaps", namespace, name), "data", "binaryData"),
  };
}
