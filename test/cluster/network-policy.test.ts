import { afterAll, beforeAll, expect, test } from "vitest";
import { kitManifest, parseKit } from "../../controller/function-namespace/kit.ts";
import { createKubeClient, type KubeClient } from "../../kube/client.ts";
import { ENDPOINT_SLICES, type Pod, PODS, SECRETS } from "../../kube/core.ts";
import { NAMESPACES } from "../../kube/namespace-scope.ts";
import type { KubeObject } from "../../kube/object.ts";
import { resourceType } from "../../kube/resource.ts";
import { requireInstalledPlatform } from "../e2e/installed-platform.ts";
import { PAUSE_IMAGE } from "./layout.ts";
import { podsAreTaken } from "./pods-are-taken.ts";
import { LABEL_PROBE } from "./probe-label.ts";
import { eventually } from "../eventually.ts";

/**
 * The walls of function and builder pods, seen from inside: pods with their labels try to connect. They live in a namespace that the
 * platform does not mind (it would remove pods that it does not know), under the policies that it puts into those that it does.
 * Those of the platform's own parts are tried in its namespace, by pods that are never ready, so that nobody takes them for the part.
 */
const NAMESPACE = "network-policy";
const LABELS = { "app.kubernetes.io/managed-by": "isotope" };
interface Service extends KubeObject {
  spec: { clusterIP: string };
}
const SERVICES = resourceType<Service>("v1", "Service", "services");
let kube: KubeClient;
let platform: string;
type Targets = Record<string, readonly [string, number]>;
let targets: Targets;
/** What parts of the platform have besides. */
let inside: Targets;
const probes: string[] = [];

beforeAll(async () => {
  const installed = requireInstalledPlatform();
  platform = installed.platformNamespace;
  kube = await createKubeClient({ kubeconfig: installed.kubeconfig });
  await kube.create(NAMESPACES, { metadata: { name: NAMESPACE } });
  await podsAreTaken(kube, NAMESPACE);
  const secret = await kube.get(SECRETS, { namespace: platform, name: "isotope-namespace-kit" });
  const kit = parseKit(Buffer.from(secret.data?.["kit.yaml"] ?? "", "base64").toString(), "kit.yaml");
  const slice = await kube.get(ENDPOINT_SLICES, { namespace: "default", name: "kubernetes" });
  const [api = ""] = slice.endpoints[0]?.addresses ?? [];
  for (const object of kit.filter(({ type }) => type.kind === "NetworkPolicy"))
    await kube.create(object.type, kitManifest(object, NAMESPACE, [api]));
  const service = async (namespace: string, name: string) =>
    (await kube.get(SERVICES, { namespace, name })).spec.clusterIP;
  const neighbour = await serve("neighbour", { ...LABELS, "app.kubernetes.io/component": "executor" });
  const bystander = await serve("bystander", {});
  targets = {
    "API server": [api, slice.ports?.[0]?.port ?? 6443],
    "API server's Service": [await service("default", "kubernetes"), 443],
    "metadata service": ["169.254.169.254", 80],
    "another function": [neighbour, 8080],
    "another pod": [bystander, 8080],
    executor: [await service(platform, "isotope-executor"), 8892],
    controller: [await service(platform, "isotope-controller"), 8890],
    storage: [await service(platform, "isotope-storage"), 8894],
    "router's internal listener": [await service(platform, "isotope-router-internal"), 8889],
    "log store": [await service(platform, "isotope-log-store"), 8895],
    "workflow service": [await service(platform, "isotope-workflows"), 8896],
    "trigger service": [await service(platform, "isotope-triggers"), 8897],
  };
  const broker = await serve("broker", {}, [4222, 4229]);
  inside = {
    "a broker": [broker, 4222],
    "another port of its machine": [broker, 4229],
    Redis: [await service(platform, "isotope-redis"), 6379],
  };
}, 480_000);
afterAll(async () => {
  for (const name of probes) await kube.delete(PODS, { namespace: platform, name });
  await kube.delete(NAMESPACES, { name: NAMESPACE });
  await kube.close();
});

const SECURITY = {
  securityContext: { runAsNonRoot: true, runAsUser: 65_532, seccompProfile: { type: "RuntimeDefault" } },
  automountServiceAccountToken: false,
};
const RESTRICTED = {
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ["ALL"] },
};
function pod(name: string, labels: Record<string, string>, script: string, namespace = NAMESPACE): Pod {
  const command = ["/bin/busybox", "sh", "-c", script];
  const asPart =
    namespace === NAMESPACE
      ? {}
      : { securityContext: RESTRICTED, readinessProbe: { exec: { command: ["/bin/busybox", "false"] } } };
  return {
    metadata: { namespace, name, labels },
    spec: {
      restartPolicy: "Never",
      ...SECURITY,
      terminationGracePeriodSeconds: 0,
      containers: [{ name: "c", image: PAUSE_IMAGE, command, ...asPart }],
    },
  };
}

