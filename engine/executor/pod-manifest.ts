import { createHash, randomBytes } from "node:crypto";
import {
  API_GROUP_VERSION,
  FUNCTION_PORT,
  LABEL_COMPONENT,
  LABEL_ENVIRONMENT,
  LABEL_ENVIRONMENT_UID,
  LABEL_MANAGED_BY,
  LABEL_POD_STATE,
  MANAGED_BY,
} from "../../api/names.ts";
import { POD_ENV } from "../../api/wire/pod.ts";
import type { KubeEnvironment, PodManifest } from "./cluster.ts";
import {
  FETCHER_CONTAINER,
  FOREIGN_LABELS,
  foreignContainers,
  type RuntimeContainer,
} from "./foreign-containers.ts";

/** Fingerprint of the template that a pod was made from; a pod with another one than its Environment's is replaced. */
export const LABEL_TEMPLATE = "isotope.dev/pod-template";
/** On pods that a ReplicaSet or a Deployment made: `replicaset/<name>` or `deployment/<name>`. Pods that were taken over do not have it. */
export const ANNOTATION_MADE_BY = "isotope.dev/made-by";
/** On pods of container functions: the port that takes requests. */
export const ANNOTATION_PORT = "isotope.dev/port";
/** Value of LABEL_COMPONENT on the executor's pods. */
export const COMPONENT = "executor";
export const CONTAINER_NAME = "runtime";

/** Fields of `runtime.podspec` that a user may set; all others could reach the node or another tenant. */
const POD_FIELDS = [
  "affinity",
  "nodeSelector",
  "priorityClassName",
  "runtimeClassName",
  "tolerations",
  "topologySpreadConstraints",
] as const;
const CONTAINER_FIELDS = ["imagePullPolicy"] as const;
const RESERVED_ENV = /^(ISOTOPE_|DENO_|LD_|NODE_OPTIONS$)/;
const DEFAULT_GRACE_SECONDS = 90;
/** What a pod needs of its grace period after its last request has ended or was given up. */
const EXIT_SECONDS = 5;
/** Share of the memory limit that JavaScript's heap may fill; the rest is the process's own and its buffers. */
const HEAP_SHARE = 0.75;

export interface PodTemplate {
  /** Fingerprint of `spec`. */
  readonly hash: string;
  readonly spec: Record<string, unknown>;
  /** Labels of its pods beyond those of all pods. */
  readonly labels: Readonly<Record<string, string>>;
  readonly image: string;
  /** Paths of the Environment's fields that were left out because they are not allowed. */
  readonly ignored: readonly string[];
}

type Fields = Readonly<Record<string, unknown>>;
const isFields = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const fieldsOf = (value: unknown): Fields => (isFields(value) ? value : {});
const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

/** Pod template of an Environment: restricted, without credentials, with what the user may set merged in by an allow-list. */
export function podTemplate(environment: KubeEnvironment): PodTemplate {
  const { spec } = environment;
  const ignored: string[] = [];
  const podspec = fieldsOf(spec.runtime.podspec);
  const extra = pick(podspec, POD_FIELDS, "runtime.podspec", ignored, ["containers", "imagePullSecrets"]);
  const containers = [
    { fields: fieldsOf(spec.runtime.container), path: "runtime.container" },
    { fields: fieldsOf(listOf(podspec["containers"])[0]), path: "runtime.podspec.containers[0]" },
  ];
  for (let index = 1; index < listOf(podspec["containers"]).length; index += 1)
    ignored.push(`runtime.podspec.containers[${index}]`);
  let container: Fields = {};
  let env: Fields[] = [];
  let resources = spec.resources;
  for (const { fields, path } of containers) {
    container = {
      ...container,
      ...pick(fields, CONTAINER_FIELDS, path, ignored, ["env", "resources", "name", "image"]),
    };
    env = [...env, ...allowedEnv(fields["env"], path, ignored)];
    resources = fields["resources"] ?? resources;
  }
  const pullSecrets = [
    ...(spec.imagepullsecret ? [{ name: spec.imagepullsecret }] : []),
    ...listOf(podspec["imagePullSecrets"]),
  ];
  const runtime = {
    name: CONTAINER_NAME,
    image: spec.runtime.image,
    fields: container,
    env,
    resources: withDefaultResources(resources),
  };
  const graceSeconds = spec.terminationGracePeriod ?? DEFAULT_GRACE_SECONDS;
  const built = {
    ...extra,
    restartPolicy: "Never",
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    terminationGracePeriodSeconds: graceSeconds,
    securityContext: {
      runAsNonRoot: true,
      runAsUser: 65532,
      runAsGroup: 65532,
      fsGroup: 65532,
      seccompProfile: { type: "RuntimeDefault" },
    },
    ...(pullSecrets.length > 0 ? { imagePullSecrets: pullSecrets } : {}),
    ...(spec.sidecar
      ? foreignContainers(runtime, spec.sidecar, spec.version)
      : ownContainer(graceSeconds, runtime)),
  };
  const hash = createHash("sha256").update(JSON.stringify(built)).digest("hex").slice(0, 16);
  return {
    hash,
    spec: built,
    labels: spec.sidecar ? FOREIGN_LABELS : {},
    image: spec.runtime.image,
    ignored,
  };
}

