import {
  type Environment,
  FUNCTION_DEFAULTS,
  type Function as FunctionObject,
  type FunctionSpec,
  type Package,
  RESERVED_ENV_NAMES,
  RESERVED_ENV_PREFIXES,
  type Serving,
} from "../../api/kinds/index.ts";
import { type ConditionUpdate, findCondition } from "../../kube/conditions.ts";
import { contractOf, functionContractProblem } from "./contract.ts";
import { executorType, isDeployed, podNotes, podOf, podProblem, runtimeProblem, scaleOf } from "./pods.ts";
import { type RevisionContent, revisionOf } from "./revision.ts";

/** What a function refers to, looked up in the function's own namespace. */
export interface References {
  readonly environment: (name: string) => Environment | undefined;
  readonly package: (name: string) => Package | undefined;
  /** The archive that a published version holds on to, whatever its Package has become. */
  readonly pinnedArchive?: Pick<Serving["package"], "digest" | "sizeBytes">;
  /** The resourceVersion. */
  readonly secret: (name: string) => string | undefined;
  readonly configMap: (name: string) => string | undefined;
}

/** Why a function cannot serve (or cannot take up its newest state), for its conditions. */
export interface Problem {
  reason: string;
  message: string;
}

export type Resolution =
  | { kind: "serving"; serving: Omit<Serving, "since">; package: ConditionUpdate; notes: string[] }
  | { kind: "blocked"; problem: Problem; package: ConditionUpdate };

/** Finds everything that a function needs; says the first thing that is missing otherwise. Pure. */
export function resolveFunction(fn: FunctionObject, references: References): Resolution {
  const isContainer = executorType(fn.spec) === "container";
  const pkg = isContainer ? NO_PACKAGE : resolvePackage(fn, references);
  const environment = isContainer ? undefined : references.environment(fn.spec.environment.name ?? "");
  const problem =
    crossNamespace(fn) ??
    podProblem(fn.spec) ??
    (isContainer ? undefined : environmentProblem(fn, environment)) ??
    (pkg.kind === "blocked" ? pkg.problem : undefined) ??
    referenceProblem(fn, references) ??
    variableProblem(fn.spec);
  if (problem || pkg.kind === "blocked") {
    return { kind: "blocked", problem: problem ?? missingEnvironment(fn), package: pkg.condition };
  }
  const content = contentOf(fn, environment, pkg.content, references);
  return {
    kind: "serving",
    serving: { revision: revisionOf(content), generation: fn.metadata.generation ?? 0, ...content },
    package: pkg.condition,
    notes: [...notesOf(fn.spec), ...podNotes(fn.spec)],
  };
}

/** A container function brings its code in its image. */
const NO_PACKAGE: PackageResolution = {
  kind: "found",
  content: { name: "", digest: "", sizeBytes: 0 },
  condition: {
    type: "PackageReady",
    status: "True",
    reason: "NotNeeded",
    message: "The image holds the code",
  },
};

type PackageResolution =
  | { kind: "found"; content: Serving["package"]; condition: ConditionUpdate }
  | { kind: "blocked"; problem: Problem; condition: ConditionUpdate };

