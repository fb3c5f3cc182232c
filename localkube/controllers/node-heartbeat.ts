import { arch, availableParallelism, hostname, platform, release, totalmem } from "node:os";
import { errorText, isRefusal } from "../kubelet/error-text.ts";
import { kubeTime } from "../kubelet/pod.ts";
import type { KubeObjectInput } from "../store/kube-object.ts";
import type { Store } from "../store/store.ts";

const LEASES = "leases.coordination.k8s.io";
const LEASE_NAMESPACE = "kube-node-lease";
const RENEW_MS = 10_000;
const LEASE_SECONDS = 40;
const STATUS_EVERY_MS = 5 * 60_000;
const MAX_PODS = 1000;

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: "amd64", arm64: "arm64" };

function nodeLabels(name: string): Record<string, string> {
  const architecture = ARCHITECTURES[arch()] ?? arch();
  return {
    "kubernetes.io/hostname": name,
    "kubernetes.io/os": platform(),
    "kubernetes.io/arch": architecture,
    "localkube.dev/local": "true",
  };
}

function nodeStatus(name: string, version: string, readySince: string): Record<string, unknown> {
  const amounts = {
    cpu: String(availableParallelism()),
    memory: `${Math.floor(totalmem() / 1024)}Ki`,
    pods: String(MAX_PODS),
  };
  const now = kubeTime(Date.now());
  const condition = (
    type: string,
    status: string,
    reason: string,
    message: string,
  ): Record<string, string> => ({
    type,
    status,
    reason,
    message,
    lastHeartbeatTime: now,
    lastTransitionTime: readySince,
  });
  return {
    capacity: amounts,
    allocatable: amounts,
    conditions: [
      condition(
        "MemoryPressure",
        "False",
        "KubeletHasSufficientMemory",
        "kubelet has sufficient memory available",
      ),
      condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
      condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
      condition("Ready", "True", "KubeletReady", "kubelet runs pods as processes of this machine"),
    ],
    addresses: [
      { type: "InternalIP", address: "127.0.0.1" },
      { type: "Hostname", address: name },
    ],
    nodeInfo: {
      architecture: ARCHITECTURES[arch()] ?? arch(),
      operatingSystem: platform(),
      kernelVersion: release(),
      osImage: `${platform()} on ${hostname()}`,
      containerRuntimeVersion: "localkube://process",
      kubeletVersion: version,
      kubeProxyVersion: "",
      bootID: "",
      machineID: "",
      systemUUID: "",
    },
  };
}

async function createIfMissing(store: Store, resource: string, object: KubeObjectInput): Promise<void> {
  const { namespace, name = "" } = object.metadata;
  if (store.get(resource, namespace, name)) return;
  await store.create(resource, object).catch((error: unknown) => {
    if (!isRefusal(error, 409)) throw error;
  });
}

async function writeNode(store: Store, name: string, version: string): Promise<void> {
  const labels = nodeLabels(name);
  await createIfMissing(store, "nodes", {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name, labels },
    spec: {},
  });
  const since = kubeTime(
    Date.parse(store.get("nodes", undefined, name)?.metadata.creationTimestamp ?? "") || Date.now(),
  );
  await store.patch(
    "nodes",
    undefined,
    name,
    { status: nodeStatus(name, version, since) },
    { subresource: "status" },
  );
}

async function renewLease(store: Store, name: string): Promise<void> {
  const spec = {
    holderIdentity: name,
    leaseDurationSeconds: LEASE_SECONDS,
    renewTime: `${new Date().toISOString().slice(0, -1)}000Z`,
  };
  const metadata = { name, namespace: LEASE_NAMESPACE };
  if (store.get(LEASES, LEASE_NAMESPACE, name)) await store.patch(LEASES, LEASE_NAMESPACE, name, { spec });
  else await store.create(LEASES, { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata, spec });
}

export interface Heartbeat {
  stop(): Promise<void>;
}

/** Keeps the Node and its lease alive. Resolves when both are there. */
export async function startHeartbeat(
  store: Store,
  name: string,
  version: string,
  log: (message: string) => void,
): Promise<Heartbeat> {
  await createIfMissing(store, "namespaces", {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name: LEASE_NAMESPACE },
  });
  await writeNode(store, name, version);
  await renewLease(store, name);
  let statusMs = Date.now();
  let beat: Promise<void> = Promise.resolve();
  const once = async (): Promise<void> => {
    await renewLease(store, name);
    if (Date.now() - statusMs < STATUS_EVERY_MS) return;
    statusMs = Date.now();
    await writeNode(store, name, version);
  };
  const timer = setInterval(() => {
    beat = once().catch((error: unknown) => log(`heartbeat of node "${name}": ${errorText(error)}`));
  }, RENEW_MS);
  return {
    async stop() {
      clearInterval(timer);
      await beat;
    },
  };
}
