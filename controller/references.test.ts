import { assert, constantFrom, property, shuffledSubarray } from "fast-check";
import { expect, test } from "vitest";
import { canonicalJson } from "../api/canonical-json.ts";
import type {
  Environment,
  FunctionAlias,
  Function as FunctionObject,
  FunctionVersion,
  HTTPTrigger,
  Package,
} from "../api/kinds/index.ts";
import { type References, resolveFunction } from "./function/resolve.ts";
import { revisionOf } from "./function/revision.ts";
import { nextFunctionStatus } from "./function/status.ts";
import { templateProblem, triggerConditions } from "./http-trigger/check.ts";
import { isAllowedHost, isPublicAddress } from "./package/address-guard.ts";
import { DownloadError, downloadArchive } from "./package/download.ts";
import { locateArchive } from "./package/locate.ts";
import { slimPackage } from "./package/slim.ts";

const ENVIRONMENT: Environment = {
  apiVersion: "fission.io/v1",
  kind: "Environment",
  metadata: { name: "deno", namespace: "default", uid: "env-uid", generation: 1 },
  spec: { version: 3, runtime: { image: "isotope/deno-env:1" } },
};
const PACKAGE: Package = {
  apiVersion: "fission.io/v1",
  kind: "Package",
  metadata: { name: "pkg", namespace: "default", generation: 2 },
  spec: { environment: { namespace: "default", name: "deno" } },
  status: {
    contentHash: "a".repeat(64),
    sizeBytes: 5,
    conditions: [
      {
        type: "Ready",
        status: "True",
        reason: "Deployable",
        message: "",
        lastTransitionTime: "2026-01-01T00:00:00Z",
        observedGeneration: 2,
      },
    ],
  },
};
const FUNCTION: FunctionObject = {
  apiVersion: "fission.io/v1",
  kind: "Function",
  metadata: { name: "hello", namespace: "default", uid: "fn-uid", generation: 7 },
  spec: {
    environment: { namespace: "default", name: "deno" },
    package: { packageref: { namespace: "default", name: "pkg" } },
    InvokeStrategy: {},
  },
};
const REFERENCES: References = {
  environment: (name) => (name === "deno" ? ENVIRONMENT : undefined),
  package: (name) => (name === "pkg" ? PACKAGE : undefined),
  secret: (name) => (name === "db" ? "11" : undefined),
  configMap: (name) => (name === "settings" ? "12" : undefined),
};
const resolve = (spec: Partial<FunctionObject["spec"]>, references: Partial<References> = {}) =>
  resolveFunction({ ...FUNCTION, spec: { ...FUNCTION.spec, ...spec } }, { ...REFERENCES, ...references });

const withStatus = (status: Package["status"]): Partial<References> => ({
  package: () => ({ ...PACKAGE, ...(status ? { status } : {}) }),
});
const foreignImage: Partial<References> = {
  environment: () => ({
    ...ENVIRONMENT,
    spec: { ...ENVIRONMENT.spec, runtime: { image: "fission/node-env" } },
  }),
};

const sharedImage: Partial<References> = {
  environment: () => ({
    ...ENVIRONMENT,
    spec: {
      ...ENVIRONMENT.spec,
      version: 3,
      runtime: { image: "fission/node-env" },
      allowedFunctionsPerContainer: "infinite",
    },
  }),
};

