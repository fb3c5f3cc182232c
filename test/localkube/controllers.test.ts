import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isDeployment, isReplicaSet } from "../../localkube/controllers/workload.ts";
import { collectTerminatedPods } from "../../localkube/controllers/terminated-pods.ts";
import { asPod, type Pod } from "../../localkube/kubelet/pod.ts";
import { isReady, type Node, openNode, until } from "./open-node.ts";

let node: Node;
beforeAll(async () => {
  node = await openNode({ controllers: true });
});
afterAll(() => node.close());

const template = (app: string, more: object = {}) => ({
  metadata: { labels: { app } },
  spec: {
    terminationGracePeriodSeconds: 1,
    containers: [{ name: "main", image: "fixed", ports: [{ containerPort: 8888 }], ...more }],
  },
});
const podsOf = (app: string): Pod[] =>
  node
    .list("pods")
    .map(asPod)
    .filter(({ metadata }) => metadata.labels?.["app"] === app);
const setsOf = (app: string) =>
  node
    .list("replicasets.apps")
    .flatMap((set) =>
      isReplicaSet(set) && set.spec.template.metadata?.labels?.["app"] === app ? [set] : [],
    );
function deployment(name: string) {
  const object = node.store.get("deployments.apps", "default", name);
  return isDeployment(object) ? object : undefined;
}
const createDeployment = (name: string, spec: object) =>
  node.store.create("deployments.apps", {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name, namespace: "default" },
    spec: { selector: { matchLabels: { app: name } }, template: template(name), ...spec },
  });
const rolledOut = (name: string, replicas: number) =>
  until(() => {
    const { status, metadata } = deployment(name) ?? {};
    return (
      status?.observedGeneration === metadata?.generation &&
      status?.replicas === replicas &&
      status.updatedReplicas === replicas &&
      status.availableReplicas === replicas
    );
  });
const patch = (name: string, spec: object) => node.store.patch("deployments.apps", "default", name, { spec });

describe("ReplicaSet", () => {
  const createSet = (name: string, replicas: number, more: object = {}) =>
    node.store.create("replicasets.apps", {
      apiVersion: "apps/v1",
      kind: "ReplicaSet",
      metadata: { name, namespace: "default" },
      spec: { replicas, selector: { matchLabels: { app: name } }, template: template(name), ...more },
    });
  const active = (app: string): Pod[] =>
    podsOf(app).filter(({ metadata }) => metadata.deletionTimestamp === undefined);

  it("keeps its number of pods, whatever happens to them", async () => {
    await createSet("kept", 3);
    await until(() => podsOf("kept").filter(isReady).length === 3);
    const first = podsOf("kept")[0];
    await node.store.delete("pods", "default", first?.metadata.name ?? "");
    await until(() => podsOf("kept").filter(isReady).length === 3 && !node.pod(first?.metadata.name ?? ""));
    const status = () => setsOf("kept")[0]?.status;
    await until(() => status()?.availableReplicas === 3);
    expect(status()).toMatchObject({
      replicas: 3,
      readyReplicas: 3,
      fullyLabeledReplicas: 3,
      observedGeneration: 1,
    });
  });

  it("takes in matching pods without an owner and lets go of those that stop matching", async () => {
    await node.createPod("stray", template("adopts").spec, { labels: { app: "adopts" } });
    await until(() => isReady(node.pod("stray")));
    await createSet("adopts", 2);
    await until(() => podsOf("adopts").filter(isReady).length === 2);
    expect(node.pod("stray")?.metadata.ownerReferences).toMatchObject([
      { kind: "ReplicaSet", name: "adopts", controller: true },
    ]);
    await node.store.patch("pods", "default", "stray", { metadata: { labels: { app: "free" } } });
    await until(() => podsOf("adopts").filter(isReady).length === 2);
    expect(node.pod("stray")?.metadata.ownerReferences ?? []).toEqual([]);
    expect(isReady(node.pod("stray"))).toBe(true);
  });

  it("deletes first the pods that are cheapest to lose", async () => {
    await createSet("ranked", 3);
    await until(() => podsOf("ranked").filter(isReady).length === 3);
    const [keep] = podsOf("ranked");
    const name = keep?.metadata.name ?? "";
    for (const { metadata } of podsOf("ranked")) {
      const cost = metadata.name === name ? "100" : "1";
      await node.store.patch("pods", "default", metadata.name, {
        metadata: { annotations: { "controller.kubernetes.io/pod-deletion-cost": cost } },
      });
    }
    await node.store.patch("replicasets.apps", "default", "ranked", { spec: { replicas: 1 } });
    await until(() => podsOf("ranked").length === 1);
    expect(podsOf("ranked")[0]?.metadata.name).toBe(name);
  });

  it("counts a pod as available only after minReadySeconds", async () => {
    const seen: (number | undefined)[] = [];
    const from = node.store.list("replicasets.apps").resourceVersion;
    const unwatch = node.store.watch("replicasets.apps", from, ({ object }) => {
      if (object.metadata.name !== "patient" || !isReplicaSet(object)) return;
      if (object.status?.readyReplicas === 1) seen.push(object.status.availableReplicas);
    });
    // More than one, since the time at which a pod became ready is told in whole seconds.
    await createSet("patient", 1, { minReadySeconds: 3 });
    await until(() => seen.at(-1) === 1);
    unwatch();
    expect(seen[0]).toBe(0);
  });

  it("replaces pods that are over and leaves them to be looked at", async () => {
    await createSet("replaced", 1, { template: template("replaced") });
    await until(() => active("replaced").filter(isReady).length === 1);
    const name = active("replaced")[0]?.metadata.name ?? "";
    await node.store.patch("pods", "default", name, { spec: { activeDeadlineSeconds: 1 } });
    await node.restartKubelet();
    await until(() => node.pod(name)?.status?.phase === "Failed");
    await until(() => podsOf("replaced").filter(isReady).length === 1);
    expect(podsOf("replaced")).toHaveLength(2);
  });
});

