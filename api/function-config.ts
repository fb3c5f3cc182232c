import { z } from "zod";
import { ConfigDuration, ConfigName, ConfigPath } from "./config-values.ts";
import { Async, Queue, Timer, Watch } from "./event-config.ts";
import { HTTP_METHODS } from "./kinds/http-trigger.ts";

/** Triggers of one kind in one file. */
const MOST_TRIGGERS = 32;

const Methods = z.array(z.enum(HTTP_METHODS)).min(1);

export const Cors = z.strictObject({
  origins: z.array(z.string()).min(1).describe("Allowed origins; * for any"),
  methods: Methods.optional(),
  headers: z.array(z.string()).optional(),
  exposeHeaders: z.array(z.string()).optional(),
  credentials: z.boolean().optional(),
  maxAge: ConfigDuration.optional(),
});

export const Route = z.strictObject({
  path: ConfigPath.optional().describe("Path; {var} and {var:regex} allowed"),
  prefix: ConfigPath.optional().describe("Path prefix, instead of path"),
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

/**
 * `export const config = {...}` of a function file: static literals, read from the syntax tree by `isotope deploy`, never executed.
 * From it, and from the file's name, come the Function, Package, HTTPTrigger, TimeTrigger, MessageQueueTrigger and KubernetesWatchTrigger objects.
 */
export const FunctionConfig = z
  .strictObject({
    name: ConfigName.optional().describe("Name of the function; default: the file's or folder's name"),
    route: z
      .union([ConfigPath, Route, z.array(z.union([ConfigPath, Route])), z.literal(false)])
      .optional()
      .describe(
        "Where the function answers; default /<name>; false: nowhere, for functions called by others",
      ),
    methods: Methods.optional().describe("Methods of routes that name none; default: all"),
    cors: Cors.optional().describe("CORS of routes that name none"),
    export: z.string().optional().describe("Named export to call; default: the default export"),
    timeout: ConfigDuration.optional().describe("Wall clock per request; default 60s"),
    streaming: z
      .union([
        z.boolean(),
        z.strictObject({ idleTimeout: ConfigDuration.optional(), maxDuration: ConfigDuration.optional() }),
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
    idleTimeout: ConfigDuration.optional().describe(
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
    environment: ConfigName.optional().describe("Environment; default deno"),
    typeCheck: z.boolean().optional().describe("Type-check when building; default false"),
    cron: z
      .union([
        Timer.shape.schedule,
        Timer,
        z.array(z.union([Timer.shape.schedule, Timer])).max(MOST_TRIGGERS),
      ])
      .optional()
      .describe("Schedule on which the function is called, as text or with its settings"),
    queue: z
      .union([Queue, z.array(Queue).max(MOST_TRIGGERS)])
      .optional()
      .describe("Queue or stream whose messages call the function"),
    watch: z
      .union([Watch, z.array(Watch).max(MOST_TRIGGERS)])
      .optional()
      .describe("Kubernetes objects of the function's namespace whose changes call it"),
    async: Async.optional().describe("How asynchronous calls are tried, and who is told of their end"),
  })
  .refine(
    ({ onceOnly, requestsPerPod }) => !onceOnly || requestsPerPod === undefined || requestsPerPod === 1,
    { path: ["requestsPerPod"], error: "onceOnly allows one request per pod" },
  );
export type FunctionConfig = z.input<typeof FunctionConfig>;

/** What `isotope deploy` gives functions beyond the defaults of the API: a JavaScript process serves many requests at once. */
export const DEPLOY_DEFAULTS = { environment: "deno", executor: "auto", requestsPerPod: 100 } as const;