test.each<[string, Partial<FunctionObject["spec"]>, Partial<References>, string]>([
  [
    "EnvironmentNotFound",
    { environment: { namespace: "default", name: "nope" } },
    {},
    'Environment "nope" not found in namespace "default": create it with isotope env create --name nope',
  ],
  ["EnvironmentNotFound", { environment: { namespace: "default" } }, {}, "No environment is named"],
  [
    "CrossNamespaceReference",
    { environment: { namespace: "other", name: "deno" } },
    {},
    'Environment "deno" is in namespace "other"',
  ],
  [
    "CrossNamespaceReference",
    { package: { packageref: { namespace: "other", name: "pkg" } } },
    {},
    'Package "pkg" is in namespace "other"',
  ],
  [
    "CrossNamespaceReference",
    { secrets: [{ namespace: "other", name: "db" }] },
    {},
    'Secret "db" is in namespace "other": a function may refer to its own namespace "default" only',
  ],
  [
    "CrossNamespaceReference",
    { configmaps: [{ namespace: "other", name: "settings" }] },
    {},
    'ConfigMap "settings" is in namespace "other"',
  ],
  ["PackageMissing", { package: {} }, {}, "No package is named"],
  [
    "PackageNotFound",
    { package: { packageref: { namespace: "default", name: "nope" } } },
    {},
    'Package "nope" not found in namespace "default"',
  ],
  ["PackageBuilding", {}, withStatus({ buildstatus: "running" }), 'Package "pkg" is not built yet: running'],
  [
    "PackageBuilding",
    {},
    withStatus({
      ...PACKAGE.status,
      conditions: [
        {
          type: "Ready",
          status: "True",
          reason: "Deployable",
          message: "",
          lastTransitionTime: "",
          observedGeneration: 1,
        },
      ],
    }),
    'Package "pkg" is not built yet',
  ],
  [
    "BuildFailed",
    {},
    withStatus({
      conditions: [
        {
          type: "Ready",
          status: "False",
          reason: "BuildFailed",
          message: "a.ts:1:2: no",
          lastTransitionTime: "",
          observedGeneration: 2,
        },
      ],
    }),
    'Package "pkg" is not ready: a.ts:1:2: no',
  ],
  [
    "SecretNotFound",
    { secrets: [{ namespace: "default", name: "nope" }] },
    {},
    "kubectl create secret generic nope -n default",
  ],
  [
    "SecretNotFound",
    { env: [{ name: "A", valueFrom: { secretKeyRef: { name: "nope", key: "k" } } }] },
    {},
    'Secret "nope" not found',
  ],
  ["SecretNotFound", { envFrom: [{ secretRef: { name: "nope" } }] }, {}, 'Secret "nope" not found'],
  [
    "ConfigMapNotFound",
    { configmaps: [{ namespace: "default", name: "nope" }] },
    {},
    "kubectl create configmap nope -n default",
  ],
  ["ConfigMapNotFound", { envFrom: [{ configMapRef: { name: "nope" } }] }, {}, 'ConfigMap "nope" not found'],
  [
    "ReservedVariable",
    { env: [{ name: "FISSION_X", value: "1" }] },
    {},
    'Variable "FISSION_X" belongs to the platform',
  ],
  ["ReservedVariable", { env: [{ name: "ISOTOPE_POD_TOKEN", value: "1" }] }, {}, "belongs to the platform"],
  ["ReservedVariable", { env: [{ name: "NODE_OPTIONS", value: "1" }] }, {}, "belongs to the platform"],
  ["InvalidVariable", { env: [{ name: "1A", value: "1" }] }, {}, 'Variable "1A" is no name'],
  ["InvalidVariable", { env: [{ name: "A=B", value: "1" }] }, {}, 'Variable "A=B" is no name'],
  ["EnvNotSupported", { env: [{ name: "A", value: "1" }] }, foreignImage, "use newdeploy, give secrets"],
  [
    "EnvNotSupported",
    { envFrom: [{ secretRef: { name: "db" } }] },
    foreignImage,
    'runs image "fission/node-env"',
  ],
  ["SharedPods", { onceOnly: true }, sharedImage, "onceOnly: it would end the others' pod"],
  [
    "SharedPods",
    { InvokeStrategy: { ExecutionStrategy: { ExecutorType: "auto" } } },
    sharedImage,
    'executor type "auto": use poolmgr',
  ],
  [
    "SharedPods",
    { secrets: [{ namespace: "default", name: "db", mountPath: "a" }] },
    sharedImage,
    'mountPath "a" of "db"',
  ],
  [
    "ImageMissing",
    { InvokeStrategy: { ExecutionStrategy: { ExecutorType: "container" } } },
    {},
    "set spec.podspec.containers[0].image",
  ],
  [
    "PodSpecNotAllowed",
    {
      InvokeStrategy: { ExecutionStrategy: { ExecutorType: "container" } },
      podspec: { containers: [{ image: "web:1" }], hostNetwork: true },
    },
    {},
    "spec.podspec.hostNetwork is not allowed on function pods",
  ],
  [
    "PodSpecNotAllowed",
    {
      InvokeStrategy: { ExecutionStrategy: { ExecutorType: "newdeploy" } },
      podspec: { containers: [{ name: "runtime", command: ["/bin/sh"] }] },
    },
    {},
    "spec.podspec.containers[0].command is not allowed on function pods",
  ],
  [
    "PodSpecNotAllowed",
    {},
    {
      environment: () => ({
        ...ENVIRONMENT,
        spec: { ...ENVIRONMENT.spec, runtime: { image: "isotope/deno-env", podspec: { hostPID: true } } },
      }),
    },
    "spec.runtime.podspec.hostPID is not allowed on function pods",
  ],
])("blocked by %s: %j", (reason, spec, references, message) => {
  const resolution = resolve(spec, references);
  expect(resolution).toMatchObject({
    kind: "blocked",
    problem: { reason, message: expect.stringContaining(message) as string },
  });
  const { status } = nextFunctionStatus(FUNCTION, resolution, new Date());
  expect(status.serving).toBeUndefined();
  expect(status.conditions?.find(({ type }) => type === "Ready")).toMatchObject({
    status: "False",
    reason,
    observedGeneration: 7,
  });
});

