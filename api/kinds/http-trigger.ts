import { z } from "zod";
import type { Resource } from "./metadata.ts";
import { FunctionReference } from "./references.ts";
import { Conditions, int, int64, listSet, Namespace, StringMap, text, withRules } from "./schema.ts";

export const HTTP_METHODS = [
  "GET",
  "HEAD",
  "POST",
  "PUT",
  "PATCH",
  "DELETE",
  "CONNECT",
  "OPTIONS",
  "TRACE",
] as const;

/** Paths that the router serves itself. */
export const RESERVED_PATHS = ["/router-healthz", "/readyz", "/_version", "/auth/login"] as const;
export const RESERVED_PREFIX = "/fission-function/";

const pathRules = (field: "relativeurl" | "prefix") => {
  const unset = `!has(self.${field}) || self.${field} == ''`;
  return [
    { rule: `${unset} || self.${field}.startsWith('/')`, message: `${field} must start with /` },
    { rule: `${unset} || !self.${field}.contains('..')`, message: `${field} must not contain ..` },
    {
      rule: `${unset} || !self.${field}.matches('[\\\\x00-\\\\x20\\\\x7f]')`,
      message: `${field} must not contain spaces or control characters`,
    },
    {
      rule: `${unset} || !(self.${field} in [${RESERVED_PATHS.map((path) => `'${path}'`).join(", ")}])`,
      message: `${field} is a path of the router itself: ${RESERVED_PATHS.join(", ")}`,
    },
    {
      rule: `${unset} || !(self.${field}.startsWith('${RESERVED_PREFIX}') || self.${field} == '/fission-function')`,
      message: `${field} must not lie under ${RESERVED_PREFIX}`,
    },
  ];
};

const CorsConfig = withRules(
  z.object({
    allowOrigins: listSet(text(512), 64).optional(),
    allowMethods: listSet(text(32), 16).optional(),
    allowHeaders: listSet(text(256), 64).optional(),
    exposeHeaders: listSet(text(256), 64).optional(),
    allowCredentials: z.boolean().optional(),
    maxAge: text(32).optional().describe("Duration, e.g. 10m"),
  }),
  [
    {
      rule: "!has(self.allowCredentials) || !self.allowCredentials || !has(self.allowOrigins) || !self.allowOrigins.exists(o, o == '*')",
      message: "allowCredentials does not go with the origin *",
    },
  ],
);
export type CorsConfig = z.infer<typeof CorsConfig>;

export const HTTPTriggerSpec = withRules(
  z.object({
    host: z
      .string()
      .max(253)
      .regex(/^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)?$/)
      .optional()
      .describe("Only requests for this host; deprecated in favour of routeConfig.hostnames"),
    relativeurl: text(1024).optional().describe("Path; {var} and {var:regex} allowed"),
    prefix: text(1024).optional().describe("Path prefix, instead of relativeurl"),
    keepPrefix: z
      .boolean()
      .optional()
      .describe("Hand the prefix on to the function; otherwise it is cut off"),
    method: z
      .enum(["", ...HTTP_METHODS])
      .optional()
      .describe("Deprecated: use methods"),
    methods: listSet(z.enum(HTTP_METHODS), 16).optional(),
    invocationMode: z.enum(["", "async"]).optional(),
    functionref: FunctionReference,
    createingress: z.boolean().optional(),
    ingressconfig: z
      .object({
        annotations: StringMap.optional(),
        path: text(1024).optional(),
        host: text(253).optional(),
        tls: text(253).optional(),
      })
      .optional()
      .describe("Deprecated: use routeConfig"),
    routeConfig: z
      .object({
        provider: z.enum(["", "ingress", "gateway"]).optional(),
        hostnames: listSet(text(253), 64).optional(),
        path: text(1024).optional(),
        annotations: StringMap.optional(),
        tls: text(253).optional(),
        gateway: z
          .object({
            parentRefs: z
              .array(
                z.object({
                  name: text(253),
                  namespace: Namespace.optional(),
                  sectionName: text(253).optional(),
                  port: int(1, 65_535).meta({ format: "int32" }).optional(),
                }),
              )
              .max(16)
              .meta({ "x-kubernetes-list-type": "atomic" })
              .optional(),
          })
          .optional(),
      })
      .optional()
      .describe("How the route is offered outside the cluster"),
    corsConfig: CorsConfig.optional(),
  }),
  [
    {
      rule: "(has(self.relativeurl) && self.relativeurl != '') || (has(self.prefix) && self.prefix != '')",
      message: "one of relativeurl and prefix is needed",
    },
    ...pathRules("relativeurl"),
    ...pathRules("prefix"),
  ],
);
export type HTTPTriggerSpec = z.infer<typeof HTTPTriggerSpec>;

export const HTTPTriggerStatus = z.object({
  observedGeneration: int64().optional(),
  conditions: Conditions.optional(),
});
export type HTTPTriggerStatus = z.infer<typeof HTTPTriggerStatus>;
export type HTTPTrigger = Resource<"HTTPTrigger", HTTPTriggerSpec, HTTPTriggerStatus>;
