/** Objects that the Kubernetes API must refuse: a valid one of each kind, and the one thing that is wrong with it. */
export interface BadObject {
  readonly kind: string;
  /** Path into the object and the value that is put there; `undefined` removes the field. */
  readonly path: string;
  readonly value: unknown;
  /** HTTP status; 422 unless said. */
  readonly status?: number;
  /** What the message must name: the field, and the value or the rule. */
  readonly says: readonly (string | RegExp)[];
  /** Changes an object that is there instead of creating one. */
  readonly update?: boolean;
}

const functionref = { type: "name", name: "hello" };
const environment = { namespace: "default", name: "deno" };
const functionSpec = {
  environment,
  package: { packageref: { namespace: "default", name: "hello" } },
  InvokeStrategy: { StrategyType: "execution", ExecutionStrategy: { ExecutorType: "poolmgr" } },
};

/** A valid spec of every kind. */
export const VALID_SPECS: Readonly<Record<string, Record<string, unknown>>> = {
  Function: functionSpec,
  Environment: { version: 3, runtime: { image: "isotope/deno-env" }, poolsize: 0 },
  Package: { environment, deployment: { type: "literal", literal: "eA==" } },
  HTTPTrigger: { functionref, relativeurl: "/bad" },
  TimeTrigger: { functionref, cron: "* * * * *" },
  MessageQueueTrigger: { functionref, topic: "t" },
  KubernetesWatchTrigger: { functionref, namespace: "default", type: "POD" },
  CanaryConfig: { trigger: "t", newfunction: "a", oldfunction: "b" },
  FunctionVersion: {
    functionName: "hello",
    functionUID: "u",
    functionGeneration: 1,
    sequence: 1,
    snapshot: functionSpec,
    packageDigest: `sha256:${"a".repeat(64)}`,
    publishedAt: "2026-01-01T00:00:00Z",
  },
  FunctionAlias: { functionName: "hello", version: "hello-v1" },
  FissionTenant: { namespace: "team-a" },
  Workflow: { startAt: "a", states: { a: { type: "Succeed" } } },
  WorkflowRun: { workflowRef: "w" },
};

const bad = (kind: string, path: string, value: unknown, ...says: (string | RegExp)[]): BadObject => ({
  kind,
  path,
  value,
  says,
});
const env = (entry: unknown, ...says: (string | RegExp)[]): BadObject =>
  bad("Function", "spec.env", [entry], "spec.env[0]", ...says);
const runtime = (podspec: unknown, ...says: (string | RegExp)[]): BadObject =>
  bad("Environment", "spec.runtime.podspec", podspec, "spec.runtime.podspec", ...says);
const route = (field: "relativeurl" | "prefix", value: string, ...says: (string | RegExp)[]): BadObject =>
  bad("HTTPTrigger", `spec.${field}`, value, ...says);

const LONG = "x".repeat(70_000);