test("a function whose calls are told to topics says whether these are written rightly, as long as it has any", () => {
  const told = (onSuccess: NonNullable<FunctionObject["spec"]["invocation"]>["onSuccess"]) => ({
    ...FUNCTION,
    spec: { ...FUNCTION.spec, invocation: { onSuccess } },
  });
  const conditionOf = (fn: FunctionObject) =>
    nextFunctionStatus(fn, resolve({}), new Date()).status.conditions?.find(
      ({ type }) => type === "DestinationsReady",
    );
  const kafka = { messageQueueType: "kafka" as const, topic: "done" };
  expect(conditionOf(told({ topic: kafka }))).toMatchObject({
    status: "False",
    reason: "InvalidDestination",
    message: expect.stringContaining(
      'spec.invocation.onSuccess.topic: metadata "bootstrapServers" is required: host:port',
    ) as string,
  });
  const right = told({ topic: { ...kafka, metadata: { bootstrapServers: "kafka:9092" } } });
  expect(conditionOf(right)).toMatchObject({ status: "True" });
  const { status } = nextFunctionStatus(right, resolve({}), new Date());
  expect(conditionOf({ ...FUNCTION, status })).toBeUndefined();
});

test("optional references may be missing, and appear in the revision when they come", () => {
  const spec = {
    env: [{ name: "A", valueFrom: { secretKeyRef: { name: "later", key: "k", optional: true } } }],
  };
  const without = resolve(spec);
  const withIt = resolve(spec, { secret: () => "99" });
  expect(without.kind).toBe("serving");
  expect(
    without.kind === "serving" &&
      withIt.kind === "serving" &&
      without.serving.revision !== withIt.serving.revision,
  ).toBe(true);
});

test("defaults of limits; auto is said; onceOnly means one request per pod", () => {
  const resolution = resolve({
    InvokeStrategy: { ExecutionStrategy: { ExecutorType: "auto" } },
    onceOnly: true,
    requestsPerPod: 1,
    functionTimeout: 0,
    idletimeout: 0,
  });
  expect(resolution).toMatchObject({
    serving: {
      generation: 7,
      executorType: "auto",
      limits: {
        concurrency: 500,
        requestsPerPod: 1,
        onceOnly: true,
        retainPods: 0,
        timeoutMs: 60_000,
        idleTimeoutMs: 0,
        specializationTimeoutMs: 120_000,
      },
    },
  });
});

