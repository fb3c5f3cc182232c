import { createHash } from "node:crypto";
import type { Serving } from "../../api/kinds/serving.ts";
import {
  API_GROUP_VERSION,
  FETCHER_PORT,
  FUNCTION_PORT,
  LABEL_COMPONENT,
  LABEL_ENVIRONMENT,
  LABEL_ENVIRONMENT_UID,
  LABEL_EXECUTOR_TYPE,
  LABEL_FUNCTION_NAME,
  LABEL_FUNCTION_UID,
  LABEL_MANAGED_BY,
  LABEL_POD_STATE,
  LABEL_REVISION,
  MANAGED_BY,
  SPECIALISED_GATE,
} from "../../api/names.ts";
import type {
  AutoscalerManifest,
  DeploymentManifest,
  KubeEnvironment,
  ManifestMeta,
  ServiceManifest,
} from "./cluster.ts";
import { containerTemplate, withCpuRequest, withVariables } from "./container-template.ts";
import type { Pod } from "./pod.ts";
import {
  ANNOTATION_MADE_BY,
  ANNOTATION_PORT,
  COMPONENT,
  LABEL_TEMPLATE,
  type PodTemplate,
  podTemplate,
  withToken,
} from "./pod-manifest.ts";
import type { FunctionIdentity, Revision } from "./revision.ts";

/** Name of the Deployment, Service and HorizontalPodAutoscaler of a function; also that of a Service, so it begins with a letter. */
export function deploymentName({ name, uid }: Pick<FunctionIdentity, "name" | "uid">): string {
  const hash = createHash("sha256").update(uid).digest("hex").slice(0, 8);
  return `fn-${name
    .slice(0, 48)
    .replace(/[^a-z0-9-]/g, "-")
    .replace(/-+$/, "")}-${hash}`;
}

/** The same for one revision that only versions of the function name. */
export function versionDeploymentName({ identity, key }: Pick<Revision, "identity" | "key">): string {
  return deploymentName({ name: identity.name, uid: key });
}

/** What made a pod of the Deployment, and what the token of its pods is derived from. */
export const deploymentMaker = (name: string): string => `deployment/${name}`;

export const isDeploymentPod = ({ maker }: Pick<Pod, "maker">): boolean =>
  maker.startsWith(deploymentMaker(""));

/** What the pods of a function's revision are made of; `environment` is undefined for container functions. */
export function deployedTemplate(serving: Serving, environment: KubeEnvironment | undefined): PodTemplate {
  if (!environment) return containerTemplate(serving);
  const { spec: given, resources } = serving.pod ?? {};
  const template = podTemplate({
    ...environment,
    spec: {
      ...environment.spec,
      resources: withCpuRequest(resources ?? environment.spec.resources),
      runtime: {
        ...environment.spec.runtime,
        podspec: { ...fieldsOf(environment.spec.runtime.podspec), ...given },
      },
    },
  });
  // Kubernetes counts a pod as ready when the executor has given it its code, and not before.
  const spec = environment.spec.sidecar ? withFunctionVariables(template.spec, serving) : template.spec;
  return { ...template, spec: { ...spec, readinessGates: [{ conditionType: SPECIALISED_GATE }] } };
}

/** A foreign runtime has the variables from its start: these pods are the function's own from then on. */
function withFunctionVariables(spec: Record<string, unknown>, serving: Serving): Record<string, unknown> {
  const [runtime, ...others] = Array.isArray(spec["containers"]) ? spec["containers"].map(fieldsOf) : [];
  return { ...spec, containers: [{ ...runtime, ...withVariables(runtime ?? {}, serving) }, ...others] };
}

const isFields = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const fieldsOf = (value: unknown): Readonly<Record<string, unknown>> => (isFields(value) ? value : {});

/** What a Deployment is made for: what a function serves, or one revision that only versions of it name (`beside`). */
export interface DeploymentSubject {
  readonly name: string;
  readonly beside: boolean;
  readonly revision: Pick<Revision, "identity" | "serving">;
}

/** No Deployment selects pods of another one of the same function. */
const selectorOf = ({
  beside,
  revision: { identity, serving },
}: DeploymentSubject): Record<string, string> => ({
  [LABEL_COMPONENT]: COMPONENT,
  [LABEL_FUNCTION_UID]: identity.uid,
  [LABEL_EXECUTOR_TYPE]: beside ? `${serving.executorType}-version` : serving.executorType,
  ...(beside ? { [LABEL_REVISION]: serving.revision } : {}),
});

function metaOf(subject: DeploymentSubject): ManifestMeta {
  const { identity, serving } = subject.revision;
  const { namespace, name, uid } = identity;
  return {
    name: subject.name,
    namespace,
    labels: {
      ...selectorOf(subject),
      [LABEL_MANAGED_BY]: MANAGED_BY,
      [LABEL_ENVIRONMENT]: serving.environment.name,
      [LABEL_FUNCTION_NAME]: name,
    },
    ownerReferences: [{ apiVersion: API_GROUP_VERSION, kind: "Function", name, uid, controller: true }],
  };
}

/** The Deployment of a function. `token` is what control calls to its pods must bear. */
export function deploymentManifest(
  subject: DeploymentSubject,
  template: PodTemplate,
  environment: KubeEnvironment | undefined,
  replicas: number,
  token: string,
): DeploymentManifest {
  const metadata = metaOf(subject);
  const { serving } = subject.revision;
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata,
    spec: {
      replicas,
      selector: { matchLabels: selectorOf(subject) },
      strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: "25%", maxUnavailable: 0 } },
      revisionHistoryLimit: 1,
      template: {
        metadata: {
          labels: {
            ...metadata.labels,
            [LABEL_REVISION]: serving.revision,
            [LABEL_POD_STATE]: environment ? "generic" : "specialised",
            [LABEL_TEMPLATE]: template.hash,
            ...(environment ? { [LABEL_ENVIRONMENT_UID]: environment.metadata.uid } : {}),
            ...template.labels,
          },
          annotations: {
            [ANNOTATION_MADE_BY]: deploymentMaker(metadata.name),
            ...(serving.pod?.port === undefined ? {} : { [ANNOTATION_PORT]: String(serving.pod.port) }),
          },
        },
        spec: { ...(environment ? withToken(template.spec, token) : template.spec), restartPolicy: "Always" },
      },
    },
  };
}

const portOf = ({ pod, environment }: Serving): number =>
  pod?.port ?? (environment.contract === "sidecar" ? FETCHER_PORT : FUNCTION_PORT);

/** A stable address of the function's pods, for who calls them without a router. */
export function serviceManifest(subject: DeploymentSubject): ServiceManifest {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: metaOf(subject),
    spec: {
      selector: selectorOf(subject),
      ports: [{ name: "http", port: 80, targetPort: portOf(subject.revision.serving), protocol: "TCP" }],
    },
  };
}

/** `minPods`: what requests need at least; the rest is decided by the metrics. */
export function autoscalerManifest(
  subject: DeploymentSubject,
  scale: NonNullable<Serving["scale"]>,
  minPods: number,
): AutoscalerManifest {
  const metadata = metaOf(subject);
  return {
    apiVersion: "autoscaling/v2",
    kind: "HorizontalPodAutoscaler",
    metadata,
    spec: {
      scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: metadata.name },
      minReplicas: Math.min(Math.max(1, minPods), scale.maxPods),
      maxReplicas: scale.maxPods,
      metrics: scale.metrics ?? [],
      ...(scale.behavior === undefined ? {} : { behavior: scale.behavior }),
    },
  };
}