function resolvePackage(fn: FunctionObject, references: References): PackageResolution {
  const { pinnedArchive } = references;
  if (pinnedArchive) {
    const content = { name: fn.spec.package.packageref?.name ?? "", ...pinnedArchive };
    const message = "The version holds its archive";
    return {
      kind: "found",
      content,
      condition: { type: "PackageReady", status: "True", reason: "Pinned", message },
    };
  }
  const blocked = (reason: string, message: string): PackageResolution => ({
    kind: "blocked",
    problem: { reason, message },
    condition: { type: "PackageReady", status: "False", reason, message },
  });
  const name = fn.spec.package.packageref?.name;
  if (!name) {
    return blocked(
      "PackageMissing",
      "No package is named: set spec.package.packageref, or deploy with isotope deploy",
    );
  }
  const pkg = references.package(name);
  if (!pkg) {
    return blocked(
      "PackageNotFound",
      `Package "${name}" not found in namespace "${namespaceOf(fn)}": create it with isotope pkg create --name ${name}`,
    );
  }
  const ready = findCondition(pkg.status?.conditions, "Ready");
  const current = ready?.observedGeneration === pkg.metadata.generation;
  const digest = pkg.status?.contentHash;
  if (!ready || !current || ready.status !== "True" || !digest) return packageNotReady(pkg, blocked);
  return {
    kind: "found",
    content: { name, digest, sizeBytes: pkg.status?.sizeBytes ?? 0 },
    condition: {
      type: "PackageReady",
      status: "True",
      reason: "PackageReady",
      message: `Package "${name}" is ready`,
    },
  };
}

function packageNotReady(
  pkg: Package,
  blocked: (reason: string, message: string) => PackageResolution,
): PackageResolution {
  const name = pkg.metadata.name;
  const ready = findCondition(pkg.status?.conditions, "Ready");
  if (
    ready?.status === "False" &&
    ready.observedGeneration === pkg.metadata.generation &&
    ready.reason !== "Building"
  ) {
    return blocked(ready.reason, `Package "${name}" is not ready: ${ready.message}`);
  }
  return blocked(
    "PackageBuilding",
    `Package "${name}" is not built yet: ${pkg.status?.buildstatus || "pending"}`,
  );
}

function namespaceOf(fn: FunctionObject): string {
  return fn.metadata.namespace ?? "default";
}

/** References across namespaces would let one tenant read another's code and secrets; admission refuses them, and so do we. */
function crossNamespace(fn: FunctionObject): Problem | undefined {
  const own = namespaceOf(fn);
  const { environment, package: pkg, secrets, configmaps } = fn.spec;
  const references = [
    { what: "Environment", name: environment.name, namespace: environment.namespace },
    { what: "Package", name: pkg.packageref?.name, namespace: pkg.packageref?.namespace },
    ...(secrets ?? []).map((ref) => ({ what: "Secret", ...ref })),
    ...(configmaps ?? []).map((ref) => ({ what: "ConfigMap", ...ref })),
  ];
  const foreign = references.find((ref) => ref.namespace && ref.namespace !== own);
  if (!foreign) return undefined;
  return {
    reason: "CrossNamespaceReference",
    message: `${foreign.what} "${foreign.name ?? ""}" is in namespace "${foreign.namespace ?? ""}": a function may refer to its own namespace "${own}" only`,
  };
}

function missingEnvironment(fn: FunctionObject): Problem {
  const name = fn.spec.environment.name ?? "";
  if (name === "") {
    return { reason: "EnvironmentNotFound", message: "No environment is named: set spec.environment.name" };
  }
  return {
    reason: "EnvironmentNotFound",
    message: `Environment "${name}" not found in namespace "${namespaceOf(fn)}": create it with isotope env create --name ${name} --image isotope/deno-env`,
  };
}

function environmentProblem(fn: FunctionObject, environment: Environment | undefined): Problem | undefined {
  if (!environment) return missingEnvironment(fn);
  return functionContractProblem(fn.spec, environment) ?? runtimeProblem(environment);
}

function referenceProblem(fn: FunctionObject, references: References): Problem | undefined {
  const wanted = dataReferences(fn.spec);
  const namespace = namespaceOf(fn);
  for (const { name, optional } of wanted.secrets) {
    if (optional || references.secret(name) !== undefined) continue;
    return {
      reason: "SecretNotFound",
      message: `Secret "${name}" not found in namespace "${namespace}": create it with kubectl create secret generic ${name} -n ${namespace} --from-literal=KEY=VALUE`,
    };
  }
  for (const { name, optional } of wanted.configMaps) {
    if (optional || references.configMap(name) !== undefined) continue;
    return {
      reason: "ConfigMapNotFound",
      message: `ConfigMap "${name}" not found in namespace "${namespace}": create it with kubectl create configmap ${name} -n ${namespace} --from-literal=KEY=VALUE`,
    };
  }
  return undefined;
}

