import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { z } from "zod";
import type { KubeClient } from "../../kube/client.ts";

const Manifest = z.looseObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: z.looseObject({ name: z.string(), namespace: z.string().optional() }),
});
const Resources = z.looseObject({
  resources: z.array(z.looseObject({ name: z.string(), kind: z.string(), namespaced: z.boolean() })),
});

/**
 * Applies objects given as YAML (server-side, as `tests`). `${NAME}` stands for the value of that name; objects without a
 * namespace go to `namespace`. Throws a `KubeError`.
 */
export async function applyManifests(
  client: KubeClient,
  text: string,
  values: Readonly<Record<string, string | number>> = {},
  namespace = "default",
): Promise<void> {
  const filled = text.replaceAll(/\$\{(\w+)\}/g, (_all, name: string) => {
    const value = values[name];
    if (value === undefined)
      throw new RangeError(`Cannot apply manifests: they name "${name}", which has no value`);
    return String(value);
  });
  for (const document of parseAllDocuments(filled)) {
    const object = Manifest.parse(document.toJS());
    const root = object.apiVersion.includes("/") ? `/apis/${object.apiVersion}` : `/api/${object.apiVersion}`;
    const { resources } = Resources.parse(await client.request({ method: "GET", path: root }));
    const resource = resources.find(({ kind, name }) => kind === object.kind && !name.includes("/"));
    if (!resource)
      throw new RangeError(
        `Cannot apply manifests: the server has no ${object.kind} in ${object.apiVersion}`,
      );
    const place = resource.namespaced ? `/namespaces/${object.metadata.namespace ?? namespace}` : "";
    await client.request({
      method: "PATCH",
      path: `${root}${place}/${resource.name}/${object.metadata.name}`,
      query: { fieldManager: "tests", force: true },
      body: object,
      contentType: "application/apply-patch+yaml",
    });
  }
}

/** The text of a file in `manifests/`. */
export const manifest = (name: string): string =>
  readFileSync(join(import.meta.dirname, "manifests", name), "utf8");
