import { createHash } from "node:crypto";
import type { Registry } from "../api/registry.ts";
import { apiVersionOf, type ResourceDefinition } from "../api/resource.ts";
import { isPlainObject, type PlainObject } from "../schema/plain-object.ts";
import { coreDefinitions, OBJECT_META, type Schema } from "../schema/schema.ts";

const META = "io.k8s.apimachinery.pkg.apis.meta.v1";

/** Documents are derived once per state of the registry. */
const cache = new WeakMap<Registry, { generation: number; documents: Map<string, string> }>();

function cached(registry: Registry, key: string, make: () => string | undefined): string | undefined {
  let entry = cache.get(registry);
  if (!entry || entry.generation !== registry.generation) {
    entry = { generation: registry.generation, documents: new Map() };
    cache.set(registry, entry);
  }
  const known = entry.documents.get(key);
  if (known !== undefined) return known;
  const made = make();
  if (made !== undefined) entry.documents.set(key, made);
  return made;
}

const pathOf = (group: string, version: string): string =>
  group ? `apis/${group}/${version}` : `api/${version}`;

/** `/openapi/v3`: which documents there are. */
export function openApiIndex(registry: Registry): object {
  const paths: PlainObject = {};
  for (const group of registry.groups()) {
    for (const version of registry.versions(group)) {
      const path = pathOf(group, version);
      const hash = createHash("sha256").update(`${path} ${registry.generation}`).digest("hex").toUpperCase();
      paths[path] = { serverRelativeURL: `/openapi/v3/${path}?hash=${hash}` };
    }
  }
  return { paths };
}

/** `/openapi/v3/apis/<group>/<version>`, as text; undefined when there is no such group. */
export function openApiDocument(registry: Registry, path: string): string | undefined {
  const match = /^(?:api\/(v1)|apis\/([^/]+)\/([^/]+))$/.exec(path);
  if (!match) return undefined;
  const group = match[2] ?? "";
  const version = match[1] ?? match[3] ?? "";
  const definitions = registry.resources(group, version);
  if (definitions.length === 0) return undefined;
  return cached(registry, path, () => JSON.stringify(makeDocument(group, version, definitions)));
}

function makeDocument(
  group: string,
  version: string,
  definitions: readonly ResourceDefinition[],
): PlainObject {
  const schemas: PlainObject = {};
  const paths: PlainObject = {};
  const needed = [`${META}.DeleteOptions`, `${META}.Status`, OBJECT_META];
  for (const definition of definitions) {
    addSchemas(definition, schemas, needed);
    addPaths(definition, pathOf(group, version), paths);
  }
  for (let name = needed.pop(); name !== undefined; name = needed.pop()) {
    const schema = coreDefinitions[name];
    if (schemas[name] !== undefined || !schema) continue;
    schemas[name] = published(schema, needed);
  }
  return {
    openapi: "3.0.0",
    info: { title: "Kubernetes", version: "v1.34.1" },
    paths,
    components: { schemas },
  };
}

const gvk = ({ group, version, kind }: { group: string; version: string; kind: string }): PlainObject => ({
  group,
  version,
  kind,
});

function addSchemas(definition: ResourceDefinition, schemas: PlainObject, needed: string[]): void {
  const { definitionName, kind } = definition;
  const own = published(
    definition.schema ?? { type: "object", "x-kubernetes-preserve-unknown-fields": true },
    needed,
  );
  if (definition.custom) {
    const properties = isPlainObject(own.properties) ? own.properties : {};
    own.properties = {
      ...properties,
      apiVersion: {
        type: "string",
        description: "APIVersion defines the versioned schema of this representation of an object.",
      },
      kind: {
        type: "string",
        description: "Kind is a string value representing the REST resource this object represents.",
      },
      metadata: { allOf: [reference(OBJECT_META)], description: "Standard object's metadata." },
    };
  } else {
    own.properties = {
      apiVersion: {
        type: "string",
        description: "APIVersion defines the versioned schema of this representation of an object.",
      },
      kind: {
        type: "string",
        description: "Kind is a string value representing the REST resource this object represents.",
      },
      ...(isPlainObject(own.properties) ? own.properties : {}),
    };
    delete own.required;
  }
  own["x-kubernetes-group-version-kind"] = [gvk(definition)];
  schemas[definitionName] = own;
  schemas[`${definitionName}List`] = {
    type: "object",
    description: `${kind}List is a list of ${kind}`,
    required: ["items"],
    properties: {
      apiVersion: { type: "string" },
      kind: { type: "string" },
      items: { type: "array", items: reference(definitionName) },
      metadata: {
        type: "object",
        properties: {
          continue: { type: "string" },
          resourceVersion: { type: "string" },
          remainingItemCount: { type: "integer", format: "int64" },
        },
      },
    },
    "x-kubernetes-group-version-kind": [gvk({ ...definition, kind: definition.listKind })],
  };
}

const reference = (name: string): PlainObject => ({ $ref: `#/components/schemas/${name}` });

