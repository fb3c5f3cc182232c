import { createHash } from "node:crypto";
import type { HTTPTrigger } from "../../api/kinds/index.ts";
import { API_GROUP_VERSION, LABEL_COMPONENT, LABEL_MANAGED_BY, MANAGED_BY } from "../../api/names.ts";
import type { KubeObject } from "../../kube/object.ts";
import { type ResourceType, resourceType } from "../../kube/resource.ts";

/** Ingress and HTTPRoute objects of triggers: what they look like. Pure. */

interface RouteObject extends KubeObject {
  spec?: unknown;
}
export const INGRESSES = resourceType<RouteObject>("networking.k8s.io/v1", "Ingress", "ingresses");
export const HTTP_ROUTES = resourceType<RouteObject>(
  "gateway.networking.k8s.io/v1",
  "HTTPRoute",
  "httproutes",
);

/** Selects all of them. */
export const ROUTE_COMPONENT = "route";
/** On such an object: `namespace/name` of its trigger. */
export const ANNOTATION_TRIGGER = "isotope.dev/trigger";

export interface ExposureSettings {
  /** Where the objects live: a backend is a Service of the same namespace, so it is the router's. */
  readonly namespace: string;
  readonly service: { readonly name: string; readonly port: number };
  /** Empty = the cluster's default. */
  readonly ingressClass: string;
  /** Patterns; `*` stands for any characters. */
  readonly deniedAnnotations: readonly string[];
  /** Absent: no HTTPRoutes. `defaultParent`: `name`, `namespace/name` or empty. */
  readonly gateway?: { readonly defaultParent: string };
}

export type Exposure =
  | { readonly kind: "none" }
  | { readonly kind: "object"; readonly type: ResourceType; readonly object: RouteObject }
  | { readonly kind: "invalid"; readonly message: string };

/** The object that a trigger asks for; routeConfig wins over the older createingress. */
export function exposureOf(trigger: HTTPTrigger, settings: ExposureSettings): Exposure {
  const { routeConfig, createingress, ingressconfig, host } = trigger.spec;
  const provider = routeConfig ? routeConfig.provider : createingress ? "ingress" : "";
  if (!provider) return { kind: "none" };
  const denied = deniedAnnotation(
    routeConfig?.annotations ?? ingressconfig?.annotations,
    settings.deniedAnnotations,
  );
  if (denied !== undefined) {
    return {
      kind: "invalid",
      message: `Annotation "${denied}" is not allowed on a route: it could govern the proxy`,
    };
  }
  const wanted = routeConfig
    ? {
        hosts: [...(routeConfig.hostnames ?? []), ...(host ? [host] : [])],
        path: routeConfig.path ?? "",
        annotations: routeConfig.annotations ?? {},
        tls: routeConfig.tls ?? "",
      }
    : {
        hosts: [ingressconfig?.host ?? "", host ?? ""].slice(0, ingressconfig?.host ? 1 : 2),
        path: ingressconfig?.path ?? "",
        annotations: ingressconfig?.annotations ?? {},
        tls: ingressconfig?.tls ?? "",
      };
  const hosts = [...new Set(wanted.hosts.filter((name) => name !== "" && name !== "*"))];
  const badHost = hosts.find((name) => !HOST.test(name));
  if (badHost !== undefined)
    return { kind: "invalid", message: `Host "${badHost}" must be a DNS name, or *. and a DNS name` };
  if (wanted.path !== "" && !PATH.test(wanted.path))
    return {
      kind: "invalid",
      message: `Path "${wanted.path}" of the route must start with / and hold visible ASCII without ..`,
    };
  const resolved = { ...wanted, hosts };
  return provider === "ingress"
    ? { kind: "object", type: INGRESSES, object: ingress(trigger, resolved, settings) }
    : httpRoute(trigger, resolved, settings);
}

const HOST = /^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const PATH = /^\/(?!.*\.\.)[\u0021-\u007e]*$/;

interface Wanted {
  readonly hosts: readonly string[];
  /** Empty = the trigger's own. */
  readonly path: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly tls: string;
}

function ingress(trigger: HTTPTrigger, wanted: Wanted, settings: ExposureSettings): RouteObject {
  const { name, port } = settings.service;
  const paths = pathsOf(trigger, wanted.path).map(({ path, match }) => ({
    path,
    pathType: match,
    backend: { service: { name, port: { number: port } } },
  }));
  const hosts = wanted.hosts.length > 0 ? wanted.hosts : [undefined];
  return {
    ...head(trigger, wanted, settings),
    spec: {
      ...(settings.ingressClass ? { ingressClassName: settings.ingressClass } : {}),
      rules: hosts.map((host) => ({ ...(host === undefined ? {} : { host }), http: { paths } })),
      ...(wanted.tls
        ? { tls: [{ ...(wanted.hosts.length > 0 ? { hosts: wanted.hosts } : {}), secretName: wanted.tls }] }
        : {}),
    },
  };
}

