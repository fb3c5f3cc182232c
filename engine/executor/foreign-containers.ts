import { FETCHER_PORT, FUNCTION_PORT, LABEL_CONTRACT } from "../../api/names.ts";
import { POD_ENV } from "../../api/wire/pod.ts";
import type { Sidecar } from "./cluster.ts";

/** What the Environment says about its runtime container, as far as it is allowed to. */
export interface RuntimeContainer {
  readonly name: string;
  readonly image: string;
  readonly fields: Readonly<Record<string, unknown>>;
  readonly env: readonly unknown[];
  readonly resources: unknown;
}

export const FETCHER_CONTAINER = "fetcher";
/** Labels of pods whose image is a foreign one: network policies open the fetcher's port by them. */
export const FOREIGN_LABELS = { [LABEL_CONTRACT]: "sidecar" } as const;

const RESTRICTED = {
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ["ALL"] },
};
/** Shared by both containers; the fetcher alone writes secrets and config maps. */
const SHARED = [
  { name: "userfunc", mountPath: "/userfunc" },
  { name: "secrets", mountPath: "/secrets" },
  { name: "configs", mountPath: "/configs" },
];
/** What one large archive needs while it is unpacked; seen in use: about 20Mi of its own. */
const FETCHER_RESOURCES = {
  requests: { cpu: "10m", memory: "32Mi" },
  limits: { memory: "1Gi" },
};

/** Volumes and containers of a pod of a foreign image: the runtime as it is, and the fetcher, which alone has the pod's token. */
export function foreignContainers(
  runtime: RuntimeContainer,
  sidecar: Sidecar,
  envVersion: number,
): { volumes: unknown[]; containers: unknown[] } {
  return {
    volumes: [
      { name: "tmp", emptyDir: { sizeLimit: "256Mi" } },
      { name: "userfunc", emptyDir: { sizeLimit: "1Gi" } },
      { name: "secrets", emptyDir: { medium: "Memory", sizeLimit: "16Mi" } },
      { name: "configs", emptyDir: { sizeLimit: "16Mi" } },
      { name: "podinfo", downwardAPI: { items: PODINFO } },
    ],
    containers: [
      {
        ...runtime.fields,
        name: runtime.name,
        image: runtime.image,
        ports: [{ name: "http", containerPort: FUNCTION_PORT }],
        env: runtime.env,
        ...(runtime.resources === undefined ? {} : { resources: runtime.resources }),
        volumeMounts: [
          { name: "tmp", mountPath: "/tmp" },
          { name: "userfunc", mountPath: "/userfunc" },
          { name: "secrets", mountPath: "/secrets", readOnly: true },
          { name: "configs", mountPath: "/configs", readOnly: true },
          { name: "podinfo", mountPath: "/etc/podinfo", readOnly: true },
        ],
        // The runtime may end at once on SIGTERM, so it gets it only when the fetcher has nothing more for it.
        lifecycle: { preStop: { httpGet: { path: "/_isotope/drained", port: FETCHER_PORT } } },
        securityContext: RESTRICTED,
      },
      fetcherContainer(sidecar, envVersion),
    ],
  };
}

const PODINFO = [
  { path: "labels", fieldRef: { fieldPath: "metadata.labels" } },
  { path: "annotations", fieldRef: { fieldPath: "metadata.annotations" } },
];

function fetcherContainer({ image, shared, keepArchive }: Sidecar, envVersion: number): unknown {
  return {
    name: FETCHER_CONTAINER,
    image,
    args: [
      "--env-version",
      String(envVersion),
      ...(keepArchive ? ["--keep-archive"] : []),
      ...(shared ? ["--shared"] : []),
    ],
    ports: [{ name: "fetcher", containerPort: FETCHER_PORT }],
    env: [{ name: POD_ENV.podUid, valueFrom: { fieldRef: { fieldPath: "metadata.uid" } } }],
    resources: FETCHER_RESOURCES,
    volumeMounts: SHARED,
    readinessProbe: {
      httpGet: { path: "/readiness-healthz", port: FETCHER_PORT },
      periodSeconds: 5,
      timeoutSeconds: 2,
      failureThreshold: 3,
    },
    securityContext: RESTRICTED,
  };
}