/** A schema as published: references in the document's own notation, private marks left out. */
function published(schema: Schema, needed: string[]): PlainObject {
  if (schema.$ref !== undefined) {
    needed.push(schema.$ref);
    const target = reference(schema.$ref);
    return schema.description ? { allOf: [target], description: schema.description } : target;
  }
  const {
    n: _number,
    p: special,
    inline: _inline,
    properties,
    items,
    additionalProperties,
    ...rest
  } = schema;
  const output: PlainObject = { ...rest };
  if (special === "quantity" || special === "intorstring" || schema["x-kubernetes-int-or-string"]) {
    output["x-kubernetes-int-or-string"] = true;
    if (special) {
      delete output["x-kubernetes-int-or-string"];
      output.oneOf = [{ type: "string" }, { type: special === "quantity" ? "number" : "integer" }];
    }
  }
  if (properties) {
    output.properties = Object.fromEntries(
      Object.entries(properties).map(([name, property]) => [name, published(property, needed)]),
    );
  }
  if (items) output.items = published(items, needed);
  if (typeof additionalProperties === "object")
    output.additionalProperties = published(additionalProperties, needed);
  else if (additionalProperties !== undefined) output.additionalProperties = additionalProperties;
  return output;
}

const queryParameter = (name: string, type = "string"): PlainObject => ({
  name,
  in: "query",
  schema: { type, uniqueItems: true },
});

const WRITE_PARAMETERS = ["dryRun", "fieldManager", "fieldValidation"].map((name) => queryParameter(name));
const LIST_PARAMETERS = [
  "continue",
  "fieldSelector",
  "labelSelector",
  "resourceVersion",
  "resourceVersionMatch",
]
  .map((name) => queryParameter(name))
  .concat(
    queryParameter("limit", "integer"),
    queryParameter("timeoutSeconds", "integer"),
    queryParameter("watch", "boolean"),
  );
const PATCH_TYPES = [
  "application/apply-patch+yaml",
  "application/json-patch+json",
  "application/merge-patch+json",
  "application/strategic-merge-patch+json",
];

/** What kubectl reads to choose the kind of patch: custom resources have no strategic merge. */
const patchTypes = ({ custom }: ResourceDefinition): string[] =>
  custom ? PATCH_TYPES.filter((type) => !type.includes("strategic")) : PATCH_TYPES;

function addPaths(definition: ResourceDefinition, base: string, paths: PlainObject): void {
  const { definitionName, plural, namespaced, kind } = definition;
  const collection = `/${base}/${namespaced ? "namespaces/{namespace}/" : ""}${plural}`;
  const content = (name: string): PlainObject => ({ "application/json": { schema: reference(name) } });
  const answer = (name: string): PlainObject => ({ "200": { description: "OK", content: content(name) } });
  const operation = (action: string, extra: PlainObject): PlainObject => ({
    tags: [base.replaceAll("/", "_")],
    description: `${action} ${kind}`,
    operationId: `${action}${apiVersionOf(definition).replaceAll(/[^A-Za-z0-9]/g, "")}${kind}`,
    "x-kubernetes-action": action,
    "x-kubernetes-group-version-kind": gvk(definition),
    ...extra,
  });
  const bodyOf = (name: string): PlainObject => ({
    required: true,
    content: { "*/*": { schema: reference(name) } },
  });
  const path = (name: string): PlainObject => ({
    name,
    in: "path",
    required: true,
    schema: { type: "string", uniqueItems: true },
  });
  const inPath = namespaced ? [path("namespace")] : [];
  const list = operation("list", { parameters: LIST_PARAMETERS, responses: answer(`${definitionName}List`) });
  if (namespaced) paths[`/${base}/${plural}`] = { get: list };
  paths[collection] = {
    get: list,
    post: operation("post", {
      parameters: WRITE_PARAMETERS,
      requestBody: bodyOf(definitionName),
      responses: answer(definitionName),
    }),
    delete: operation("deletecollection", {
      parameters: LIST_PARAMETERS,
      responses: answer(`${META}.Status`),
    }),
    parameters: inPath,
  };
  const one = {
    get: operation("get", { responses: answer(definitionName) }),
    put: operation("put", {
      parameters: WRITE_PARAMETERS,
      requestBody: bodyOf(definitionName),
      responses: answer(definitionName),
    }),
    patch: operation("patch", {
      parameters: [...WRITE_PARAMETERS, queryParameter("force", "boolean")],
      requestBody: {
        required: true,
        content: Object.fromEntries(
          patchTypes(definition).map((type) => [type, { schema: { type: "object" } }]),
        ),
      },
      responses: answer(definitionName),
    }),
    delete: operation("delete", {
      parameters: [
        queryParameter("dryRun"),
        queryParameter("gracePeriodSeconds", "integer"),
        queryParameter("propagationPolicy"),
      ],
      requestBody: { content: { "*/*": { schema: reference(`${META}.DeleteOptions`) } } },
      responses: answer(`${META}.Status`),
    }),
    parameters: [path("name"), ...inPath],
  };
  paths[`${collection}/{name}`] = one;
  if (definition.statusSubresource) {
    const { get, put, patch, parameters } = one;
    paths[`${collection}/{name}/status`] = { get, put, patch, parameters };
  }
}