test("property: the revision depends on the content, not on the order of keys or of references", () => {
  const secrets = ["a", "b", "c", "d"].map((name) => ({ namespace: "default", name }));
  const revision = (given: typeof secrets) => {
    const resolution = resolve({ secrets: given }, { secret: (name) => `v-${name}` });
    return resolution.kind === "serving" ? resolution.serving.revision : "";
  };
  assert(
    property(shuffledSubarray(secrets, { minLength: 4 }), (given) => revision(given) === revision(secrets)),
  );
  expect(canonicalJson({ b: 1, a: { d: undefined, c: 2 } })).toBe('{"a":{"c":2},"b":1}');
  const resolution = resolve({});
  if (resolution.kind !== "serving") throw new Error("blocked");
  const { revision: own, generation: _, ...content } = resolution.serving;
  expect(own).toBe(revisionOf(content));
  expect(own).toMatch(/^[0-9a-f]{16}$/);
  assert(
    property(constantFrom("functionName", "package", "limits", "env"), (field) => {
      const changed = {
        ...content,
        [field]:
          field === "functionName"
            ? "x"
            : field === "env"
              ? [{ name: "X", value: "" }]
              : { ...content[field], extra: 1 },
      };
      return revisionOf(changed) !== own;
    }),
  );
});

test.each([
  ["/a/{id", '"{" without "}"'],
  ["/a/id}", '"}" without "{"'],
  ["/a/{}", "is no name of a variable"],
  ["/a/{1x}", "is no name of a variable"],
  ["/a/{x}/{x}", 'variable "x" occurs twice'],
  ["/a/{x:}", "is empty"],
  ["/a/{x:(}", "is no regular expression"],
  ["/a/{x:(a)\\1}", "backreference or look-around"],
  ["/a/{x:(?=b)}", "backreference or look-around"],
])("template %s: %s", (path, why) => expect(templateProblem(path)).toContain(why));
test.each(["/", "/a/{id}", "/v{major}-{minor}", "/{rest:.*}", "/{y:[0-9]{4}}/x"])(
  "template %s is fine",
  (path) => expect(templateProblem(path)).toBeUndefined(),
);

const route = (spec: Partial<HTTPTrigger["spec"]>): HTTPTrigger => ({
  apiVersion: "fission.io/v1",
  kind: "HTTPTrigger",
  metadata: { name: "t", namespace: "default", creationTimestamp: "2026-01-01T00:00:00Z" },
  spec: { relativeurl: "/x", functionref: { type: "name", name: "hello" }, ...spec },
});
const weights = (functionweights: Record<string, number>): HTTPTrigger["spec"]["functionref"] => ({
  type: "function-weights",
  name: "",
  functionweights,
});
const version = (name: string): FunctionVersion => ({
  apiVersion: "fission.io/v1",
  kind: "FunctionVersion",
  metadata: { name, namespace: "default" },
  spec: {
    functionName: "hello",
    functionUID: "fn-uid",
    functionGeneration: 1,
    sequence: 1,
    snapshot: FUNCTION.spec,
    packageDigest: `sha256:${"a".repeat(64)}`,
    publishedAt: "2026-01-01T00:00:00Z",
  },
});
const alias = (spec: FunctionAlias["spec"]): FunctionAlias => ({
  apiVersion: "fission.io/v1",
  kind: "FunctionAlias",
  metadata: { name: "a", namespace: "default" },
  spec,
});
const ALIASES: Record<string, FunctionAlias> = {
  others: alias({ functionName: "other", version: "hello-v1" }),
  empty: alias({ functionName: "hello", version: "hello-v9" }),
};
const SURROUNDINGS = {
  findFunction: (name: string) => (name === "hello" ? FUNCTION : undefined),
  findAlias: (name: string) => ALIASES[name],
  findVersion: (name: string) => (name === "hello-v1" ? version(name) : undefined),
  findWorkflow: () => undefined,
  rivals: [],
};
test.each<[string, string, Partial<HTTPTrigger["spec"]>]>([
  ["False", "InvalidRouteTemplate", { relativeurl: "/a/{" }],
  ["False", "InvalidRouteTemplate", { relativeurl: "/a/../b" }],
  ["False", "InvalidRouteTemplate", { relativeurl: "/fission-function/x" }],
  ["False", "NoPath", { relativeurl: "" }],
  ["False", "InvalidCorsConfig", { corsConfig: { allowOrigins: ["*"], allowCredentials: true } }],
  ["False", "InvalidCorsConfig", { corsConfig: { maxAge: "soon" } }],
  ["False", "InvalidCorsConfig", { corsConfig: { allowOrigins: ["https://*.*.x"] } }],
  ["True", "AliasNotFound", { functionref: { type: "name", name: "hello", alias: "live" } }],
  ["True", "AliasNotFound", { functionref: { type: "name", name: "hello", alias: "others" } }],
  ["True", "AliasNotReady", { functionref: { type: "name", name: "hello", alias: "empty" } }],
  ["True", "VersionNotFound", { functionref: { type: "name", name: "hello", version: "hello-v9" } }],
  ["True", "VersionNotReady", { functionref: { type: "name", name: "hello", version: "hello-v1" } }],
  ["True", "NoWeights", { functionref: weights({ hello: 0 }) }],
  ["True", "FunctionNotFound", { functionref: weights({ nobody: 50, hello: 50 }) }],
  ["True", "FunctionNotFound", { functionref: { type: "name", name: "nobody" } }],
  ["True", "WorkflowNotFound", { functionref: { type: "workflow", name: "nobody" } }],
])("route admitted=%s ready=%s", (admitted, reason, spec) => {
  const [first, ready] = triggerConditions(route(spec), SURROUNDINGS);
  expect(first).toMatchObject({ type: "RouteAdmitted", status: admitted });
  expect(ready).toMatchObject({ type: "Ready", status: "False", reason });
});