/** A pod that accepts connections; its address. */
async function serve(name: string, labels: Record<string, string>, ports = [8080]): Promise<string> {
  const script = [...ports.map((port) => `busybox nc -ll -p ${port} -e /bin/busybox true &`), "wait"].join(
    "\n",
  );
  await kube.create(PODS, pod(name, labels, script));
  const running = await eventually(
    () => kube.get(PODS, { namespace: NAMESPACE, name }),
    ({ status }) => status?.phase === "Running" && status.podIP !== undefined,
    120_000,
  );
  return running.status?.podIP ?? "";
}

/** Which of the targets a pod with these labels reaches, and whether it can look names up. */
async function reached(
  name: string,
  labels: Record<string, string>,
  where = { namespace: NAMESPACE, targets },
): Promise<Record<string, string>> {
  // 1: no connection came about, in a time that a busy machine has enough of; anything else: it did, whatever came of it then.
  const tries = Object.entries(where.targets).map(
    ([title, [address, port]]) =>
      `(echo | busybox timeout 30 busybox nc -w 15 ${address} ${port} >/dev/null 2>&1; [ $? = 1 ] && echo "${title}=closed" || echo "${title}=open") &`,
  );
  // A new pod is open until its address is known to the agent: one that some policy minds waits until it is shut.
  const [address, port] = targets["another pod"] ?? ["", 0];
  const shut = `echo | busybox timeout 20 busybox nc -w 8 ${address} ${port} >/dev/null 2>&1; [ $? = 1 ]`;
  const script = [
    Object.keys(labels).length === 0
      ? "sleep 3"
      : `at=0; until [ $at = 60 ] || (${shut}); do at=$((at + 1)); sleep 1; done`,
    "{",
    ...tries,
    '(busybox nslookup kubernetes.default.svc.cluster.local >/dev/null 2>&1 && echo "names=open" || echo "names=closed") &',
    "wait; } > /dev/termination-log",
  ].join("\n");
  await kube.create(PODS, pod(name, labels, script, where.namespace));
  const ended = await eventually(
    () => kube.get(PODS, { namespace: where.namespace, name }),
    ({ status }) => status?.phase === "Succeeded" || status?.phase === "Failed",
    210_000,
  );
  const message = ended.status?.containerStatuses?.[0]?.state?.terminated?.message ?? "";
  return Object.fromEntries(
    message
      .trim()
      .split("\n")
      .map((line) => line.split("=") as [string, string]),
  );
}
const each = (state: string) => Object.fromEntries(Object.keys(targets).map((title) => [title, state]));

test.concurrent("a pod without the platform's labels reaches the API server and other pods: nothing but the policies is in the way", async () => {
  const found = await reached("plain", {});
  expect(found).toMatchObject({
    "API server": "open",
    "API server's Service": "open",
    "another pod": "open",
    names: "open",
    // The function's own wall.
    "another function": "closed",
    // The platform's own walls.
    executor: "closed",
    storage: "closed",
    "router's internal listener": "closed",
    "log store": "closed",
    "workflow service": "closed",
    "trigger service": "closed",
  });
});

test.concurrent("a function reaches names and nothing inside: no API server, metadata, other function, other pod, control plane", async () => {
  expect(await reached("function", { ...LABELS, "app.kubernetes.io/component": "executor" })).toEqual({
    ...each("closed"),
    names: "open",
  });
});

test.concurrent("neither does a build", async () => {
  expect(await reached("builder", { ...LABELS, "app.kubernetes.io/component": "builder" })).toEqual({
    ...each("closed"),
    names: "open",
  });
});

/** What a part of the platform reaches. */
async function reachedBy(component: string): Promise<Record<string, string>> {
  const name = `probe-${component}`;
  probes.push(name);
  const labels = {
    "app.kubernetes.io/name": "isotope",
    "app.kubernetes.io/instance": "isotope",
    "app.kubernetes.io/component": component,
    [LABEL_PROBE]: "yes",
  };
  return reached(name, labels, { namespace: platform, targets: { ...targets, ...inside } });
}

test.concurrent("the trigger service reaches what it calls, the API server, Redis, and brokers on their ports; nothing else", async () => {
  expect(await reachedBy("triggers")).toEqual({
    ...each("closed"),
    "API server": "open",
    "API server's Service": "open",
    "router's internal listener": "open",
    executor: "open",
    storage: "open",
    "workflow service": "open",
    "a broker": "open",
    "another port of its machine": "closed",
    Redis: "open",
    names: "open",
  });
});

test.concurrent("a part of the platform that has no business with the trigger service does not reach it", async () => {
  const [workflows, storage] = await Promise.all([reachedBy("workflows"), reachedBy("storage")]);
  expect(workflows).toMatchObject({
    storage: "open",
    Redis: "open",
    "trigger service": "closed",
    "a broker": "closed",
  });
  expect(storage).toMatchObject({ "API server": "open", "trigger service": "closed", Redis: "closed" });
});