/** What a pod may write: its own code and files, secrets in memory only, and that its function prints. */
const OWN_VOLUMES = [
  { name: "tmp", mountPath: "/tmp", emptyDir: { sizeLimit: "512Mi" } },
  { name: "userfunc", mountPath: "/userfunc", emptyDir: { sizeLimit: "512Mi" } },
  { name: "secrets", mountPath: "/secrets", emptyDir: { medium: "Memory", sizeLimit: "16Mi" } },
  { name: "configs", mountPath: "/configs", emptyDir: { sizeLimit: "64Mi" } },
];

/** Volumes and the one container of a pod of our own runtime, which is specialised directly. */
function ownContainer(
  graceSeconds: number,
  { name, image, fields, env, resources }: RuntimeContainer,
): Fields {
  const drainMs = Math.max(Math.floor(graceSeconds * 900), (graceSeconds - EXIT_SECONDS) * 1000);
  const heap = heapFlag(resources);
  return {
    volumes: OWN_VOLUMES.map(({ name: volume, emptyDir }) => ({ name: volume, emptyDir })),
    containers: [
      {
        ...fields,
        name,
        image,
        ports: [{ name: "http", containerPort: FUNCTION_PORT }],
        env: [
          ...env,
          ...(heap === undefined ? [] : [{ name: "DENO_V8_FLAGS", value: heap }]),
          { name: POD_ENV.drainMs, value: String(drainMs) },
          ...IDENTITY_ENV,
        ],
        resources,
        volumeMounts: OWN_VOLUMES.map(({ name: volume, mountPath }) => ({ name: volume, mountPath })),
        // A pod is ready some hundred milliseconds after its start; the first look may come just before.
        startupProbe: { httpGet: HEALTH, periodSeconds: 1, timeoutSeconds: 2, failureThreshold: 60 },
        readinessProbe: { httpGet: HEALTH, periodSeconds: 5, timeoutSeconds: 2, failureThreshold: 3 },
        securityContext: {
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ["ALL"] },
        },
      },
    ],
  };
}

const HEALTH = { path: "/_isotope/healthz", port: FUNCTION_PORT };

/** What a pod gets when nobody says; a warm pod takes some 60 MB. */
const DEFAULT_REQUESTS = { cpu: "10m", memory: "64Mi", "ephemeral-storage": "32Mi" };
const DEFAULT_LIMITS = { memory: "512Mi", "ephemeral-storage": "1Gi" };

/** Fills in what is not said. Who says anything about memory says all of it: a limit must not be under the request. */
function withDefaultResources(given: unknown): Fields {
  const { requests, limits, ...rest } = fieldsOf(given);
  const said = (name: string): boolean => name in fieldsOf(requests) || name in fieldsOf(limits);
  const filled = (defaults: Fields): Fields =>
    Object.fromEntries(Object.entries(defaults).filter(([name]) => !said(name)));
  return {
    ...rest,
    requests: { ...filled(DEFAULT_REQUESTS), ...fieldsOf(requests) },
    limits: { ...filled(DEFAULT_LIMITS), ...fieldsOf(limits) },
  };
}