interface DataReference {
  name: string;
  mountPath?: string | undefined;
  mounted: boolean;
  optional: boolean;
}

/** Every secret and config map of a spec once: as files, as single variables or as a whole set of variables. */
export function dataReferences(spec: FunctionSpec): {
  secrets: DataReference[];
  configMaps: DataReference[];
} {
  const secrets = new Map<string, DataReference>();
  const configMaps = new Map<string, DataReference>();
  const add = (map: Map<string, DataReference>, reference: DataReference) => {
    const old = map.get(reference.name);
    map.set(reference.name, {
      name: reference.name,
      mounted: reference.mounted || (old?.mounted ?? false),
      mountPath: reference.mountPath ?? old?.mountPath,
      optional: reference.optional && (old?.optional ?? true),
    });
  };
  for (const { name, mountPath } of spec.secrets ?? [])
    add(secrets, { name, mountPath, mounted: true, optional: false });
  for (const { name, mountPath } of spec.configmaps ?? []) {
    add(configMaps, { name, mountPath, mounted: true, optional: false });
  }
  const asVariable = (ref: { name: string; optional?: boolean | undefined }): DataReference => ({
    name: ref.name,
    mounted: false,
    optional: ref.optional ?? false,
  });
  for (const { valueFrom } of spec.env ?? []) {
    if (valueFrom?.secretKeyRef) add(secrets, asVariable(valueFrom.secretKeyRef));
    if (valueFrom?.configMapKeyRef) add(configMaps, asVariable(valueFrom.configMapKeyRef));
  }
  for (const { secretRef, configMapRef } of spec.envFrom ?? []) {
    if (secretRef) add(secrets, asVariable(secretRef));
    if (configMapRef) add(configMaps, asVariable(configMapRef));
  }
  return { secrets: [...secrets.values()], configMaps: [...configMaps.values()] };
}

const VARIABLE_NAME = /^[-._a-zA-Z][-._a-zA-Z0-9]*$/;

function variableProblem(spec: FunctionSpec): Problem | undefined {
  for (const { name } of spec.env ?? []) {
    const reserved =
      RESERVED_ENV_NAMES.some((taken) => taken === name) ||
      RESERVED_ENV_PREFIXES.some((prefix) => name.startsWith(prefix));
    if (reserved) {
      return {
        reason: "ReservedVariable",
        message: `Variable "${name}" belongs to the platform: choose another name (reserved: ${[...RESERVED_ENV_PREFIXES.map((p) => `${p}*`), ...RESERVED_ENV_NAMES].join(", ")})`,
      };
    }
    if (!VARIABLE_NAME.test(name)) {
      return {
        reason: "InvalidVariable",
        message: `Variable "${name}" is no name of an environment variable: allowed are letters, digits, "_", "-" and ".", not starting with a digit`,
      };
    }
  }
  return undefined;
}

