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

/** A schedule, and how the function is called on it. */
export interface Timer {
  /** The trigger is `<function>-<name>`; default: `<function>` for the first, else after its schedule. */
  name?: string | undefined;
  /** Five or six fields, such as `"0 7 * * MON-FRI"`, `"@daily"` or `"@every 5m"`. */
  schedule: string;
  /** IANA zone of the schedule, such as `"Europe/Berlin"`; default UTC. */
  timeZone?: string | undefined;
  /** Nothing fires before it; `@every` counts from it. */
  startTime?: string | undefined;
  /** Nothing fires at it or after it. */
  endTime?: string | undefined;
  /** Each fire is put off by a part of it, so that many do not come at once. */
  jitter?: Duration | undefined;
  /** Nothing fires while true; what would have fired is not made up for. */
  suspend?: boolean | undefined;
  /** While the call of the fire before still runs: call nevertheless (default), wait for its end, or cancel it first. */
  concurrencyPolicy?: "Allow" | "Forbid" | "Replace" | undefined;
  /** A fire that is later than this is missed; default: none is too late. */
  startingDeadlineSeconds?: number | undefined;
  /** Fires that came due while the platform was down: none, the last (default), or all of them. */
  catchUp?: "none" | "last" | "all" | undefined;
  /** Most fires made up for by `catchUp: "all"`: the latest; default 100. */
  catchUpLimit?: number | undefined;
  /** Of the call; default `POST`. */
  method?: HttpMethod | undefined;
  /** Of the call; default `/`. */
  path?: string | undefined;
  headers?: Record<string, string> | undefined;
  body?: string | undefined;
}

/** Kind of queue or stream. */
export type QueueType = "redis-streams" | "statestore" | "kafka" | "nats-jetstream" | "azure-storage-queue";

/** A queue or stream whose messages call the function. */
export interface Queue {
  /** The trigger is `<function>-<name>`; default: `<function>` for the first, else after its topic. */
  name?: string | undefined;
  type: QueueType;
  /** Topic, queue, stream or subject whose messages are taken. */
  topic: string;
  /** Topic that gets the function's answers. */
  respTopic?: string | undefined;
  /** Topic that gets messages whose retries are used up; default: the dead letters. */
  errorTopic?: string | undefined;
  /** Tries after the first; default 3. */
  maxRetries?: number | undefined;
  /** Of messages that say none themselves; default `application/json`. */
  contentType?: string | undefined;
  /** Messages that are delivered at once; of an ordered lane it is one at a time. Default 32. */
  concurrency?: number | undefined;
  /** 0: the connection to the broker is let go of while no messages come. */
  minReplicas?: number | undefined;
  /** Most replicas of the trigger service that take messages side by side, where the source shares them out; default 1. */
  maxReplicas?: number | undefined;
  /** With `minReplicas: 0`: time between two looks for messages; default 30 s. */
  pollingInterval?: Duration | undefined;
  /** With `minReplicas: 0`: time without a message before the connection is let go of; default 5 minutes. */
  cooldownPeriod?: Duration | undefined;
  /** Secret with the credentials for the broker. */
  secret?: string | undefined;
  /** Settings of the source, such as `{ bootstrapServers: "kafka:9092" }`. */
  settings?: Record<string, string | number | boolean> | undefined;
}

/** Changes of Kubernetes objects. */
export interface Watch {
  /** The trigger is `<function>-<name>`; default: `<function>` for the first, else after its kind. */
  name?: string | undefined;
  /** Kind of the objects, such as `"Pod"`. */
  kind: string;
  /** Of the kind, such as `"apps/v1"`; default `"v1"`. */
  apiVersion?: string | undefined;
  /** Which changes count; default: all. */
  events?: ("ADDED" | "MODIFIED" | "DELETED")[] | undefined;
  /** `MODIFIED` counts only when one of these paths has changed, such as `"status.phase"`. */
  fields?: string[] | undefined;
  /** Label selector, such as `"tier in (web, api)"`. */
  selector?: string | undefined;
  /** Field selector, such as `"status.phase=Failed"`. */
  fieldSelector?: string | undefined;
  /** Objects that are there already come as `ADDED` once. */
  includeExisting?: boolean | undefined;
  /** Service account that must be allowed to get, list and watch the objects; default `default`. */
  serviceAccount?: string | undefined;
}

/** Who is told of the end of an asynchronous call: a function by its name, or one of these. */
export type AsyncDestination =
  | string
  | { function: string; alias?: string | undefined }
  | { workflow: string }
  | {
      topic: string;
      /** Default: a built-in topic. */
      type?: QueueType | undefined;
      /** Of the type, as of a queue. */
      settings?: Record<string, string | number | boolean> | undefined;
      /** Secret with the credentials for the broker. */
      secret?: string | undefined;
    };

/** How asynchronous calls are tried, and who is told of their end. */
export interface Async {
  /** Attempts at most; default 3. */
  maxAttempts?: number | undefined;
  /** Pause after the first failure; default 1 s. */
  backoff?: Duration | undefined;
  /** Longest pause between two attempts; default 5 minutes. */
  maxBackoff?: Duration | undefined;
  /** Whether half of each pause is random; default true. */
  jitter?: boolean | undefined;
  /** Given up after this; default 6 hours, at most 7 days. */
  maxAge?: Duration | undefined;
  /** Calls that are delivered at once; default 100. */
  concurrency?: number | undefined;
  /** Gets the answer of each call. */
  onSuccess?: AsyncDestination | undefined;
  /** Gets each call that failed for good. */
  onFailure?: AsyncDestination | undefined;
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
  /** Schedule on which the function is called, as text or with its settings. */
  cron?: string | Timer | (string | Timer)[] | undefined;
  /** Queue or stream whose messages call the function. */
  queue?: Queue | Queue[] | undefined;
  /** Kubernetes objects of the function's namespace whose changes call it. */
  watch?: Watch | Watch[] | undefined;
  /** How asynchronous calls are tried, and who is told of their end. */
  async?: Async | undefined;
}