const IDENTITY_ENV = [
  { name: POD_ENV.podUid, valueFrom: { fieldRef: { fieldPath: "metadata.uid" } } },
  { name: POD_ENV.podName, valueFrom: { fieldRef: { fieldPath: "metadata.name" } } },
  { name: POD_ENV.namespace, valueFrom: { fieldRef: { fieldPath: "metadata.namespace" } } },
];

/** Name of a new pod: the Environment's, shortened, and ten random letters. */
export const podName = (environment: string): string =>
  `${environment
    .slice(0, 40)
    .replace(/[^a-z0-9-]/g, "-")
    .replace(/-+$/, "")}-${randomBytes(5).toString("hex")}`;

/** One pod of the template. `token` is what its control calls must bear. */
export function podManifest(
  environment: KubeEnvironment,
  template: PodTemplate,
  name: string,
  token: string,
): PodManifest {
  const { metadata } = environment;
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name,
      namespace: metadata.namespace,
      labels: {
        [LABEL_MANAGED_BY]: MANAGED_BY,
        [LABEL_COMPONENT]: COMPONENT,
        [LABEL_ENVIRONMENT]: metadata.name,
        [LABEL_ENVIRONMENT_UID]: metadata.uid,
        [LABEL_POD_STATE]: "generic",
        [LABEL_TEMPLATE]: template.hash,
        ...template.labels,
      },
      ownerReferences: [
        {
          apiVersion: API_GROUP_VERSION,
          kind: "Environment",
          name: metadata.name,
          uid: metadata.uid,
          controller: true,
        },
      ],
    },
    spec: withToken(template.spec, token),
  };
}

/**
 * The token is each pod's or each ReplicaSet's own, so it is no part of the template. Of several containers the fetcher alone gets it: the
 * other one runs what the platform does not know.
 */
export function withToken(spec: Record<string, unknown>, token: string): Record<string, unknown> {
  const given = listOf(spec["containers"]).map(fieldsOf);
  const containers = given.map((container) => {
    if (given.length > 1 && container["name"] !== FETCHER_CONTAINER) return container;
    return { ...container, env: [...listOf(container["env"]), { name: POD_ENV.token, value: token }] };
  });
  return { ...spec, containers };
}

function pick(
  from: Fields,
  allowed: readonly string[],
  path: string,
  ignored: string[],
  handledElsewhere: readonly string[],
): Fields {
  const result: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(from)) {
    if (allowed.includes(name)) result[name] = value;
    else if (!handledElsewhere.includes(name)) ignored.push(`${path}.${name}`);
  }
  return result;
}

function allowedEnv(value: unknown, path: string, ignored: string[]): Fields[] {
  const result: Fields[] = [];
  for (const entry of listOf(value)) {
    const fields = fieldsOf(entry);
    const name = fields["name"];
    if (typeof name !== "string" || RESERVED_ENV.test(name)) ignored.push(`${path}.env[${String(name)}]`);
    else result.push(fields);
  }
  return result;
}

const UNITS: Readonly<Record<string, number>> = {
  "": 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
};

/** V8's flag that keeps the heap inside the container's memory limit; undefined when there is no limit. */
function heapFlag(resources: unknown): string | undefined {
  const limit = fieldsOf(fieldsOf(resources)["limits"])["memory"];
  const match = /^(\d+(?:\.\d+)?)(k|M|G|T|Ki|Mi|Gi|Ti)?$/.exec(
    typeof limit === "string" || typeof limit === "number" ? String(limit) : "",
  );
  if (!match) return undefined;
  const bytes = Number(match[1]) * (UNITS[match[2] ?? ""] ?? 1);
  return `--max-old-space-size=${Math.max(16, Math.floor((bytes * HEAP_SHARE) / 2 ** 20))}`;
}
