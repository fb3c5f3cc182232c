/**
 * Gives every function namespace the kit (rights, network policies, the environment), and takes it back.
 *
 * Invariants
 * K1. Objects are applied in the kit's order and taken away in the reverse one; a failure ends the attempt, so that nothing is granted
 *     before the walls stand.
 * K2. Rights are taken away when the namespace's pods are gone, since without them nobody could remove these. Pods that nobody removed for
 *     `PODS_GRACE_MS` are deleted here.
 * K3. Environments are people's to change and are never taken away: functions refer to them.
 */
import { LABEL_MANAGED_BY, MANAGED_BY } from "../../api/names.ts";
import type { KubeClient } from "../../kube/client.ts";
import { ENDPOINT_SLICES, PODS } from "../../kube/core.ts";
import { isConflict, isForbidden, isNotFound } from "../../kube/kube-error.ts";
import { NAMESPACES } from "../../kube/namespace-scope.ts";
import type { KubeObject } from "../../kube/object.ts";
import { after, done, type Outcome, type Reconcile } from "../../kube/reconcile.ts";
import { resourceType } from "../../kube/resource.ts";
import type { Log } from "../../net/log.ts";
import { unguardReleases } from "../unguard-releases.ts";
import { type KitObject, kitManifest } from "./kit.ts";

const FIELD_MANAGER = "isotope-controller";
/** Somebody may have changed or deleted what the kit put there. */
const RESYNC_MS = 300_000;
const ADDRESSES_MS = 60_000;
const PODS_LOOK_MS = 1_000;
const PODS_GRACE_MS = 30_000;
const PODS_GIVE_UP_MS = 150_000;

interface Service extends KubeObject {
  spec?: { clusterIPs?: string[] };
}
const SERVICES = resourceType<Service>("v1", "Service", "services");

export interface FunctionNamespacesOptions {
  readonly client: KubeClient;
  readonly kit: readonly KitObject[];
  readonly log: Log;
  readonly now: () => Date;
}

export interface FunctionNamespaces {
  readonly reconcile: Reconcile;
  /** Brings every namespace to the queue: those of the scope, as they come and go, and those that left it while nobody looked. */
  watch(enqueue: (namespace: string) => void): void;
  stop(): void;
}

export function functionNamespaces(options: FunctionNamespacesOptions): FunctionNamespaces {
  const { client, kit, log, now } = options;
  const leavingSince = new Map<string, number>();
  const stops: (() => void)[] = [];
  let addresses: readonly string[] | undefined;

  const reconcile: Reconcile = async (namespace) => {
    try {
      addresses ??= await kubernetesAddresses(client);
      if (client.scope?.has(namespace)) {
        leavingSince.delete(namespace);
        await applyKit(client, kit, namespace, addresses, log);
        return after(RESYNC_MS);
      }
      return await leave(namespace);
    } catch (error) {
      // A namespace that is being deleted takes nothing new and loses everything by itself.
      if (isNotFound(error) || (isForbidden(error) && (await hasEnded(client, namespace)))) return done;
      throw error;
    }
  };

  const leave = async (namespace: string): Promise<Outcome> => {
    const since = leavingSince.get(namespace) ?? now().getTime();
    leavingSince.set(namespace, since);
    const waitedMs = now().getTime() - since;
    const pods = waitedMs < PODS_GIVE_UP_MS ? await ownPods(client, namespace) : [];
    if (pods.length > 0) {
      if (waitedMs >= PODS_GRACE_MS) await deletePods(client, pods);
      return after(PODS_LOOK_MS);
    }
    await unguardReleases(client, namespace);
    for (const { type, name } of kit.toReversed())
      if (type.kind !== "Environment") await client.delete(type, { namespace, name });
    leavingSince.delete(namespace);
    log.info("Namespace holds functions no more", { namespace });
    return done;
  };

  const watch = (enqueue: (namespace: string) => void): void => {
    const { scope } = client;
    if (!scope) return;
    const leaveScope = scope.subscribe({
      onAdd: (namespace) => {
        log.info("Namespace may hold functions", { namespace });
        enqueue(namespace);
      },
      onRemove: enqueue,
    });
    const sweep = async (): Promise<void> => {
      await scope.synced;
      const marker = kit.find(({ type }) => type.kind === "RoleBinding");
      if (!marker) return;
      for (const { metadata } of (await client.list(NAMESPACES)).items) {
        if (scope.has(metadata.name)) continue;
        if (await client.find(marker.type, { namespace: metadata.name, name: marker.name }))
          enqueue(metadata.name);
      }
    };
    sweep().catch((error: unknown) =>
      log.warn("Cannot look for namespaces that hold functions no more", { error }),
    );
    const look = async (): Promise<void> => {
      const found = await kubernetesAddresses(client);
      if (addresses?.join() === found.join()) return;
      addresses = found;
      for (const namespace of scope.list()) enqueue(namespace);
    };
    const timer = setInterval(() => {
      look().catch((error: unknown) =>
        log.warn("Cannot read the addresses of the Kubernetes API", { error }),
      );
    }, ADDRESSES_MS);
    timer.unref();
    stops.push(leaveScope, () => clearInterval(timer));
  };

  return {
    reconcile,
    watch,
    stop: () => {
      for (const stop of stops.splice(0)) stop();
    },
  };
}

async function applyKit(
  client: KubeClient,
  kit: readonly KitObject[],
  namespace: string,
  kubernetes: readonly string[],
  log: Log,
): Promise<void> {
  for (const object of kit) {
    const { type, name } = object;
    const ownerships = type.kind === "Environment" ? { force: false } : { force: true };
    try {
      await client.patch(type, { namespace, name }, kitManifest(object, namespace, kubernetes), {
        strategy: "apply",
        fieldManager: FIELD_MANAGER,
        ...ownerships,
      });
    } catch (error) {
      if (!isConflict(error) || ownerships.force) throw error;
      log.info("Left alone, since somebody changed it", { kind: type.kind, namespace, name });
    }
  }
}

/** Addresses at which the Kubernetes API answers, sorted; none where it tells none. */
async function kubernetesAddresses(client: Pick<KubeClient, "find">): Promise<string[]> {
  const ref = { namespace: "default", name: "kubernetes" };
  const [slice, service] = await Promise.all([client.find(ENDPOINT_SLICES, ref), client.find(SERVICES, ref)]);
  const addresses = [
    ...(slice?.endpoints.flatMap((endpoint) => endpoint.addresses) ?? []),
    ...(service?.spec?.clusterIPs ?? []),
  ];
  return [...new Set(addresses)].filter((address) => address !== "None").toSorted();
}

async function ownPods(client: KubeClient, namespace: string): Promise<KubeObject[]> {
  try {
    const selection = { namespace, labelSelector: `${LABEL_MANAGED_BY}=${MANAGED_BY}` };
    return (await client.list(PODS, selection)).items;
  } catch (error) {
    // The rights were gone already.
    if (isForbidden(error)) return [];
    throw error;
  }
}

async function deletePods(client: KubeClient, pods: readonly KubeObject[]): Promise<void> {
  for (const { metadata } of pods)
    if (!metadata.deletionTimestamp)
      await client.delete(PODS, metadata, { preconditions: { uid: metadata.uid } });
}

/** Whether a namespace is gone or being deleted, and the rights in it with it. */
async function hasEnded(client: Pick<KubeClient, "find">, name: string): Promise<boolean> {
  const namespace = await client.find(NAMESPACES, { name });
  return namespace === undefined || namespace.metadata.deletionTimestamp !== undefined;
}