function httpRoute(trigger: HTTPTrigger, wanted: Wanted, settings: ExposureSettings): Exposure {
  if (!settings.gateway) {
    return {
      kind: "invalid",
      message: "The gateway provider is off: install the chart with gatewayApi.enabled=true",
    };
  }
  const given = trigger.spec.routeConfig?.gateway?.parentRefs ?? [];
  const parents = given.length > 0 ? given : defaultParents(settings.gateway.defaultParent);
  if (parents.length === 0) {
    return {
      kind: "invalid",
      message:
        "routeConfig.gateway.parentRefs names no Gateway, and there is no default one (gatewayApi.defaultParent)",
    };
  }
  const { name, port } = settings.service;
  const methods = [
    ...new Set([...(trigger.spec.methods ?? []), ...(trigger.spec.method ? [trigger.spec.method] : [])]),
  ];
  const matches = pathsOf(trigger, wanted.path).flatMap(({ path, match }) => {
    const onPath = { path: { type: match === "Exact" ? "Exact" : "PathPrefix", value: path } };
    return methods.length === 0 ? [onPath] : methods.map((method) => ({ ...onPath, method }));
  });
  const object: RouteObject = {
    ...head(trigger, wanted, settings),
    spec: {
      parentRefs: parents,
      ...(wanted.hosts.length > 0 ? { hostnames: wanted.hosts } : {}),
      rules: [{ matches, backendRefs: [{ name, port }] }],
    },
  };
  return { kind: "object", type: HTTP_ROUTES, object };
}

function defaultParents(text: string): { name: string; namespace?: string }[] {
  const [first = "", second] = text.split("/", 2);
  if (first === "") return [];
  return [second === undefined ? { name: first } : { name: second, namespace: first }];
}

interface RoutePath {
  readonly path: string;
  readonly match: "Exact" | "Prefix" | "ImplementationSpecific";
}

/** A given path is the proxy's to read, as it may be a pattern; templates are matched by the router, so their fixed part is enough. */
function pathsOf({ spec }: HTTPTrigger, given: string): RoutePath[] {
  if (given !== "") return [{ path: given, match: "ImplementationSpecific" }];
  const paths: RoutePath[] = [];
  const exact = spec.relativeurl ?? "";
  if (exact !== "") {
    const brace = exact.indexOf("{");
    if (brace < 0) paths.push({ path: exact, match: "Exact" });
    else paths.push({ path: folderOf(exact.slice(0, brace)), match: "Prefix" });
  }
  const prefix = spec.prefix ?? "";
  if (prefix !== "") paths.push({ path: prefix, match: "Prefix" });
  return paths.filter(
    (one, index) => paths.findIndex(({ path, match }) => path === one.path && match === one.match) === index,
  );
}

/** Up to the last slash: "/hello/{name}" and "/hello/x{n}" both lie in "/hello". */
function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/")) || "/";
}

/** Annotations go before ours, so that none can be forged. */
function head(trigger: HTTPTrigger, wanted: Wanted, settings: ExposureSettings): RouteObject {
  const namespace = trigger.metadata.namespace ?? "default";
  const key = `${namespace}/${trigger.metadata.name}`;
  return {
    metadata: {
      name: routeObjectName(key),
      namespace: settings.namespace,
      labels: {
        [LABEL_MANAGED_BY]: MANAGED_BY,
        [LABEL_COMPONENT]: ROUTE_COMPONENT,
        "isotope.dev/trigger-uid": trigger.metadata.uid ?? "",
      },
      annotations: { ...wanted.annotations, [ANNOTATION_TRIGGER]: key },
      // An owner must be in the same namespace; elsewhere the reconciler removes what has no trigger.
      ...(namespace === settings.namespace
        ? {
            ownerReferences: [
              {
                apiVersion: API_GROUP_VERSION,
                kind: "HTTPTrigger",
                name: trigger.metadata.name,
                uid: trigger.metadata.uid ?? "",
                controller: true,
              },
            ],
          }
        : {}),
    },
  };
}

/** Two triggers never share one, whatever their namespaces: the end is a digest of `namespace/name`. */
export function routeObjectName(key: string): string {
  const digest = createHash("sha256").update(key).digest("hex").slice(0, 10);
  const stem = key
    .slice(key.indexOf("/") + 1)
    .slice(0, 50)
    .replace(/[^a-z0-9]+$/, "");
  return `${stem}-${digest}`;
}

function deniedAnnotation(
  annotations: Readonly<Record<string, string>> | undefined,
  patterns: readonly string[],
): string | undefined {
  const denied = patterns.map(
    (pattern) =>
      new RegExp(
        `^${pattern
          .split("*")
          .map((part) => part.replaceAll(/[^\w]/g, "\\$&"))
          .join(".*")}$`,
        "i",
      ),
  );
  return Object.keys(annotations ?? {}).find((name) => denied.some((pattern) => pattern.test(name)));
}
