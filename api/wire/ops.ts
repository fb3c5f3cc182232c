import { z } from "zod";

/**
 * The operations API (default port 8890), for the CLI and the console. Every call carries `Authorization: Bearer <token of the
 * kubeconfig>`; errors are `ErrorBody`.
 *
 *   GET  /v1/status                      `OpsStatus`
 *   GET  /v1/logs?<LogQuery>             NDJSON, one `LogLine` a line, ordered as asked; with `follow=true` the newest `limit` lines, oldest
 *                                        first, then each new line as it comes; a blank line every 15 s keeps the connection alive
 *   GET  /v1/pods?<PodQuery>             `PodList`
 *   GET  /v1/releases?<ReleaseQuery>     `ReleaseList` (api/wire/releases.ts)
 *   GET  /v1/namespace?<NamespaceQuery>  `OpsNamespace`
 *   ANY  /v1/invoke/<namespace>/<function>[/<path>][?query]
 *                                        the function's own answer, streamed, through the router's internal listener. The call's own
 *                                        `Authorization` is not passed on; what stands in HEADER_INVOKE_AUTHORIZATION is.
 *   /v1/archive                          the archive store (see engine/storage)
 */
export const HEADER_INVOKE_AUTHORIZATION = "x-isotope-invoke-authorization";
/** Stands for `Authorization` where something on the way takes that away, as the API server's proxy does. */
export const HEADER_OPS_AUTHORIZATION = "x-isotope-authorization";
/**
 * The call comes through the API server's proxy, which rewrites the links of HTML and the places of redirects: the reply hides its
 * `content-type` and `location` under this header's name, a hyphen and theirs.
 */
export const HEADER_OPS_SEALED = "x-isotope-sealed";
export const SEALED_HEADERS = ["content-type", "location"] as const;

export const LOG_LINE_LEVELS = ["debug", "info", "warn", "error"] as const;
export type LogLineLevel = (typeof LOG_LINE_LEVELS)[number];

export const LogLine = z.object({
  /** RFC 3339 with fractions, as the function wrote it, else when the container wrote it. */
  time: z.string(),
  level: z.enum(LOG_LINE_LEVELS),
  message: z.string(),
  namespace: z.string(),
  /** Empty for lines of a pod that served no function at that time. */
  function: z.string(),
  revision: z.string(),
  pod: z.string(),
  container: z.string(),
  stream: z.enum(["stdout", "stderr"]),
  requestId: z.string().optional(),
  stack: z.string().optional(),
  /** The message holds terminal control sequences, kept as they were: escape before showing. */
  ansi: z.boolean().optional(),
  /** The message was longer than what is kept of a line. */
  cut: z.boolean().optional(),
});
export type LogLine = z.infer<typeof LogLine>;

const name = z.string().max(253);
const flag = z.enum(["true", "false"]).transform((value) => value === "true");

/** All filters are combined with "and". */
export const LogQuery = z.object({
  namespace: name.optional(),
  function: name.optional(),
  revision: name.optional(),
  pod: name.optional(),
  requestId: z.string().max(192).optional(),
  /** This level and the graver ones. */
  level: z.enum(LOG_LINE_LEVELS).optional(),
  /** Text that the message or stack contains, upper and lower case alike. */
  search: z.string().max(1024).optional(),
  /** RFC 3339, or a duration back from now such as 10m. */
  since: z.string().max(64).optional(),
  until: z.string().max(64).optional(),
  limit: z.coerce.number().int().min(1).max(100_000).default(1000),
  order: z.enum(["newest", "oldest"]).default("oldest"),
  follow: flag.default(false),
});
export type LogQuery = z.infer<typeof LogQuery>;

export const PodQuery = z.object({
  namespace: name.optional(),
  function: name.optional(),
  environment: name.optional(),
});
export type PodQuery = z.infer<typeof PodQuery>;

export const NamespaceQuery = z.object({ namespace: name });
export type NamespaceQuery = z.infer<typeof NamespaceQuery>;

export const OpsNamespace = z.object({
  namespace: z.string(),
  /** Whether the platform minds functions there. */
  served: z.boolean(),
  /** The labels, `key=value`, of which one makes a namespace one that is minded; empty when all are. */
  labels: z.array(z.string()),
});
export type OpsNamespace = z.infer<typeof OpsNamespace>;

export const PodSummary = z.object({
  namespace: z.string(),
  name: z.string(),
  uid: z.string(),
  environment: z.string(),
  function: z.string(),
  revision: z.string(),
  /** `generic`, `claimed`, `specialised`, `retired`, or "" for pods that are no runtime pods. */
  state: z.string(),
  component: z.string(),
  phase: z.string(),
  ready: z.boolean(),
  restarts: z.number().int(),
  ip: z.string(),
  createdAt: z.string(),
  /** Why it is not running, when it is not. */
  message: z.string(),
});
export type PodSummary = z.infer<typeof PodSummary>;

export const PodList = z.object({ pods: z.array(PodSummary) });
export type PodList = z.infer<typeof PodList>;

export const OpsComponent = z.object({
  name: z.string(),
  status: z.enum(["up", "down", "unknown"]),
  version: z.string(),
  /** Empty when all is well. */
  message: z.string(),
});

export const OpsProblem = z.object({
  kind: z.string(),
  namespace: z.string(),
  name: z.string(),
  reason: z.string(),
  message: z.string(),
  since: z.string(),
});

export const OpsStatus = z.object({
  version: z.string(),
  startedAt: z.string(),
  kubernetes: z.object({ server: z.string(), version: z.string() }),
  components: z.array(OpsComponent),
  counts: z.object({
    functions: z.number().int(),
    functionsReady: z.number().int(),
    environments: z.number().int(),
    packages: z.number().int(),
    httpTriggers: z.number().int(),
    pods: z.record(z.string(), z.number().int()),
    archives: z.number().int(),
    archiveBytes: z.number(),
  }),
  /** Objects whose Ready condition is False, newest first, at most 100. */
  problems: z.array(OpsProblem),
});
export type OpsStatus = z.infer<typeof OpsStatus>;