test("a route whose calls are asynchronous is judged like any other", () => {
  const conditions = triggerConditions(route({ invocationMode: "async" }), SURROUNDINGS);
  expect(conditions).toEqual(triggerConditions(route({}), SURROUNDINGS));
});

test("archives: where they are, and what is wrong with them", () => {
  const literal = Buffer.from("hi").toString("base64");
  const slim = slimPackage({
    ...PACKAGE,
    spec: { ...PACKAGE.spec, deployment: { type: "literal", literal } },
    status: { buildlog: "long" },
  });
  expect(JSON.stringify(slim)).not.toContain("long");
  expect(locateArchive(slim.spec.deployment)).toMatchObject({ kind: "literal", sizeBytes: 2 });
  const digest = "b".repeat(64);
  const own = `http://storagesvc.fission/v1/archive?id=sha256:${digest}`;
  expect(locateArchive({ url: own })).toEqual({ kind: "stored", digest });
  expect(locateArchive({ url: "https://x.test/a.zip", checksum: { sum: digest.toUpperCase() } })).toEqual({
    kind: "remote",
    url: "https://x.test/a.zip",
    digest,
  });
  expect(locateArchive(undefined)).toEqual({ kind: "none" });
  expect(locateArchive({})).toEqual({ kind: "none" });
  expect(locateArchive({ type: "oci" })).toEqual({ kind: "oci" });
  for (const bad of [
    { type: "literal" as const },
    { type: "url" as const },
    { url: own, checksum: { sum: "c".repeat(64) } },
    { url: own, checksum: { type: "md5", sum: digest } },
    { url: own, checksum: { sum: "short" } },
  ]) {
    expect(locateArchive(bad).kind).toBe("invalid");
  }
});

test.each([
  "127.0.0.1",
  "10.1.2.3",
  "172.31.0.1",
  "192.168.1.1",
  "169.254.169.254",
  "100.64.0.1",
  "0.0.0.0",
  "224.0.0.1",
  "255.255.255.255",
  "::",
  "::1",
  "fc00::1",
  "fd12::1",
  "fe80::1",
  "ff02::1",
  "::ffff:127.0.0.1",
  "::ffff:10.0.0.1",
  "::127.0.0.1",
  "64:ff9b::7f00:1",
  "2002:7f00:1::",
  "::ffff:0:127.0.0.1",
  "not an address",
])("%s is no public address", (address) => expect(isPublicAddress(address)).toBe(false));
test.each(["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"])(
  "%s is public",
  (address) => expect(isPublicAddress(address)).toBe(true),
);

