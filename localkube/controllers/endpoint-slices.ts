import { isRefusal } from "../kubelet/error-text.ts";
import { asPod } from "../kubelet/pod.ts";
import type { KubeObject } from "../store/kube-object.ts";
import type { Store } from "../store/store.ts";
import { type PlannedSlice, planSlices, type Service } from "./endpoint-slices-plan.ts";
import { canonicalJson, controlledBy, selects, splitKey } from "./workload.ts";

const SLICES = "endpointslices.discovery.k8s.io";
const SERVICE_NAME = "kubernetes.io/service-name";
const MANAGED_BY = "endpointslice.kubernetes.io/managed-by";
const MANAGER = "endpointslice-controller.k8s.io";

function isService(object: unknown): object is Service {
  return (
    typeof object === "object" &&
    object !== null &&
    "kind" in object &&
    object.kind === "Service" &&
    "spec" in object
  );
}

function isOurs(slice: KubeObject, service: string): boolean {
  const { labels = {} } = slice.metadata;
  return labels[SERVICE_NAME] === service && labels[MANAGED_BY] === MANAGER;
}

async function writeSlice(
  store: Store,
  service: Service,
  plan: PlannedSlice,
  present: KubeObject | undefined,
): Promise<void> {
  const { namespace = "default", name } = service.metadata;
  const { ports, endpoints } = plan;
  if (present) {
    const shown = { ports: present["ports"] ?? [], endpoints: present["endpoints"] ?? [] };
    if (canonicalJson(shown) === canonicalJson({ ports, endpoints })) return;
    await store.patch(SLICES, namespace, present.metadata.name, { ports, endpoints });
    return;
  }
  await store.create(SLICES, {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: {
      name: `${name}-${plan.suffix}`,
      namespace,
      labels: { ...service.metadata.labels, [SERVICE_NAME]: name, [MANAGED_BY]: MANAGER },
      ownerReferences: [controlledBy({ ...service, apiVersion: "v1", kind: "Service" })],
    },
    addressType: "IPv4",
    ports,
    endpoints,
  });
}

/** Brings the EndpointSlices of one Service in line with the pods it selects. */
export async function reconcileService(store: Store, key: string): Promise<undefined> {
  const { namespace, name } = splitKey(key);
  const service = store.get("services", namespace, name);
  const present = store.list(SLICES, { namespace }).items.filter((slice) => isOurs(slice, name));
  const selector = isService(service) ? service.spec.selector : undefined;
  const isSelecting = isService(service) && selector !== undefined && service.spec.type !== "ExternalName";
  const plans = isSelecting
    ? planSlices(
        service,
        store
          .list("pods", { namespace })
          .items.filter((pod) => selects({ matchLabels: selector }, pod.metadata.labels))
          .map(asPod),
      )
    : [];
  const names = new Map(plans.map((plan) => [`${name}-${plan.suffix}`, plan]));
  if (isSelecting && service.metadata.deletionTimestamp === undefined) {
    for (const [sliceName, plan] of names) {
      const old = present.find(({ metadata }) => metadata.name === sliceName);
      await writeSlice(store, service, plan, old);
    }
  }
  for (const { metadata } of present) {
    if (names.has(metadata.name)) continue;
    await store
      .delete(SLICES, namespace, metadata.name, { preconditions: { uid: metadata.uid } })
      .catch((error: unknown) => {
        if (!isRefusal(error, 404, 409)) throw error;
      });
  }
}
