import { createHash } from "node:crypto";
import type { Serving } from "../../api/kinds/serving.ts";
import { LABEL_CONTRACT } from "../../api/names.ts";
import { podSpecProblems } from "../../api/pod-spec-policy.ts";
import type { PodTemplate } from "./pod-manifest.ts";

/** Contract of pods that run any HTTP server: nobody specialises them, and they refuse nothing. */
export const PLAIN_CONTRACT = "container";

type Fields = Readonly<Record<string, unknown>>;
const isFields = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const fieldsOf = (value: unknown): Fields => (isFields(value) ? value : {});
const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

const MAIN_CONTAINER = "function";
/** Routers notice that a pod goes a moment after its end has begun; until then it still takes requests. */
const PRE_STOP_SECONDS = 3;
const SHORTEST_GRACE_SECONDS = 30;

/** Pod template of a container function: what its `podspec` says, restricted, with its variables, secrets and config maps. */
export function containerTemplate(serving: Serving): PodTemplate {
  const given = fieldsOf(serving.pod?.spec);
  const [problem] = podSpecProblems(given, "container", "spec.podspec");
  if (problem !== undefined) throw new RangeError(problem);
  const mounts = mountsOf(serving);
  const spec = {
    ...given,
    restartPolicy: "Always",
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    terminationGracePeriodSeconds: given["terminationGracePeriodSeconds"] ?? graceSeconds(serving),
    securityContext: {
      runAsNonRoot: true,
      seccompProfile: { type: "RuntimeDefault" },
      ...fieldsOf(given["securityContext"]),
    },
    ...(given["initContainers"] === undefined
      ? {}
      : { initContainers: listOf(given["initContainers"]).map((one) => restricted(fieldsOf(one))) }),
    containers: listOf(given["containers"]).map((one, index) =>
      index === 0 ? mainContainer(fieldsOf(one), serving, mounts) : restricted(fieldsOf(one)),
    ),
    ...(mounts.length === 0 && given["volumes"] === undefined
      ? {}
      : { volumes: [...listOf(given["volumes"]), ...mounts.map(({ volume }) => volume)] }),
  };
  const hash = createHash("sha256").update(JSON.stringify(spec)).digest("hex").slice(0, 16);
  const image = serving.environment.image;
  return { hash, spec, labels: { [LABEL_CONTRACT]: PLAIN_CONTRACT }, image, ignored: [] };
}

interface Mount {
  readonly volume: unknown;
  readonly mount: unknown;
}

function mountsOf({ secrets, configMaps }: Serving): Mount[] {
  const of = (
    refs: Serving["secrets"],
    folder: string,
    source: (name: string) => Record<string, unknown>,
  ): Mount[] =>
    refs
      .filter(({ mounted }) => mounted !== false)
      .map(({ namespace, name, mountPath }, index) => ({
        volume: { name: `isotope-${folder}-${index}`, ...source(name) },
        mount: {
          name: `isotope-${folder}-${index}`,
          mountPath: mountPath ? `/${mountPath.replace(/^\/+/, "")}` : `/${folder}/${namespace}/${name}`,
          readOnly: true,
        },
      }));
  return [
    ...of(secrets, "secrets", (secretName) => ({ secret: { secretName } })),
    ...of(configMaps, "configs", (name) => ({ configMap: { name } })),
  ];
}

function mainContainer(given: Fields, serving: Serving, mounts: readonly Mount[]): Fields {
  const port = serving.pod?.port;
  const volumeMounts = [...listOf(given["volumeMounts"]), ...mounts.map(({ mount }) => mount)];
  return restricted({
    lifecycle: { preStop: { sleep: { seconds: PRE_STOP_SECONDS } } },
    ...given,
    name: given["name"] ?? MAIN_CONTAINER,
    ...(given["ports"] === undefined && port !== undefined ? { ports: [{ containerPort: port }] } : {}),
    ...withVariables(given, serving),
    ...(volumeMounts.length > 0 ? { volumeMounts } : {}),
    // Without one a pod would be ready before its server listens.
    readinessProbe: given["readinessProbe"] ?? { tcpSocket: { port }, periodSeconds: 1, failureThreshold: 3 },
    resources: withCpuRequest(serving.pod?.resources ?? given["resources"]),
  });
}

/** `env` and `envFrom` of a container with those of the function, which count last. */
export function withVariables(given: Fields, { env, envFrom }: Pick<Serving, "env" | "envFrom">): Fields {
  const variables = [...listOf(given["env"]), ...env.map(variable)];
  const sources = [...listOf(given["envFrom"]), ...envFrom.map(variableSource)];
  return {
    ...(variables.length > 0 ? { env: variables } : {}),
    ...(sources.length > 0 ? { envFrom: sources } : {}),
  };
}

const restricted = (container: Fields): Fields => ({
  ...container,
  securityContext: {
    allowPrivilegeEscalation: false,
    ...fieldsOf(container["securityContext"]),
    capabilities: { ...fieldsOf(fieldsOf(container["securityContext"])["capabilities"]), drop: ["ALL"] },
  },
});

/** A HorizontalPodAutoscaler on cpu measures shares of the request, so there must be one. */
export function withCpuRequest(resources: unknown): Fields {
  const { requests, limits, ...rest } = fieldsOf(resources);
  const hasCpu = "cpu" in fieldsOf(requests) || "cpu" in fieldsOf(limits);
  return {
    ...rest,
    ...(limits === undefined ? {} : { limits }),
    requests: { ...(hasCpu ? {} : { cpu: DEFAULT_CPU }), ...fieldsOf(requests) },
  };
}
const DEFAULT_CPU = "100m";

const variable = ({ name, value, secret, configMap }: Serving["env"][number]) => ({
  name,
  ...(secret
    ? { valueFrom: { secretKeyRef: secret } }
    : configMap
      ? { valueFrom: { configMapKeyRef: configMap } }
      : { value: value ?? "" }),
});

const variableSource = ({ prefix, secret, configMap }: Serving["envFrom"][number]) => ({
  ...(prefix ? { prefix } : {}),
  ...(secret ? { secretRef: secret } : {}),
  ...(configMap ? { configMapRef: configMap } : {}),
});

/** Requests under way may take as long as one is allowed to. */
const graceSeconds = ({ limits }: Serving): number =>
  Math.max(SHORTEST_GRACE_SECONDS, Math.ceil(limits.timeoutMs / 1_000) + PRE_STOP_SECONDS);