describe("Deployment", () => {
  it("comes up, scales both ways, and says so", async () => {
    await createDeployment("web", { replicas: 2 });
    await rolledOut("web", 2);
    const conditions = deployment("web")?.status?.conditions?.map(({ type, status, reason }) => [
      type,
      status,
      reason,
    ]);
    expect(conditions).toEqual([
      ["Available", "True", "MinimumReplicasAvailable"],
      ["Progressing", "True", "NewReplicaSetAvailable"],
    ]);
    await patch("web", { replicas: 4 });
    await rolledOut("web", 4);
    await patch("web", { replicas: 0 });
    await rolledOut("web", 0);
    expect(setsOf("web")).toHaveLength(1);
  });

  it("rolls to a new template within its limits, and back to the old ReplicaSet", async () => {
    await createDeployment("rolling", {
      replicas: 4,
      strategy: { rollingUpdate: { maxSurge: 1, maxUnavailable: 1 } },
    });
    await rolledOut("rolling", 4);
    const seen: [number, number][] = [];
    const unwatch = node.store.watch("pods", node.store.list("pods").resourceVersion, () => {
      const pods = podsOf("rolling").filter(({ metadata }) => metadata.deletionTimestamp === undefined);
      seen.push([pods.length, pods.filter(isReady).length]);
    });
    await patch("rolling", { template: { metadata: { annotations: { v: "2" } } } });
    await rolledOut("rolling", 4);
    unwatch();
    expect(Math.max(...seen.map(([total]) => total))).toBeLessThanOrEqual(5);
    expect(Math.min(...seen.map(([, ready]) => ready))).toBeGreaterThanOrEqual(3);
    const [first, second] = setsOf("rolling").sort(
      (left, right) => (left.spec.replicas ?? 0) - (right.spec.replicas ?? 0),
    );
    expect([first?.spec.replicas, second?.spec.replicas]).toEqual([0, 4]);
    await until(
      () => deployment("rolling")?.metadata.annotations?.["deployment.kubernetes.io/revision"] === "2",
    );
    await patch("rolling", { template: { metadata: { annotations: null } } });
    await rolledOut("rolling", 4);
    expect(setsOf("rolling")).toHaveLength(2);
    const back = setsOf("rolling").find(({ metadata }) => metadata.uid === first?.metadata.uid);
    expect(back?.spec.replicas).toBe(4);
    await until(
      () => deployment("rolling")?.metadata.annotations?.["deployment.kubernetes.io/revision"] === "3",
    );
  });

  it("keeps the old pods serving when the new ones do not come up, and tells in time", async () => {
    await createDeployment("stuck", { replicas: 2, progressDeadlineSeconds: 1 });
    await rolledOut("stuck", 2);
    await patch("stuck", { template: template("stuck", { image: "no-such-image" }) });
    await until(() =>
      deployment("stuck")?.status?.conditions?.some(({ reason }) => reason === "ProgressDeadlineExceeded"),
    );
    expect(podsOf("stuck").filter(isReady).length).toBe(2);
    expect(deployment("stuck")?.status?.conditions?.find(({ type }) => type === "Available")?.status).toBe(
      "True",
    );
    await patch("stuck", { template: template("stuck") });
    await rolledOut("stuck", 2);
  });

  it("with Recreate has no pod of the new template before the last of the old is gone", async () => {
    await createDeployment("fresh", { replicas: 2, strategy: { type: "Recreate" } });
    await rolledOut("fresh", 2);
    const old = new Set(podsOf("fresh").map(({ metadata }) => metadata.uid));
    let mixed = false;
    const unwatch = node.store.watch("pods", node.store.list("pods").resourceVersion, () => {
      const uids = podsOf("fresh").map(({ metadata }) => metadata.uid);
      mixed ||= uids.some((uid) => old.has(uid)) && uids.some((uid) => !old.has(uid));
    });
    await patch("fresh", { template: { metadata: { annotations: { v: "2" } } } });
    await rolledOut("fresh", 2);
    unwatch();
    expect(mixed).toBe(false);
    expect(podsOf("fresh").some(({ metadata }) => old.has(metadata.uid))).toBe(false);
  });

  it("does nothing but scale while it is paused", async () => {
    await createDeployment("paused", { replicas: 1 });
    await rolledOut("paused", 1);
    await patch("paused", { paused: true, template: { metadata: { annotations: { v: "2" } } } });
    await until(() =>
      deployment("paused")?.status?.conditions?.some(({ reason }) => reason === "DeploymentPaused"),
    );
    await patch("paused", { replicas: 3 });
    await until(() => podsOf("paused").filter(isReady).length === 3);
    expect(setsOf("paused")).toHaveLength(1);
    await patch("paused", { paused: false });
    await rolledOut("paused", 3);
    expect(setsOf("paused")).toHaveLength(2);
  });

  it("keeps no more history than told", async () => {
    await createDeployment("history", { replicas: 1, revisionHistoryLimit: 1 });
    for (const v of ["1", "2", "3"]) {
      await rolledOut("history", 1);
      await patch("history", { template: { metadata: { annotations: { v } } } });
    }
    await rolledOut("history", 1);
    await until(() => setsOf("history").length === 2);
  });
});

