import { FETCHER_PORT, LABEL_CONTRACT } from "../../api/names.ts";
import { BUILDER_PORT } from "../../api/wire/builder.ts";
import { POD_ENV } from "../../api/wire/pod.ts";

/** What the Environment says about its builder container, as far as it is allowed to. */
export interface BuilderContainer {
  readonly image: string;
  readonly imagePullPolicy: unknown;
  readonly env: readonly unknown[];
  readonly resources: unknown;
}

export const FETCHER_CONTAINER = "fetcher";
/** Labels of builder pods whose image is a foreign one: they are called at their fetcher. */
export const FOREIGN_LABELS = { [LABEL_CONTRACT]: "sidecar" } as const;

const PACKAGES = { name: "packages", mountPath: "/packages" };
const FETCHER_RESOURCES = { requests: { cpu: "10m", memory: "64Mi" }, limits: { memory: "2Gi" } };

/** Volumes and containers of a builder pod of a foreign image: the builder as it is, and the fetcher, which alone has the pod's token. */
export function foreignBuilder(
  builder: BuilderContainer,
  fetcherImage: string,
  keepArchive: boolean,
  restricted: Readonly<Record<string, unknown>>,
): { volumes: unknown[]; containers: unknown[] } {
  return {
    volumes: [
      { name: "tmp", emptyDir: { sizeLimit: "4Gi" } },
      { name: "packages", emptyDir: { sizeLimit: "8Gi" } },
    ],
    containers: [
      {
        name: "builder",
        image: builder.image,
        ...(builder.imagePullPolicy === undefined ? {} : { imagePullPolicy: builder.imagePullPolicy }),
        ports: [{ name: "http", containerPort: BUILDER_PORT }],
        // Package managers keep what they download at home, and the image's own home belongs to root.
        env: [{ name: "HOME", value: "/tmp" }, ...builder.env],
        resources: builder.resources,
        volumeMounts: [{ name: "tmp", mountPath: "/tmp" }, PACKAGES],
        securityContext: restricted,
      },
      {
        name: FETCHER_CONTAINER,
        image: fetcherImage,
        args: ["--mode", "builder", ...(keepArchive ? ["--keep-archive"] : [])],
        ports: [{ name: "fetcher", containerPort: FETCHER_PORT }],
        env: [{ name: POD_ENV.podUid, valueFrom: { fieldRef: { fieldPath: "metadata.uid" } } }],
        resources: FETCHER_RESOURCES,
        volumeMounts: [PACKAGES],
        readinessProbe: {
          httpGet: { path: "/readiness-healthz", port: FETCHER_PORT },
          periodSeconds: 2,
          timeoutSeconds: 2,
        },
        securityContext: restricted,
      },
    ],
  };
}