test("hosts that are addresses are judged at once, names at the time of connecting", () => {
  expect(isAllowedHost("[::1]", new Set())).toBe(false);
  expect(isAllowedHost("127.0.0.1", new Set(["127.0.0.1"]))).toBe(true);
  expect(isAllowedHost("example.test", new Set())).toBe(true);
});

test.each([
  ["file:///etc/passwd", "must be an http or https URL"],
  ["http://127.0.0.1:1/x", "points to a private address"],
  ["http://2130706433/x", "points to a private address"],
  ["http://0x7f.1/x", "points to a private address"],
  ["http://[::ffff:127.0.0.1]/x", "points to a private address"],
  ["http://user:secret@example.test/", "must not hold credentials"],
  ["http://localhost:1/x", 'host "localhost" has no public address'],
  ["nonsense", "is not a URL"],
])("download of %s: %s", async (url, why) => {
  const options = { maxBytes: 100, timeoutMs: 3_000, allowedHosts: [] };
  const error = await downloadArchive(url, options).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(DownloadError);
  expect(error instanceof Error && error.message).toContain(why);
  expect(error instanceof Error && error.message).not.toContain("secret");
});

test("a container function needs neither environment nor package", () => {
  const resolution = resolve(
    {
      InvokeStrategy: { ExecutionStrategy: { ExecutorType: "container", MinScale: 1, MaxScale: 4 } },
      environment: { namespace: "default" },
      package: {},
      podspec: { containers: [{ image: "web:1", ports: [{ containerPort: 8080 }] }] },
    },
    {},
  );
  expect(resolution).toMatchObject({
    kind: "serving",
    package: { status: "True" },
    serving: {
      executorType: "container",
      environment: { name: "", image: "web:1" },
      limits: { requestsPerPod: 1_000 },
      scale: {
        minPods: 1,
        maxPods: 4,
        metrics: [{ type: "Resource", resource: { name: "cpu", target: { averageUtilization: 80 } } }],
      },
      pod: { port: 8080 },
    },
  });
});

test("other numbers of pods make no new revision, other resources of a newdeploy function do", () => {
  const of = (strategy: object, resources?: object) => {
    const resolution = resolve(
      {
        InvokeStrategy: { ExecutionStrategy: { ExecutorType: "newdeploy", MaxScale: 3, ...strategy } },
        ...(resources ? { resources } : {}),
      },
      {},
    );
    if (resolution.kind === "blocked") throw new Error(resolution.problem.message);
    return resolution.serving;
  };
  expect(of({ MinScale: 1 }).revision).toBe(of({ MinScale: 2 }).revision);
  expect(of({ TargetCPUPercent: 50 }).revision).toBe(of({}).revision);
  expect(of({ TargetCPUPercent: 50 }).scale?.metrics).toMatchObject([
    { resource: { target: { averageUtilization: 50 } } },
  ]);
  expect(of({}, { limits: { memory: "64Mi" } }).revision).not.toBe(of({}).revision);
});

test("a function of a foreign image serves, and its revision says how its pods are had", () => {
  const foreign = (spec: Partial<Environment["spec"]>) => ({
    environment: () => ({
      ...ENVIRONMENT,
      spec: { ...ENVIRONMENT.spec, version: 3 as const, runtime: { image: "python-env" }, ...spec },
    }),
  });
  const environmentOf = (spec: Partial<Environment["spec"]>) => {
    const resolution = resolve({}, foreign(spec));
    return resolution.kind === "serving" ? resolution.serving.environment : resolution.problem;
  };
  expect(environmentOf({})).toMatchObject({ contract: "sidecar", image: "python-env" });
  expect(environmentOf({ keeparchive: true, allowedFunctionsPerContainer: "infinite" })).toMatchObject({
    keepArchive: true,
    shared: true,
  });
});