export const BAD_OBJECTS: readonly BadObject[] = [
  // Function: types, limits, enums.
  bad("Function", "spec.concurrency", -1, "spec.concurrency", "-1", "0"),
  bad("Function", "spec.concurrency", 100_001, "spec.concurrency", "100001", "100000"),
  bad("Function", "spec.concurrency", "ten", "spec.concurrency", "integer", "string"),
  bad("Function", "spec.requestsPerPod", 1.5, "spec.requestsPerPod", "integer"),
  bad("Function", "spec.functionTimeout", -5, "spec.functionTimeout", "-5"),
  bad("Function", "spec.functionTimeout", 86_401, "spec.functionTimeout", "86401", "86400"),
  bad("Function", "spec.idletimeout", -1, "spec.idletimeout", "-1"),
  bad("Function", "spec.onceOnly", "yes", "spec.onceOnly", "boolean"),
  bad("Function", "spec.retainPods", 1e9, "spec.retainPods", "1000000000"),
  bad("Function", "spec.environment", undefined, "spec.environment", /required/i),
  bad("Function", "spec.package", [], "spec.package", "object"),
  bad("Function", "spec.environment.name", "No_Dns", "spec.environment.name", "No_Dns"),
  bad("Function", "spec.environment.name", "x".repeat(64), "spec.environment.name", "63"),
  bad("Function", "spec.InvokeStrategy", undefined, "spec.InvokeStrategy", /required/i),
  bad(
    "Function",
    "spec.InvokeStrategy.ExecutionStrategy.ExecutorType",
    "lambda",
    "ExecutorType",
    "lambda",
    "poolmgr",
  ),
  bad("Function", "spec.InvokeStrategy.StrategyType", "guess", "StrategyType", "guess", "execution"),
  bad("Function", "spec.streaming", { protocol: "smoke" }, "spec.streaming.protocol", "smoke", "websocket"),
  bad("Function", "spec.tool", { toolName: "no spaces" }, "spec.tool.toolName", "no spaces"),
  bad("Function", "spec.versioning", { mode: "never" }, "spec.versioning.mode", "never", "manual"),
  bad("Function", "spec.provisionedConcurrency", {}, "spec.provisionedConcurrency.target", /required/i),
  bad("Function", "spec.state", { keyspace: "-x" }, "spec.state.keyspace", "-x"),
  // Function: rules that cross fields.
  bad("Function", "spec", { ...functionSpec, onceOnly: true, requestsPerPod: 5 }, "requestsPerPod must be 1"),
  bad(
    "Function",
    "spec.InvokeStrategy.ExecutionStrategy",
    { MinScale: 5, MaxScale: 2 },
    "ExecutionStrategy",
    "MinScale must not be greater than MaxScale",
  ),
  bad(
    "Function",
    "spec.InvokeStrategy.ExecutionStrategy",
    { ExecutorType: "newdeploy", MaxScale: 0 },
    "MaxScale must be greater than 0",
  ),
  bad(
    "Function",
    "spec.InvokeStrategy.ExecutionStrategy.ExecutorType",
    "container",
    "container executor needs podspec",
  ),
  bad(
    "Function",
    "spec",
    {
      ...functionSpec,
      InvokeStrategy: { ExecutionStrategy: { ExecutorType: "newdeploy", MaxScale: 1 } },
      provisionedConcurrency: { target: 1 },
    },
    "provisionedConcurrency needs the poolmgr executor",
  ),
  bad(
    "Function",
    "spec.env",
    [
      { name: "A", value: "1" },
      { name: "A", value: "2" },
    ],
    "names in env must be unique",
  ),
  bad(
    "Function",
    "spec.secrets",
    [
      { namespace: "default", name: "s" },
      { namespace: "default", name: "s" },
    ],
    "spec.secrets",
    /duplicate/i,
  ),
  bad(
    "Function",
    "spec.invocation",
    { onSuccess: {} },
    "spec.invocation.onSuccess",
    "exactly one of function and topic",
  ),
  bad(
    "Function",
    "spec.invocation",
    { onFailure: { topic: { messageQueueType: "kafka", topic: "a b" } } },
    "spec.invocation.onFailure.topic.topic",
    "a b",
  ),
  // Function: the environment of its process.
  env({ name: "NODE_OPTIONS", value: "--inspect" }, "reserved"),
  env({ name: "LD_PRELOAD", value: "/x.so" }, "reserved"),
  env({ name: "HTTP_PROXY", value: "http://x" }, "reserved"),
  env({ name: "FISSION_X", value: "1" }, "reserved"),
  env({ name: "ISOTOPE_POD_TOKEN", value: "1" }, "reserved"),
  env({ value: "1" }, "name", /required/i),
  env({ name: "", value: "1" }, "name"),
  env({ name: "A", value: 1 }, "value", "string"),
  env({ name: "A", value: "1", valueFrom: { secretKeyRef: { name: "s", key: "k" } } }, "exclude each other"),
  env({ name: "A", valueFrom: {} }, "exactly one of secretKeyRef and configMapKeyRef"),
  env({ name: "A", value: LONG }, "value", "32768"),
  bad(
    "Function",
    "spec.envFrom",
    [{ prefix: "X_" }],
    "spec.envFrom[0]",
    "exactly one of secretRef and configMapRef",
  ),
  // Environment: limits, and pod templates that would leave the sandbox.
  bad("Environment", "spec.version", 4, "spec.version", "4", "3"),
  bad("Environment", "spec.version", undefined, "spec.version", /required/i),
  { ...bad("Environment", "spec.version", 2, "version is immutable"), update: true },
  bad("Environment", "spec.runtime", {}, "spec.runtime.image", /required/i),
  bad("Environment", "spec.runtime.image", "", "spec.runtime.image"),
  bad("Environment", "spec.poolsize", -1, "spec.poolsize", "-1"),
  bad("Environment", "spec.poolsize", 10_001, "spec.poolsize", "10001", "10000"),
  bad(
    "Environment",
    "spec.allowedFunctionsPerContainer",
    "many",
    "allowedFunctionsPerContainer",
    "many",
    "infinite",
  ),
  bad("Environment", "spec.terminationGracePeriod", -1, "spec.terminationGracePeriod", "-1"),
  runtime({ hostNetwork: true }, "hostNetwork is not allowed"),
  runtime({ hostPID: true }, "hostPID is not allowed"),
  runtime({ hostIPC: true }, "hostIPC is not allowed"),
  runtime({ serviceAccountName: "admin" }, "serviceAccountName is not allowed"),
  runtime({ serviceAccount: "admin" }, "serviceAccountName is not allowed"),
  runtime(
    { volumes: [{ name: "v", hostPath: { path: "/" } }] },
    "volumes[0]",
    "hostPath volumes are not allowed",
  ),
  runtime({ containers: [{ securityContext: { privileged: true } }] }, "containers[0]", "privileged"),
  runtime(
    { containers: [{ securityContext: { allowPrivilegeEscalation: true } }] },
    "allowPrivilegeEscalation",
  ),
  runtime(
    { initContainers: [{ securityContext: { capabilities: { add: ["SYS_TIME"] } } }] },
    "initContainers[0]",
    "capability",
  ),
  bad(
    "Environment",
    "spec.runtime.container",
    { securityContext: { privileged: true } },
    "spec.runtime.container",
    "privileged",
  ),
  bad("Function", "spec.podspec", { hostNetwork: true }, "spec.podspec", "hostNetwork is not allowed"),
  bad("MessageQueueTrigger", "spec.podspec", { hostPID: true }, "spec.podspec", "hostPID is not allowed"),
  // Package.
  bad("Package", "spec.environment", undefined, "spec.environment", /required/i),
  bad("Package", "spec.deployment.type", "ftp", "spec.deployment.type", "ftp", "literal"),
  bad("Package", "spec.deployment.literal", "%%%", "spec.deployment.literal"),
  bad("Package", "spec.deployment.literal", "A".repeat(400_000), "spec.deployment.literal"),
  bad(
    "Package",
    "spec.deployment",
    { url: "http://x/a", oci: { image: "i" } },
    "url and oci exclude each other",
  ),
  bad("Package", "spec.source", { oci: { image: "i" } }, "oci is for deployment archives only"),
  bad(
    "Package",
    "spec.deployment",
    { oci: { image: "i", digest: "sha256:short" } },
    "digest",
    "sha256:short",
  ),
  // HTTPTrigger: paths, methods, hosts, CORS.
  route("relativeurl", "hello", "relativeurl must start with /"),
  route("relativeurl", "/a/../b", "relativeurl must not contain .."),
  route("relativeurl", "/a b", "relativeurl must not contain spaces or control characters"),
  route("relativeurl", "/a\u0000", "relativeurl must not contain spaces or control characters"),
  route("relativeurl", "/router-healthz", "is a path of the router itself"),
  route("relativeurl", "/fission-function/hello", "must not lie under /fission-function/"),
  route("prefix", "x", "prefix must start with /"),
  route("prefix", "/fission-function", "must not lie under /fission-function/"),
  bad("HTTPTrigger", "spec.relativeurl", undefined, "one of relativeurl and prefix is needed"),
  bad("HTTPTrigger", "spec.methods", ["GET", "FETCH"], "spec.methods[1]", "FETCH"),
  bad("HTTPTrigger", "spec.methods", ["GET", "GET"], "spec.methods", /duplicate/i),
  bad("HTTPTrigger", "spec.host", "UPPER.example", "spec.host", "UPPER.example"),
  bad("HTTPTrigger", "spec.functionref", undefined, "spec.functionref", /required/i),
  bad("HTTPTrigger", "spec.functionref.type", "guess", "spec.functionref.type", "guess", "function-weights"),
  bad(
    "HTTPTrigger",
    "spec.functionref",
    { ...functionref, alias: "a", version: "v" },
    "alias and version exclude each other",
  ),
  bad(
    "HTTPTrigger",
    "spec.functionref",
    { type: "function-weights", name: "hello", functionweights: { hello: 101 } },
    "functionweights",
    "101",
  ),
  bad(
    "HTTPTrigger",
    "spec.corsConfig",
    { allowOrigins: ["*"], allowCredentials: true },
    "spec.corsConfig",
    "allowCredentials does not go with the origin *",
  ),
  bad("HTTPTrigger", "spec.invocationMode", "later", "spec.invocationMode", "later"),
  // The kinds of triggers, releases and workflows.
  bad("TimeTrigger", "spec.cron", "", "spec.cron"),
  bad("TimeTrigger", "spec.cron", undefined, "spec.cron", /required/i),
  bad("MessageQueueTrigger", "spec.topic", undefined, "spec.topic", /required/i),
  bad("MessageQueueTrigger", "spec.mqtkind", "carrier-pigeon", "spec.mqtkind", "carrier-pigeon", "keda"),
  bad("MessageQueueTrigger", "spec.maxReplicaCount", -1, "spec.maxReplicaCount", "-1"),
  bad(
    "KubernetesWatchTrigger",
    "spec.type",
    undefined,
    "spec",
    "exactly one of type, and apiVersion with kind",
  ),
  bad("CanaryConfig", "spec.weightincrement", 101, "spec.weightincrement", "101", "100"),
  bad("FunctionVersion", "spec.sequence", 0, "spec.sequence", "0"),
  bad("FunctionVersion", "spec.publishedAt", "yesterday", "spec.publishedAt", "yesterday"),
  ...[
    bad("FunctionVersion", "spec.sequence", 2, "a version is immutable"),
    bad("FunctionVersion", "spec.functionName", "other", "a version is immutable"),
    bad("FunctionVersion", "spec.snapshot.functionTimeout", 5, "a version is immutable"),
    bad("FunctionVersion", "spec.envRuntimeImage", "other:1", "a version is immutable"),
    bad("FunctionVersion", "spec.publishedAt", "2020-01-01T00:00:00Z", "a version is immutable"),
  ].map((one) => ({ ...one, update: true })),
  bad("FunctionAlias", "spec.weight", 101, "spec.weight", "101", "100"),
  bad(
    "FunctionAlias",
    "spec.packageDigest",
    `sha256:${"a".repeat(64)}`,
    "version and packageDigest exclude each other",
  ),
  bad("FissionTenant", "spec.namespace", "Team_A", "spec.namespace", "Team_A"),
  { ...bad("FissionTenant", "spec.namespace", "team-b", "namespace is immutable"), update: true },
  bad("Workflow", "spec.states.a.type", "Guess", "spec.states.a.type", "Guess", "Succeed"),
  bad("Workflow", "spec.startAt", "", "spec.startAt"),
  bad("WorkflowRun", "spec.workflowRef", 7, "spec.workflowRef", "string"),
  // What holds for every kind.
  { ...bad("Function", "spec.concurency", 5, "spec.concurency", /unknown field/i), status: 400 },
  {
    ...bad("HTTPTrigger", "spec.functionref.nmae", "x", "spec.functionref.nmae", /unknown field/i),
    status: 400,
  },
  { ...bad("Function", "spec", undefined, "spec", /required/i) },
  { ...bad("Function", "spec", "text", "spec", "object") },
  bad("Function", "metadata.name", "Hello World", "metadata.name", "Hello World"),
  bad("Function", "metadata.name", "x".repeat(254), "metadata.name"),
  bad("Function", "metadata.labels", { "a b": "c" }, "metadata.labels", "a b"),
  bad("Function", "kind", "Environment", "kind", "Environment", "must be Function"),
  { ...bad("Function", "apiVersion", "fission.io/v9", "v9"), status: 400 },
  { ...bad("Function", "metadata.namespace", "elsewhere", "namespace"), status: 400 },
];
