import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { z } from "zod";
import { createKubeClient, type KubeClient } from "../../kube/client.ts";
import { applyManifests } from "./apply-manifests.ts";
import { currentCluster } from "./cluster.ts";
import { NETWORK, NODE_NAME, PAUSE_IMAGE } from "./layout.ts";
import { podsAreTaken } from "./pods-are-taken.ts";

const TIMEOUT = { timeout: 120_000, interval: 200 };
const CALL_MS = 1_000;
const Pod = z.looseObject({
  status: z.looseObject({ phase: z.string(), podIP: z.string().optional() }),
});

/** What the tests take for granted of the cluster that this machine runs. */
describe.skipIf(!currentCluster().own)("the test cluster", { timeout: 480_000 }, () => {
  let kube: KubeClient;
  let namespace = "";
  beforeAll(async () => {
    kube = await createKubeClient({ kubeconfig: currentCluster().kubeconfig });
    const made = await kube.request({
      method: "POST",
      path: "/api/v1/namespaces",
      body: { metadata: { generateName: "cluster-" } },
    });
    namespace = z.looseObject({ metadata: z.looseObject({ name: z.string() }) }).parse(made).metadata.name;
    await podsAreTaken(kube, namespace);
  });
  afterAll(async () => {
    await kube.request({ method: "DELETE", path: `/api/v1/namespaces/${namespace}` });
    await kube.close();
  });

  const apply = (object: object): Promise<void> =>
    applyManifests(kube, JSON.stringify(object), {}, namespace);
  const pod = (name: string, script: string, spec: object = {}, container: object = {}): Promise<void> =>
    apply({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name, labels: { app: name } },
      spec: {
        restartPolicy: "Never",
        terminationGracePeriodSeconds: 0,
        automountServiceAccountToken: false,
        containers: [{ name: "main", image: PAUSE_IMAGE, command: ["/bin/sh", "-c", script], ...container }],
        ...spec,
      },
    });
  const read = async (name: string) =>
    Pod.parse(await kube.request({ method: "GET", path: `/api/v1/namespaces/${namespace}/pods/${name}` }))
      .status;
  const succeeds = (name: string): Promise<void> =>
    vi.waitFor(async () => expect((await read(name)).phase).toBe("Succeeded"), TIMEOUT);

  it("resolves names of services", async () => {
    // A question may be lost, or its answer be late: it is asked again.
    await pod(
      "names",
      "until nslookup kubernetes.default.svc.cluster.local | grep 10.96.0.1; do sleep 1; done",
    );
    await succeeds("names");
  });

  it("binds claims without a class", async () => {
    await apply({
      apiVersion: "v1",
      kind: "PersistentVolumeClaim",
      metadata: { name: "data" },
      spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Mi" } } },
    });
    await pod(
      "writer",
      "echo kept >/data/file && grep kept /data/file",
      {
        securityContext: { runAsUser: 10_001, runAsNonRoot: true },
        volumes: [{ name: "data", persistentVolumeClaim: { claimName: "data" } }],
      },
      { volumeMounts: [{ name: "data", mountPath: "/data" }] },
    );
    await succeeds("writer");
  });

  it("enforces network policies", async () => {
    await pod("web", "mkdir /tmp/www && echo hello >/tmp/www/index.html && httpd -f -p 8080 -h /tmp/www");
    const call = async (): Promise<string> => {
      const { podIP } = await read("web");
      if (podIP === undefined) return "no address";
      return await fetch(`http://${podIP}:8080/`, { signal: AbortSignal.timeout(CALL_MS) }).then(
        (response) => response.text(),
        () => "unreachable",
      );
    };
    const policy = (ingress: object[]) => ({
      apiVersion: "networking.k8s.io/v1",
      kind: "NetworkPolicy",
      metadata: { name: "web" },
      spec: { podSelector: { matchLabels: { app: "web" } }, policyTypes: ["Ingress"], ingress },
    });
    await vi.waitFor(async () => expect(await call()).toBe("hello\n"), TIMEOUT);
    await apply(policy([]));
    await vi.waitFor(async () => expect(await call()).toBe("unreachable"), TIMEOUT);
    await apply(policy([{ from: [{ ipBlock: { cidr: `${NETWORK.host}/32` } }] }]));
    await vi.waitFor(async () => expect(await call()).toBe("hello\n"), TIMEOUT);
  });

  it("measures its node", async () => {
    await vi.waitFor(
      () => kube.request({ method: "GET", path: `/apis/metrics.k8s.io/v1beta1/nodes/${NODE_NAME}` }),
      TIMEOUT,
    );
  });
});
