import { createHash, randomBytes } from "node:crypto";
import type { Environment } from "../../api/kinds/index.ts";
import {
  API_GROUP_VERSION,
  LABEL_COMPONENT,
  LABEL_ENVIRONMENT,
  LABEL_ENVIRONMENT_UID,
  LABEL_MANAGED_BY,
  MANAGED_BY,
} from "../../api/names.ts";
import { BUILDER_PORT } from "../../api/wire/builder.ts";
import { POD_ENV } from "../../api/wire/pod.ts";
import { podToken } from "../../net/pod-token.ts";
import type { BuilderPodManifest } from "./builder-cluster.ts";
import {
  type BuilderContainer,
  FETCHER_CONTAINER,
  FOREIGN_LABELS,
  foreignBuilder,
} from "./foreign-builder.ts";

export const BUILDER_COMPONENT = "builder";
/** Fingerprint of the template that a pod was made from; a pod with another one than its Environment's is replaced. */
export const LABEL_TEMPLATE = "isotope.dev/pod-template";

const STATE_FOLDER = "/var/lib/isotope-builder";
const DEFAULT_RESOURCES = {
  requests: { cpu: "100m", memory: "192Mi" },
  limits: { memory: "2Gi" },
};
/** Fields of `builder.podspec` and of its container that a user may set; all others could reach the node or another tenant. */
const POD_FIELDS = [
  "affinity",
  "nodeSelector",
  "priorityClassName",
  "runtimeClassName",
  "tolerations",
  "topologySpreadConstraints",
];
const RESERVED_ENV = /^(?:ISOTOPE_POD_|LD_|NODE_OPTIONS$)/;

/** Builder images that speak `api/wire/builder.ts`, in any registry. */
const OWN_IMAGE = /(?:^|\/)isotope\/(?:deno-)?builder(?:[:@].+)?$/;
export const isOwnBuilderImage = (image: string): boolean => OWN_IMAGE.test(image);

type Fields = Readonly<Record<string, unknown>>;
const fieldsOf = (value: unknown): Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : {};
const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

export interface BuilderPodTemplate {
  readonly hash: string;
  readonly spec: Record<string, unknown>;
  /** Labels of its pods beyond those of all builder pods. */
  readonly labels: Readonly<Record<string, string>>;
}

const RESTRICTED = {
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ["ALL"] },
};

/**
 * Template of an Environment's builder pods: restricted, without a service account, restarted when its process ends. A foreign image gets
 * the fetcher (`fetcherImage`) beside it.
 */
export function builderPodTemplate(environment: Environment, fetcherImage: string): BuilderPodTemplate {
  const { builder, imagepullsecret } = environment.spec;
  const podspec = fieldsOf(builder?.podspec);
  const container = { ...fieldsOf(listOf(podspec["containers"])[0]), ...fieldsOf(builder?.container) };
  const env = listOf(container["env"])
    .map(fieldsOf)
    .filter(({ name }) => typeof name === "string" && !RESERVED_ENV.test(name));
  const builderContainer: BuilderContainer = {
    image: builder?.image ?? "",
    imagePullPolicy: container["imagePullPolicy"],
    env,
    resources: container["resources"] ?? DEFAULT_RESOURCES,
  };
  const foreign = !isOwnBuilderImage(builderContainer.image);
  const spec = {
    ...Object.fromEntries(POD_FIELDS.filter((name) => name in podspec).map((name) => [name, podspec[name]])),
    restartPolicy: "Always",
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    terminationGracePeriodSeconds: 5,
    securityContext: {
      runAsNonRoot: true,
      runAsUser: 65532,
      runAsGroup: 65532,
      fsGroup: 65532,
      seccompProfile: { type: "RuntimeDefault" },
    },
    ...(imagepullsecret ? { imagePullSecrets: [{ name: imagepullsecret }] } : {}),
    ...(foreign
      ? foreignBuilder(builderContainer, fetcherImage, environment.spec.keeparchive ?? false, RESTRICTED)
      : ownBuilder(builderContainer)),
  };
  const hash = createHash("sha256").update(JSON.stringify(spec)).digest("hex").slice(0, 16);
  return { hash, spec, labels: foreign ? FOREIGN_LABELS : {} };
}

/** Volumes and the one container of a pod of our own builder, which is sent its builds directly. */
function ownBuilder({ image, imagePullPolicy, env, resources }: BuilderContainer): Fields {
  return {
    volumes: [
      { name: "tmp", emptyDir: { sizeLimit: "512Mi" } },
      { name: "state", emptyDir: { sizeLimit: "8Gi" } },
    ],
    containers: [
      {
        name: "builder",
        image,
        ...(imagePullPolicy === undefined ? {} : { imagePullPolicy }),
        ports: [{ name: "http", containerPort: BUILDER_PORT }],
        env: [
          { name: "ISOTOPE_BUILDER_STATE", value: STATE_FOLDER },
          ...env,
          { name: POD_ENV.podUid, valueFrom: { fieldRef: { fieldPath: "metadata.uid" } } },
          { name: POD_ENV.podName, valueFrom: { fieldRef: { fieldPath: "metadata.name" } } },
          { name: POD_ENV.namespace, valueFrom: { fieldRef: { fieldPath: "metadata.namespace" } } },
        ],
        resources,
        volumeMounts: [
          { name: "tmp", mountPath: "/tmp" },
          { name: "state", mountPath: STATE_FOLDER },
        ],
        readinessProbe: {
          httpGet: { path: "/healthz", port: BUILDER_PORT },
          periodSeconds: 2,
          timeoutSeconds: 2,
        },
        securityContext: RESTRICTED,
      },
    ],
  };
}

/** Labels that all builder pods of an Environment have. */
export function builderPodLabels(environment: Environment): Record<string, string> {
  return {
    [LABEL_MANAGED_BY]: MANAGED_BY,
    [LABEL_COMPONENT]: BUILDER_COMPONENT,
    [LABEL_ENVIRONMENT_UID]: environment.metadata.uid ?? "",
  };
}

/** A new builder pod; `master` is the key that its token is derived from. */
export function builderPodManifest(
  environment: Environment,
  template: BuilderPodTemplate,
  master: Uint8Array,
): BuilderPodManifest {
  const { metadata } = environment;
  const namespace = metadata.namespace ?? "default";
  const stem = metadata.name
    .slice(0, 40)
    .replaceAll(/[^a-z0-9-]/g, "-")
    .replace(/-+$/, "");
  const name = `${stem}-builder-${randomBytes(5).toString("hex")}`;
  return {
    metadata: {
      name,
      namespace,
      labels: {
        ...builderPodLabels(environment),
        [LABEL_ENVIRONMENT]: metadata.name,
        [LABEL_TEMPLATE]: template.hash,
        ...template.labels,
      },
      ownerReferences: [
        {
          apiVersion: API_GROUP_VERSION,
          kind: "Environment",
          name: metadata.name,
          uid: metadata.uid ?? "",
          controller: true,
        },
      ],
    },
    spec: withToken(template.spec, podToken(master, namespace, name)),
  };
}

/** The token is each pod's own, so it is no part of the template. Of two containers the fetcher alone gets it. */
function withToken(spec: Record<string, unknown>, token: string): Record<string, unknown> {
  const given = listOf(spec["containers"]).map(fieldsOf);
  const containers = given.map((container) => {
    if (given.length > 1 && container["name"] !== FETCHER_CONTAINER) return container;
    return { ...container, env: [...listOf(container["env"]), { name: POD_ENV.token, value: token }] };
  });
  return { ...spec, containers };
}
