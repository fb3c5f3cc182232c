/** The words of `export const config`: how a function is deployed. Read from the file's text, never executed: literals only. */

/** Seconds, or text such as `"30s"`, `"5m"`, `"1h30m"`. */
export type Duration = number | string;

export type HttpMethod =
  | "GET"
  | "HEAD"
  | "POST"
  | "PUT"
  | "PATCH"
  | "DELETE"
  | "OPTIONS"
  | "CONNECT"
  | "TRACE";

export interface Cors {
  /** Origins that may read the answers; `"*"` for any. */
  origins: string[];
  methods?: HttpMethod[] | undefined;
  headers?: string[] | undefined;
  exposeHeaders?: string[] | undefined;
  credentials?: boolean | undefined;
  /** How long a browser may keep the answer to its preflight. */
  maxAge?: Duration | undefined;
}

export interface Route {
  /** The path, with variables as `{id}` or `{id:[0-9]+}`. */
  path?: string | undefined;
  /** All paths that begin so, instead of `path`. */
  prefix?: string | undefined;
  /** Whether the function sees the prefix in its path. */
  keepPrefix?: boolean | undefined;
  methods?: HttpMethod[] | undefined;
  host?: string | undefined;
  cors?: Cors | undefined;
}

/** A key of a secret or of a config map. */
export type KeyReference =
  | { secret: string; key: string; optional?: boolean | undefined }
  | { configMap: string; key: string; optional?: boolean | undefined };

/** A whole secret or config map. */
export type ObjectReference =
  | { secret: string; optional?: boolean | undefined }
  | { configMap: string; optional?: boolean | undefined };

/**
 * Settings of a function:
 *
 *     export const config = { route: "/users/{id}", methods: ["GET"], timeout: "10s" } satisfies FunctionConfig;
 */
export interface FunctionConfig {
  /** Name of the function; default: the name of its file or folder. */
  name?: string | undefined;
  /** Where the function answers; default `/<name>`; `false`: nowhere, for functions that only others call. */
  route?: string | Route | (string | Route)[] | false | undefined;
  /** Methods of routes that name none; default: all. */
  methods?: HttpMethod[] | undefined;
  /** CORS of routes that name none. */
  cors?: Cors | undefined;
  /** Named export to call; default: the default export. */
  export?: string | undefined;
  /** Wall clock per request; default 60 s. */
  timeout?: Duration | undefined;
  /** Answers stream (server-sent events, WebSocket, long downloads): no total timeout. */
  streaming?:
    | boolean
    | { idleTimeout?: Duration | undefined; maxDuration?: Duration | undefined }
    | undefined;
  /** Environment variables: text, or a key of a secret or config map. */
  env?: Record<string, string | KeyReference> | undefined;
  /** Whole secrets or config maps as environment variables. */
  envFrom?: ObjectReference[] | undefined;
  /** Secrets given as files and in `ctx.secrets`. */
  secrets?: string[] | undefined;
  /** Config maps given as files and in `ctx.configs`. */
  configMaps?: string[] | undefined;
  /** Most pods at once; default 500. */
  concurrency?: number | undefined;
  /** Requests that one pod runs at once; default 100. */
  requestsPerPod?: number | undefined;
  /** One request per pod, after which the pod is discarded. */
  onceOnly?: boolean | undefined;
  /** Idle pods that are kept. */
  retainPods?: number | undefined;
  /** Time without a request after which a pod is released; default 2 minutes. */
  idleTimeout?: Duration | undefined;
  /** How pods are had: from a pool (`auto`, `poolmgr`) or by a Deployment (`newdeploy`); default `auto`. */
  executor?: "auto" | "poolmgr" | "newdeploy" | undefined;
  /** Fewest pods, warm before the first call; default 0. */
  minPods?: number | undefined;
  /** Most pods; default `concurrency`, for `newdeploy` `minPods` and at least 1. */
  maxPods?: number | undefined;
  /** Requests per second that one pod is to have. */
  requestsPerSecond?: number | undefined;
  /** Environment; default `deno`. */
  environment?: string | undefined;
  /** Whether the build fails on type errors. */
  typeCheck?: boolean | undefined;
  /** Schedule on which the function is called. */
  cron?: string | string[] | undefined;
}
