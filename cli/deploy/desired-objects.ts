import { createHash } from "node:crypto";
import type { z } from "zod";
import { archiveUrl } from "../../api/archive-url.ts";
import { configDurationMs } from "../../api/config-values.ts";
import { DEPLOY_DEFAULTS, type FunctionConfig, type Route } from "../../api/function-config.ts";
import {
  type Function as FunctionObject,
  FunctionSpec,
  type HTTPTrigger,
  HTTPTriggerSpec,
  type Package,
} from "../../api/kinds/index.ts";
import {
  ANNOTATION_ENTRY,
  ANNOTATION_TYPE_CHECK,
  API_GROUP_VERSION,
  LABEL_DEPLOYMENT,
} from "../../api/names.ts";
import { CliError } from "../command.ts";
import { asyncPolicy } from "./async-policy.ts";
import { type EventTrigger, eventTriggers } from "./event-triggers.ts";

type Config = z.infer<typeof FunctionConfig>;
type RouteConfig = z.infer<typeof Route>;

export interface FunctionObjects {
  package: Package;
  function: FunctionObject;
  triggers: HTTPTrigger[];
  /** Timers, watches and triggers of queues. */
  events: EventTrigger[];
}

export interface Target {
  namespace: string;
  /** Value of the label that marks what this project owns. */
  deployment: string;
}

const ALL_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] as const;

/** Whole seconds, at least 1: the API counts in seconds. */
const seconds = (value: number | string): number => Math.max(1, Math.round(configDurationMs(value) / 1000));

function envOf(config: Config) {
  return Object.entries(config.env ?? {}).map(([name, value]) => {
    if (typeof value === "string") return { name, value };
    const optional = value.optional === undefined ? {} : { optional: value.optional };
    return "secret" in value
      ? { name, valueFrom: { secretKeyRef: { name: value.secret, key: value.key, ...optional } } }
      : { name, valueFrom: { configMapKeyRef: { name: value.configMap, key: value.key, ...optional } } };
  });
}

function envFromOf(config: Config) {
  return (config.envFrom ?? []).map((source) => {
    const optional = source.optional === undefined ? {} : { optional: source.optional };
    return "secret" in source
      ? { secretRef: { name: source.secret, ...optional } }
      : { configMapRef: { name: source.configMap, ...optional } };
  });
}

function streamingOf({ streaming }: Config) {
  if (!streaming) return undefined;
  if (streaming === true) return {};
  return {
    ...(streaming.idleTimeout === undefined ? {} : { idleTimeoutSeconds: seconds(streaming.idleTimeout) }),
    ...(streaming.maxDuration === undefined ? {} : { maxDurationSeconds: seconds(streaming.maxDuration) }),
  };
}

function functionSpec(name: string, config: Config, { namespace }: Target): FunctionObject["spec"] {
  const ref = (refName: string) => ({ namespace, name: refName });
  const env = envOf(config);
  const envFrom = envFromOf(config);
  const streaming = streamingOf(config);
  return FunctionSpec.parse({
    environment: { namespace, name: config.environment ?? DEPLOY_DEFAULTS.environment },
    package: { packageref: { namespace, name }, functionName: config.export ? `.${config.export}` : "" },
    InvokeStrategy: {
      StrategyType: "execution",
      ExecutionStrategy: {
        ExecutorType: config.executor ?? DEPLOY_DEFAULTS.executor,
        ...(config.minPods === undefined ? {} : { MinScale: config.minPods }),
        ...(config.maxPods === undefined ? {} : { MaxScale: config.maxPods }),
        ...(config.requestsPerSecond === undefined
          ? {}
          : { TargetRequestsPerSecond: config.requestsPerSecond }),
      },
    },
    requestsPerPod: config.onceOnly ? 1 : (config.requestsPerPod ?? DEPLOY_DEFAULTS.requestsPerPod),
    ...(config.timeout === undefined ? {} : { functionTimeout: seconds(config.timeout) }),
    ...(config.idleTimeout === undefined ? {} : { idletimeout: seconds(config.idleTimeout) }),
    ...(config.concurrency === undefined ? {} : { concurrency: config.concurrency }),
    ...(config.onceOnly ? { onceOnly: true } : {}),
    ...(config.retainPods === undefined ? {} : { retainPods: config.retainPods }),
    ...(streaming === undefined ? {} : { streaming }),
    ...(config.async === undefined ? {} : { invocation: asyncPolicy(config.async) }),
    ...(env.length > 0 ? { env } : {}),
    ...(envFrom.length > 0 ? { envFrom } : {}),
    ...(config.secrets?.length ? { secrets: config.secrets.map(ref) } : {}),
    ...(config.configMaps?.length ? { configmaps: config.configMaps.map(ref) } : {}),
  });
}

