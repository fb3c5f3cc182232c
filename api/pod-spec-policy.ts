/**
 * Which fields of a pod a user may set, for each place where one can be given. Everything else could reach the node, the control plane or
 * another tenant, or would undo what the platform sets, and is refused by name: at admission where the schema can say it, and again by
 * the controller and the executor, because admission may have been another version's.
 */
export type PodSpecUse =
  /** The image is the user's own: any HTTP server (`podspec` of a container function). */
  | "container"
  /** The pod runs an environment's image (`runtime.podspec`, `runtime.container`, and `podspec` of a newdeploy function). */
  | "runtime";

type Check = (value: unknown, path: string, problems: string[]) => void;
type Fields = Readonly<Record<string, unknown>>;

const isFields = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const anything: Check = () => undefined;

/** An object with these fields only; `null` and absent are the same. */
function fields(allowed: Readonly<Record<string, Check>>): Check {
  const names = Object.keys(allowed).toSorted().join(", ");
  return (value, path, problems) => {
    if (!isFields(value)) {
      problems.push(`${path} must be an object`);
      return;
    }
    for (const [name, given] of Object.entries(value)) {
      if (given === null || given === undefined) continue;
      const check = Object.hasOwn(allowed, name) ? allowed[name] : undefined;
      if (check) check(given, `${path}.${name}`, problems);
      else problems.push(`${path}.${name} is not allowed on function pods: allowed are ${names}`);
    }
  };
}

function listOf(check: Check): Check {
  return (value, path, problems) => {
    if (!Array.isArray(value)) {
      problems.push(`${path} must be a list`);
      return;
    }
    value.forEach((item, index) => check(item, `${path}[${index}]`, problems));
  };
}

function only(...allowed: readonly unknown[]): Check {
  const words = allowed.map((value) => JSON.stringify(value)).join(" or ");
  return (value, path, problems) => {
    if (!allowed.includes(value))
      problems.push(`${path} must be ${words} on function pods, got ${JSON.stringify(value)}`);
  };
}

const notRoot: Check = (value, path, problems) => {
  if (value === 0) problems.push(`${path} must not be 0 on function pods: nothing runs as root`);
};

const seccomp = fields({ type: only("RuntimeDefault") });
const containerSecurity = fields({
  allowPrivilegeEscalation: only(false),
  capabilities: fields({ add: listOf(only("NET_BIND_SERVICE")), drop: anything }),
  privileged: only(false),
  readOnlyRootFilesystem: anything,
  runAsGroup: notRoot,
  runAsNonRoot: only(true),
  runAsUser: notRoot,
  seccompProfile: seccomp,
});
const podSecurity = fields({
  fsGroup: anything,
  fsGroupChangePolicy: anything,
  runAsGroup: notRoot,
  runAsNonRoot: only(true),
  runAsUser: notRoot,
  seccompProfile: seccomp,
  supplementalGroups: anything,
});
const volume = fields({
  name: anything,
  configMap: anything,
  downwardAPI: anything,
  emptyDir: anything,
  ephemeral: anything,
  persistentVolumeClaim: anything,
  projected: fields({
    defaultMode: anything,
    sources: listOf(fields({ configMap: anything, downwardAPI: anything, secret: anything })),
  }),
  secret: anything,
});
const port = fields({ containerPort: anything, name: anything, protocol: anything });
const mount = fields({ mountPath: anything, name: anything, readOnly: anything, subPath: anything });

const CONTAINER = {
  args: anything,
  command: anything,
  env: anything,
  envFrom: anything,
  image: anything,
  imagePullPolicy: anything,
  lifecycle: anything,
  livenessProbe: anything,
  name: anything,
  ports: listOf(port),
  readinessProbe: anything,
  resources: anything,
  securityContext: containerSecurity,
  startupProbe: anything,
  terminationMessagePath: anything,
  terminationMessagePolicy: anything,
  volumeMounts: listOf(mount),
  workingDir: anything,
};
/** What a user may set anywhere. */
const POD = {
  affinity: anything,
  automountServiceAccountToken: only(false),
  enableServiceLinks: only(false),
  imagePullSecrets: anything,
  nodeSelector: anything,
  priorityClassName: anything,
  runtimeClassName: anything,
  tolerations: anything,
  topologySpreadConstraints: anything,
};
const runtimeContainer = fields({
  env: anything,
  image: anything,
  imagePullPolicy: anything,
  name: anything,
  resources: anything,
});

const POD_SPECS: Readonly<Record<PodSpecUse, Check>> = {
  container: fields({
    ...POD,
    containers: listOf(fields(CONTAINER)),
    dnsConfig: anything,
    dnsPolicy: anything,
    hostAliases: anything,
    initContainers: listOf(fields({ ...CONTAINER, restartPolicy: anything })),
    restartPolicy: only("Always"),
    securityContext: podSecurity,
    terminationGracePeriodSeconds: anything,
    volumes: listOf(volume),
  }),
  runtime: fields({ ...POD, containers: listOf(runtimeContainer) }),
};

/** What is wrong with a pod spec that a user gave; each sentence names the field. `path`: where it stands, e.g. `spec.podspec`. */
export function podSpecProblems(podspec: unknown, use: PodSpecUse, path: string): string[] {
  const problems: string[] = [];
  if (podspec !== undefined && podspec !== null) POD_SPECS[use](podspec, path, problems);
  return problems;
}

/** The same for a single container of an environment's runtime. */
export function runtimeContainerProblems(container: unknown, path: string): string[] {
  const problems: string[] = [];
  if (container !== undefined && container !== null) runtimeContainer(container, path, problems);
  return problems;
}
