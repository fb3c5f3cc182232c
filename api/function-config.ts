import { z } from "zod";
import { parseDurationMs } from "./duration.ts";
import { HTTP_METHODS } from "./kinds/http-trigger.ts";

/**
 * `export const config = {...}` of a function file: static literals, read from the syntax tree by `isotope deploy`, never executed.
 * From it, and from the file's name, come the Function, Package, HTTPTrigger and TimeTrigger objects.
 */
const NAME = z
  .string()
  .max(63)
  .regex(/^[a-z]([-a-z0-9]*[a-z0-9])?$/, "must be lower-case letters, digits and -, and start with a letter");

const isDuration = (value: string): boolean => {
  try {
    return parseDurationMs(value) > 0;
  } catch {
    return false;
  }
};

/** Seconds, or a duration such as "30s" or "5m". */
export const ConfigDuration = z.union([
  z.number().positive(),
  z.string().refine(isDuration, "must be a duration such as 30s, 5m or 1h30m"),
]);

const Duration = ConfigDuration;

const Methods = z.array(z.enum(HTTP_METHODS)).min(1);

export const Cors = z.strictObject({
  origins: z.array(z.string()).min(1).describe("Allowed origins; * for any"),
  methods: Methods.optional(),
  headers: z.array(z.string()).optional(),
  exposeHeaders: z.array(z.string()).optional(),
  credentials: z.boolean().optional(),
  maxAge: Duration.optional(),
});

const Path = z.string().regex(/^\//, "must start with /");

export const Route = z.strictObject({
  path: Path.optional().describe("Path; {var} and {var:regex} allowed"),
  prefix: Path.optional().describe("Path prefix, instead of path"),
  keepPrefix: z.boolean().optional(),
  methods: Methods.optional(),
  host: z.string().optional(),
  cors: Cors.optional(),
});

const EnvValue = z.union([
  z.string(),
  z.strictObject({ secret: z.string(), key: z.string(), optional: z.boolean().optional() }),
  z.strictObject({ configMap: z.string(), key: z.string(), optional: z.boolean().optional() }),
]);

export const FunctionConfig = z
  .strictObject({
    name: NAME.optional().describe("Name of the function; default: the file's or folder's name"),
    route: z
      .union([Path, Route, z.array(z.union([Path, Route])), z.literal(false)])
      .optional()
      .describe(
        "Where the function answers; default /<name>; false: nowhere, for functions called by others",
      ),
    methods: Methods.optional().describe("Methods of routes that name none; default: all"),
    cors: Cors.optional().describe("CORS of routes that name none"),
    export: z.string().optional().describe("Named export to call; default: the default export"),
    timeout: Duration.optional().describe("Wall clock per request; default 60s"),
    streaming: z
      .union([
        z.boolean(),
        z.strictObject({ idleTimeout: Duration.optional(), maxDuration: Duration.optional() }),
      ])
      .optional()
      .describe("Answers stream (server-sent events, WebSocket, long downloads): no total timeout"),
    env: z
      .record(z.string(), EnvValue)
      .optional()
      .describe("Environment variables: text, or a key of a secret or config map"),
    envFrom: z
      .array(
        z.union([
          z.strictObject({ secret: z.string(), optional: z.boolean().optional() }),
          z.strictObject({ configMap: z.string(), optional: z.boolean().optional() }),
        ]),
      )
      .optional()
      .describe("Whole secrets or config maps as environment variables"),
    secrets: z.array(z.string()).optional().describe("Secrets given as files"),
    configMaps: z.array(z.string()).optional().describe("Config maps given as files"),
    concurrency: z.int().min(1).max(100_000).optional().describe("Most pods at once; default 500"),
    requestsPerPod: z
      .int()
      .min(1)
      .max(100_000)
      .optional()
      .describe("Requests in flight per pod; default 100"),
    onceOnly: z.boolean().optional().describe("One request per pod, then the pod is discarded"),
    retainPods: z.int().min(0).max(100_000).optional().describe("Idle pods that are kept"),
    idleTimeout: Duration.optional().describe(
      "Time without a request after which a pod is released; default 2m",
    ),
    executor: z
      .enum(["auto", "poolmgr", "newdeploy"])
      .optional()
      .describe("How pods are had: from a pool (auto, poolmgr) or by a Deployment; default auto"),
    minPods: z
      .int()
      .min(0)
      .max(100_000)
      .optional()
      .describe("Fewest pods, warm before the first call (auto, newdeploy); default 0"),
    maxPods: z
      .int()
      .min(1)
      .max(100_000)
      .optional()
      .describe("Most pods at once; default concurrency (auto), else minPods, at least 1 (newdeploy)"),
    requestsPerSecond: z
      .int()
      .min(1)
      .max(1_000_000)
      .optional()
      .describe("Requests per second that one pod is to have (auto, newdeploy); default: as many as come"),
    environment: NAME.optional().describe("Environment; default deno"),
    typeCheck: z.boolean().optional().describe("Type-check when building; default false"),
    cron: z
      .union([z.string(), z.array(z.string())])
      .optional()
      .describe("Schedule on which the function is called"),
  })
  .refine(
    ({ onceOnly, requestsPerPod }) => !onceOnly || requestsPerPod === undefined || requestsPerPod === 1,
    { path: ["requestsPerPod"], error: "onceOnly allows one request per pod" },
  );
export type FunctionConfig = z.input<typeof FunctionConfig>;

/** What `isotope deploy` gives functions beyond the defaults of the API: a JavaScript process serves many requests at once. */
export const DEPLOY_DEFAULTS = { environment: "deno", executor: "auto", requestsPerPod: 100 } as const;