/** Where something answers that a file stands for. */
export type RoutedConfig = Pick<Config, "route" | "methods" | "cors">;

function routesOf(name: string, config: Config): RouteConfig[] {
  if (config.route === false) return [];
  const given =
    config.route === undefined ? [`/${name}`] : Array.isArray(config.route) ? config.route : [config.route];
  return given.map((route) => (typeof route === "string" ? { path: route } : route));
}

function corsOf(cors: RouteConfig["cors"]) {
  if (!cors) return undefined;
  return {
    allowOrigins: cors.origins,
    ...(cors.methods ? { allowMethods: cors.methods } : {}),
    ...(cors.headers ? { allowHeaders: cors.headers } : {}),
    ...(cors.exposeHeaders ? { exposeHeaders: cors.exposeHeaders } : {}),
    ...(cors.credentials === undefined ? {} : { allowCredentials: cors.credentials }),
    ...(cors.maxAge === undefined ? {} : { maxAge: `${seconds(cors.maxAge)}s` }),
  };
}

export function triggerSpec(
  functionref: HTTPTrigger["spec"]["functionref"],
  route: RouteConfig,
  config: RoutedConfig,
): HTTPTrigger["spec"] {
  const { name } = functionref;
  if ((route.path === undefined) === (route.prefix === undefined)) {
    throw new CliError(
      `Cannot deploy "${name}": a route needs either path or prefix, got ${route.path === undefined ? "neither" : "both"}`,
    );
  }
  const cors = corsOf(route.cors ?? config.cors);
  return HTTPTriggerSpec.parse({
    functionref,
    methods: [...(route.methods ?? config.methods ?? ALL_METHODS)],
    ...(route.path === undefined
      ? { prefix: route.prefix, keepPrefix: route.keepPrefix ?? true }
      : { relativeurl: route.path }),
    ...(route.host === undefined ? {} : { host: route.host }),
    ...(cors ? { corsConfig: cors } : {}),
  });
}

/** A name that stays the same when other routes come and go. */
export const triggerName = (name: string, route: RouteConfig, isFirst: boolean): string =>
  isFirst
    ? name
    : `${name.slice(0, 54)}-${createHash("sha256")
        .update(`${route.host ?? ""} ${route.path ?? route.prefix ?? ""}`)
        .digest("hex")
        .slice(0, 8)}`;

export const objectMetadata = (
  name: string,
  target: Target,
  annotations?: Readonly<Record<string, string>>,
) => ({
  name,
  namespace: target.namespace,
  labels: { [LABEL_DEPLOYMENT]: target.deployment },
  ...(annotations ? { annotations } : {}),
});

/** The package that a file's sources become. */
export function packageObject(
  name: string,
  config: Pick<Config, "environment" | "typeCheck">,
  source: { digest: string; entry: string },
  target: Target,
): Package {
  return {
    apiVersion: API_GROUP_VERSION,
    kind: "Package",
    metadata: objectMetadata(name, target, {
      [ANNOTATION_ENTRY]: source.entry,
      [ANNOTATION_TYPE_CHECK]: String(config.typeCheck ?? false),
    }),
    spec: {
      environment: {
        namespace: target.namespace,
        name: config.environment ?? DEPLOY_DEFAULTS.environment,
      },
      source: {
        type: "url",
        url: archiveUrl(source.digest),
        checksum: { type: "sha256", sum: source.digest },
      },
    },
  };
}

/**
 * The resources that a function file stands for.
 * @param source sha256 (hex) of the uploaded source archive, and the entry inside it.
 */
export function desiredObjects(
  name: string,
  config: Config,
  source: { digest: string; entry: string },
  target: Target,
): FunctionObjects {
  const metadata = (objectName: string) => objectMetadata(objectName, target);
  return {
    package: packageObject(name, config, source, target),
    function: {
      apiVersion: API_GROUP_VERSION,
      kind: "Function",
      metadata: metadata(name),
      spec: functionSpec(name, config, target),
    },
    triggers: routesOf(name, config).map((route, at) => ({
      apiVersion: API_GROUP_VERSION,
      kind: "HTTPTrigger",
      metadata: metadata(triggerName(name, route, at === 0)),
      spec: triggerSpec({ type: "name", name }, route, config),
    })),
    events: eventTriggers(name, config, metadata),
  };
}
