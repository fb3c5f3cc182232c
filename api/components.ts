/** A process of the platform on a cluster: one subcommand of the image `isotope`. */
export interface Component {
  readonly name: ComponentName;
  /** Module that is run, from the root of the repository, without its extension. */
  readonly entry: string;
  /** Prefix of its environment variables. */
  readonly envPrefix: string;
  /** Ports by name, as its settings have them by default. */
  readonly ports: Readonly<Record<string, number>>;
  /**
   * Where `/healthz` (alive), `/readyz` (can do its work) and `/metrics` are answered without a signature: the name of a port; undefined =
   * it runs to its end.
   */
  readonly health?: string;
  /** Component beside which it runs, in a second container of its pod. */
  readonly beside?: ComponentName;
  /** Receiver's identity that signed calls to it name; undefined = it receives none. */
  readonly audience?: string;
  readonly what: string;
}

export type ComponentName =
  | "router"
  | "executor"
  | "controller"
  | "storage"
  | "workflows"
  | "triggers"
  | "definition-host"
  | "log-store"
  | "log-collector"
  | "cleanup";

/** All processes of the platform: the image's subcommands, what the chart runs, and their reference page are made from this. */
export const COMPONENTS: readonly Component[] = [
  {
    name: "router",
    entry: "engine/router/main",
    envPrefix: "ISOTOPE_ROUTER_",
    ports: { http: 8888, internal: 8889, metrics: 8080 },
    health: "metrics",
    audience: "router-internal",
    what: "takes calls from outside and passes them to pods",
  },
  {
    name: "executor",
    entry: "engine/executor/main",
    envPrefix: "ISOTOPE_EXECUTOR_",
    ports: { api: 8892 },
    health: "api",
    audience: "executor",
    what: "pools, specialises and scales function pods",
  },
  {
    name: "controller",
    entry: "controller/main",
    envPrefix: "ISOTOPE_CONTROLLER_",
    ports: { ops: 8890, metrics: 8080 },
    health: "metrics",
    what: "reconciles the kinds, runs builds, serves the operations API",
  },
  {
    name: "storage",
    entry: "engine/storage/main",
    envPrefix: "ISOTOPE_STORAGE_",
    ports: { api: 8894, metrics: 8080 },
    health: "metrics",
    audience: "storage",
    what: "keeps packages' archives, and large bodies and results of asynchronous calls, on a disk or in an S3-compatible store",
  },
  {
    name: "workflows",
    entry: "workflows/main",
    envPrefix: "ISOTOPE_WORKFLOWS_",
    ports: { api: 8896, metrics: 8080 },
    health: "metrics",
    audience: "workflows",
    what: "drives the runs of workflows, and starts, shows and steers them",
  },
  {
    name: "triggers",
    entry: "engine/triggers/main",
    envPrefix: "ISOTOPE_TRIGGERS_",
    ports: { api: 8897, metrics: 8080 },
    health: "metrics",
    audience: "triggers",
    what: "keeps asynchronous invocations and delivers them; timers, queues and watches",
  },
  {
    name: "definition-host",
    entry: "workflows/host/main",
    envPrefix: "ISOTOPE_DEFINITION_HOST_",
    ports: {},
    beside: "workflows",
    what: "runs the code of workflows' definitions, in a container of its own without credentials",
  },
  {
    name: "log-store",
    entry: "engine/logs/store/main",
    envPrefix: "ISOTOPE_LOG_STORE_",
    ports: { api: 8895, metrics: 8080 },
    health: "metrics",
    audience: "log-store",
    what: "keeps what functions print, also after their pods are gone",
  },
  {
    name: "log-collector",
    entry: "engine/logs/collector/main",
    envPrefix: "ISOTOPE_LOG_COLLECTOR_",
    ports: { metrics: 8080 },
    health: "metrics",
    what: "reads the containers' logs of one node and sends them to the log store",
  },
  {
    name: "cleanup",
    entry: "controller/cleanup/main",
    envPrefix: "ISOTOPE_CLEANUP_",
    ports: {},
    what: "removes from function namespaces what the platform made there, when it is uninstalled",
  },
];