function contentOf(
  fn: FunctionObject,
  environment: Environment | undefined,
  pkg: Serving["package"],
  references: References,
): RevisionContent {
  const { spec } = fn;
  const namespace = namespaceOf(fn);
  const wanted = dataReferences(spec);
  const scale = scaleOf(spec);
  const pod = podOf(spec);
  const refsOf = (list: DataReference[], versionOf: (name: string) => string | undefined) =>
    list
      .toSorted((a, b) => (a.name < b.name ? -1 : 1))
      .map(({ name, mountPath, mounted }) => ({
        namespace,
        name,
        ...(mountPath ? { mountPath } : {}),
        resourceVersion: versionOf(name) ?? "",
        ...(mounted ? {} : { mounted }),
      }));
  return {
    package: pkg,
    functionName: spec.package.functionName ?? "",
    environment: {
      name: environment?.metadata.name ?? "",
      uid: environment?.metadata.uid ?? "",
      image: environment?.spec.runtime.image ?? spec.podspec?.containers?.[0]?.image ?? "",
      version: environment?.spec.version ?? NEWEST_CONTRACT,
      ...(environment ? contractOf(environment) : { contract: "reference" as const }),
    },
    executorType: executorType(spec),
    env: (spec.env ?? []).map(({ name, value, valueFrom }) => ({
      name,
      ...(valueFrom?.secretKeyRef
        ? { secret: valueFrom.secretKeyRef }
        : valueFrom?.configMapKeyRef
          ? { configMap: valueFrom.configMapKeyRef }
          : { value: value ?? "" }),
    })),
    envFrom: (spec.envFrom ?? []).map(({ prefix, secretRef, configMapRef }) => ({
      ...(prefix ? { prefix } : {}),
      ...(secretRef ? { secret: secretRef } : {}),
      ...(configMapRef ? { configMap: configMapRef } : {}),
    })),
    secrets: refsOf(wanted.secrets, references.secret),
    configMaps: refsOf(wanted.configMaps, references.configMap),
    limits: limitsOf(spec),
    ...(scale ? { scale } : {}),
    ...(pod ? { pod } : {}),
  };
}

const NEWEST_CONTRACT = 3;
/** Of a Deployment `scale` alone says how many pods it may have, so that another number is no new revision. */
const MOST_PODS = 100_000;

const STREAM_IDLE_DEFAULT_S = 60;

/** A server of its own takes as many requests as come, unless the function says otherwise. */
const defaultRequestsPerPod = (spec: FunctionSpec): number =>
  isDeployed(spec) ? FUNCTION_DEFAULTS.requestsPerDeployedPod : FUNCTION_DEFAULTS.requestsPerPod;

function limitsOf(spec: FunctionSpec): Serving["limits"] {
  const strategy = spec.InvokeStrategy.ExecutionStrategy;
  const onceOnly = !isDeployed(spec) && (spec.onceOnly ?? false);
  return {
    concurrency: isDeployed(spec) ? MOST_PODS : spec.concurrency || FUNCTION_DEFAULTS.concurrency,
    requestsPerPod: onceOnly ? 1 : spec.requestsPerPod || defaultRequestsPerPod(spec),
    onceOnly,
    retainPods: spec.retainPods ?? 0,
    timeoutMs: (spec.functionTimeout || FUNCTION_DEFAULTS.functionTimeoutS) * 1000,
    idleTimeoutMs: (spec.idletimeout ?? FUNCTION_DEFAULTS.idleTimeoutS) * 1000,
    specializationTimeoutMs:
      (strategy?.SpecializationTimeout || FUNCTION_DEFAULTS.specializationTimeoutS) * 1000,
    maxBodyBytes: spec.streaming ? FUNCTION_DEFAULTS.streamingMaxBodyBytes : FUNCTION_DEFAULTS.maxBodyBytes,
    ...(spec.streaming
      ? {
          streaming: {
            idleTimeoutMs: (spec.streaming.idleTimeoutSeconds || STREAM_IDLE_DEFAULT_S) * 1000,
            maxDurationMs: (spec.streaming.maxDurationSeconds ?? 0) * 1000,
          },
        }
      : {}),
  };
}

/** What is accepted but has no effect yet, so that nobody waits for it. */
function notesOf(spec: FunctionSpec): string[] {
  const later: [unknown, string][] = [
    [spec.provisionedConcurrency, "provisionedConcurrency"],
    [spec.tool, "tool"],
    [spec.state, "state"],
  ];
  return later
    .filter(([value]) => value !== undefined)
    .map(([, name]) => `spec.${name} has no effect in this release`);
}