describe("Service", () => {
  const endpoints = (name: string): { targetRef: { uid: string }; conditions: { ready: boolean } }[] =>
    node
      .list("endpointslices.discovery.k8s.io")
      .filter(({ metadata }) => metadata.labels?.["kubernetes.io/service-name"] === name)
      .flatMap((slice) => JSON.parse(JSON.stringify(slice["endpoints"] ?? [])));
  const readyUids = (name: string): string[] =>
    endpoints(name)
      .filter(({ conditions }) => conditions.ready)
      .map(({ targetRef }) => targetRef.uid)
      .sort();
  const uids = (app: string): string[] =>
    podsOf(app)
      .map(({ metadata }) => metadata.uid)
      .sort();

  it("has the ready pods of its selector in its slices, and follows every change", async () => {
    await createDeployment("served", { replicas: 2 });
    await node.store.create("services", {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "served", namespace: "default" },
      spec: { selector: { app: "served" }, ports: [{ port: 80, targetPort: 8888 }] },
    });
    await rolledOut("served", 2);
    await until(() => readyUids("served").join() === uids("served").join());
    const out = podsOf("served")[0]?.metadata.name ?? "";
    await node.store.patch("pods", "default", out, { metadata: { labels: { app: "elsewhere" } } });
    await until(() => uids("served").length === 2 && readyUids("served").join() === uids("served").join());
    await node.store.patch("services", "default", "served", { spec: { selector: { app: "elsewhere" } } });
    await until(() => readyUids("served").join() === node.pod(out)?.metadata.uid);
    const slice = node
      .list("endpointslices.discovery.k8s.io")
      .find(({ metadata }) => metadata.name.startsWith("served-"));
    await node.store.delete("endpointslices.discovery.k8s.io", "default", slice?.metadata.name ?? "");
    await until(() => readyUids("served").length === 1);
    await node.store.delete("services", "default", "served");
    await until(() => endpoints("served").length === 0);
  });
});

describe("pods that nobody looks after", () => {
  it("are removed: the oldest that are over, and deleted ones on a node that is not there", async () => {
    const run = (name: string) =>
      node.createPod(name, {
        restartPolicy: "Never",
        containers: [{ name: "main", image: "sh", args: ["exit 0"] }],
      });
    for (const name of ["over-1", "over-2"]) {
      await run(name);
      await until(() => node.pod(name)?.status?.phase === "Succeeded");
    }
    await node.createPod("lost", { nodeName: "mars", containers: [{ name: "main", image: "fixed" }] });
    await node.store.delete("pods", "default", "lost");
    expect(node.pod("lost")?.metadata.deletionTimestamp).toBeDefined();
    await collectTerminatedPods(node.store, 1000);
    expect([node.pod("lost"), node.pod("over-1") === undefined]).toEqual([undefined, false]);
    await collectTerminatedPods(node.store, 0);
    await until(() => !node.pod("over-1") && !node.pod("over-2"));
  });
});

describe("the node", () => {
  it("is there, ready, with its lease", () => {
    const object = node.store.get("nodes", undefined, "local");
    expect(object?.status).toMatchObject({
      capacity: { pods: expect.any(String), cpu: expect.any(String), memory: expect.stringMatching(/Ki$/) },
      conditions: expect.arrayContaining([expect.objectContaining({ type: "Ready", status: "True" })]),
    });
    const lease = node.store.get("leases.coordination.k8s.io", "kube-node-lease", "local");
    expect(lease?.spec).toMatchObject({ holderIdentity: "local", leaseDurationSeconds: 40 });
  });
});
