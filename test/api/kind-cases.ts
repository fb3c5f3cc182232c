import { describe, expect, test } from "vitest";
import type { Body } from "./api-client.ts";
import { deployment } from "./patch-cases.ts";
import { refused, type Target, useSuite } from "./suite.ts";

const pod = (name: string, spec: Body = {}): Body => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name },
  // A node that does not exist: the pod is stored and nobody runs it.
  spec: { nodeName: "no-such-node", containers: [{ name: "main", image: "example.com/app:1" }], ...spec },
});

/** Defaults and rules of the built-in kinds. */
export function kindCases(connect: () => Target): void {
  describe("built-in kinds", () => {
    const suite = useSuite(connect);
    const { core, group } = suite;
    const post = (path: string, body: Body) => suite.connection.request("POST", path, body);
    const causes = (answer: { body: Body }): string[] =>
      answer.body.details.causes.map((cause: Body) => cause.field);

    test("Secrets: stringData, type, immutability", async () => {
      const made = await suite.create(core("secrets"), {
        metadata: { name: "s" },
        stringData: { a: "text" },
      });
      expect(made).toMatchObject({ type: "Opaque", data: { a: "dGV4dA==" } });
      expect(made.stringData).toBeUndefined();
      refused(
        await suite.connection.request("PUT", core("secrets/s"), { ...made, type: "other" }),
        422,
        "Invalid",
      );
      expect(
        causes(await post(core("secrets"), { metadata: { name: "t" }, type: "kubernetes.io/tls", data: {} })),
      ).toContain("data[tls.crt]");
      refused(
        await post(core("secrets"), { metadata: { name: "t" }, data: { a: "not base64!" } }),
        400,
        "BadRequest",
      );
      const fixed = await suite.create(core("secrets"), {
        metadata: { name: "fixed" },
        immutable: true,
        data: { a: "dGV4dA==" },
      });
      refused(
        await suite.connection.request("PUT", core("secrets/fixed"), { ...fixed, data: {} }),
        422,
        "Invalid",
      );
    });

    test("ConfigMaps: keys and immutability", async () => {
      expect(
        causes(await post(core("configmaps"), { metadata: { name: "c" }, data: { "a/b": "x" } })),
      ).toContain("data[a/b]");
      const fixed = await suite.create(core("configmaps"), {
        metadata: { name: "fixed" },
        immutable: true,
        data: { a: "1" },
      });
      refused(
        await suite.connection.request("PUT", core("configmaps/fixed"), { ...fixed, data: { a: "2" } }),
        422,
        "Invalid",
      );
    });

    test("Pods: defaults", async () => {
      const made = await suite.create(
        core("pods"),
        pod("defaults", {
          containers: [
            {
              name: "main",
              image: "example.com/app",
              ports: [{ containerPort: 80 }],
              readinessProbe: { httpGet: { port: 80 } },
            },
          ],
        }),
      );
      expect(made.spec).toMatchObject({
        restartPolicy: "Always",
        terminationGracePeriodSeconds: 30,
        dnsPolicy: "ClusterFirst",
        serviceAccountName: "default",
      });
      expect(made.spec.containers[0]).toMatchObject({
        imagePullPolicy: "Always",
        ports: [{ containerPort: 80, protocol: "TCP" }],
        readinessProbe: {
          httpGet: { path: "/", scheme: "HTTP", port: 80 },
          periodSeconds: 10,
          failureThreshold: 3,
        },
      });
      expect(made.status).toMatchObject({ phase: "Pending", qosClass: "BestEffort" });
    });

    test.each<[string, Body, string]>([
      ["no container", { containers: [] }, "spec.containers"],
      ["a container without image", { containers: [{ name: "a" }] }, "spec.containers[0].image"],
      ["a bad container name", { containers: [{ name: "A_b", image: "x" }] }, "spec.containers[0].name"],
      [
        "two containers of one name",
        { containers: [1, 2].map(() => ({ name: "a", image: "x" })) },
        "spec.containers[1].name",
      ],
      ["an unknown restart policy", { restartPolicy: "Sometimes" }, "spec.restartPolicy"],
      [
        "a mount without its volume",
        { containers: [{ name: "a", image: "x", volumeMounts: [{ name: "v", mountPath: "/v" }] }] },
        "spec.containers[0].volumeMounts[0].name",
      ],
      [
        "a port out of range",
        { containers: [{ name: "a", image: "x", ports: [{ containerPort: 70000 }] }] },
        "spec.containers[0].ports[0].containerPort",
      ],
      [
        "more requested than the limit",
        {
          containers: [
            { name: "a", image: "x", resources: { limits: { memory: "1Mi" }, requests: { memory: "2Mi" } } },
          ],
        },
        "spec.containers[0].resources.requests",
      ],
      [
        "a probe of two kinds",
        {
          containers: [
            { name: "a", image: "x", livenessProbe: { httpGet: { port: 1 }, tcpSocket: { port: 1 } } },
          ],
        },
        "spec.containers[0].livenessProbe.tcpSocket",
      ],
    ])("Pods: %s is refused", async (_name, spec, field) => {
      const answer = await post(core("pods"), pod("bad", spec));
      refused(answer, 422, "Invalid");
      expect(
        causes(answer).some((each) => each.startsWith(field)),
        answer.text,
      ).toBe(true);
    });

    test("Pods: a running pod's spec is fixed but for its image", async () => {
      const made = await suite.create(core("pods"), pod("fixed"));
      const changed = structuredClone(made);
      changed.spec.containers[0].image = "example.com/app:2";
      const next = await suite.connection.request("PUT", core("pods/fixed"), changed);
      expect(next.status, next.text).toBe(200);
      next.body.spec.containers[0].name = "other";
      refused(await suite.connection.request("PUT", core("pods/fixed"), next.body), 422, "Invalid");
    });

    test("Pods: a deletion gives them time, then 0 seconds end it", async () => {
      const made = await suite.create(core("pods"), pod("graceful", { terminationGracePeriodSeconds: 300 }));
      const status = { status: { phase: "Running" } };
      await suite.connection.request("PATCH", `${core("pods/graceful")}/status`, status, {
        contentType: "application/merge-patch+json",
      });
      const going = await suite.connection.request("DELETE", core("pods/graceful"));
      expect(going.body.metadata).toMatchObject({ uid: made.metadata.uid, deletionGracePeriodSeconds: 300 });
      expect((await suite.connection.request("GET", core("pods/graceful"))).status).toBe(200);
      await suite.connection.request("DELETE", core("pods/graceful"), { gracePeriodSeconds: 0 });
      expect((await suite.connection.request("GET", core("pods/graceful"))).status).toBe(404);
    });

    test("Pods: selected by phase and node; shown as kubectl shows them", async () => {
      await suite.create(core("pods"), pod("selected"));
      const query = `fieldSelector=${encodeURIComponent("spec.nodeName=no-such-node,status.phase=Pending,metadata.name=selected")}`;
      const found = await suite.connection.request("GET", `${core("pods")}?${query}`);
      expect(found.body.items.length).toBe(1);
      const table = await suite.connection.request("GET", core("pods/selected"), undefined, {
        accept: "application/json;as=Table;v=v1;g=meta.k8s.io",
      });
      expect(table.body.columnDefinitions.slice(0, 5).map((each: Body) => each.name)).toEqual([
        "Name",
        "Ready",
        "Status",
        "Restarts",
        "Age",
      ]);
      expect(table.body.rows[0].cells.slice(0, 3)).toEqual(["selected", "0/1", "Pending"]);
    });

    test("Pods: exec answers a plain request with an error", async () => {
      await suite.create(core("pods"), pod("exec"));
      const answer = await suite.connection.request("POST", `${core("pods/exec")}/exec?command=ls`);
      expect(answer.status).toBeGreaterThanOrEqual(400);
      expect(answer.status).toBeLessThan(500);
      expect(answer.body).toMatchObject({ kind: "Status", status: "Failure", code: answer.status });
    });

    test("Deployments and ReplicaSets: defaults, selector, template", async () => {
      const made = await suite.create(group("apps/v1", "deployments"), deployment("d"));
      expect(made.spec).toMatchObject({
        strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: "25%", maxUnavailable: "25%" } },
        revisionHistoryLimit: 10,
        progressDeadlineSeconds: 600,
      });
      const mismatched = deployment("m");
      mismatched.spec.selector.matchLabels = { app: "other" };
      expect(causes(await post(group("apps/v1", "deployments"), mismatched))).toContain(
        "spec.template.metadata.labels",
      );
      const moved = structuredClone(
        (await suite.connection.request("GET", group("apps/v1", "deployments/d"))).body,
      );
      // A controller may write its status at any time.
      delete moved.metadata.resourceVersion;
      moved.spec.selector.matchLabels = { app: "x" };
      moved.spec.template.metadata.labels = { app: "x" };
      refused(
        await suite.connection.request("PUT", group("apps/v1", "deployments/d"), moved),
        422,
        "Invalid",
      );
      const text = { ...deployment("t"), spec: { ...deployment("t").spec, replicas: "three" } };
      expect(refused(await post(group("apps/v1", "deployments"), text), 400, "BadRequest")).toContain(
        "replicas",
      );
    });

    test("Services: address, ports", async () => {
      const made = await suite.create(core("services"), {
        metadata: { name: "svc" },
        spec: { selector: { a: "b" }, ports: [{ port: 80 }] },
      });
      expect(made.spec).toMatchObject({
        type: "ClusterIP",
        ports: [{ port: 80, protocol: "TCP", targetPort: 80 }],
      });
      expect(made.spec.clusterIP).toMatch(/^\d+\.\d+\.\d+\.\d+$/);
      const headless = await suite.create(core("services"), {
        metadata: { name: "headless" },
        spec: { clusterIP: "None", ports: [{ port: 80 }] },
      });
      expect(headless.spec.clusterIP).toBe("None");
      expect(
        causes(await post(core("services"), { metadata: { name: "no" }, spec: { ports: [{ port: 0 }] } })),
      ).toContain("spec.ports[0].port");
      expect(
        causes(await post(core("services"), { metadata: { name: "1st" }, spec: { ports: [{ port: 1 }] } })),
      ).toContain("metadata.name");
    });

    test("EndpointSlices and Leases", async () => {
      const slice = {
        metadata: { name: "slice" },
        addressType: "IPv4",
        endpoints: [{ addresses: ["10.1.2.3"], conditions: { ready: true } }],
        ports: [{ name: "http", port: 80 }],
      };
      const made = await suite.create(group("discovery.k8s.io/v1", "endpointslices"), slice);
      expect(made.ports[0].protocol).toBe("TCP");
      const bad = { ...slice, metadata: { name: "bad" }, endpoints: [{ addresses: ["nowhere"] }] };
      refused(await post(group("discovery.k8s.io/v1", "endpointslices"), bad), 422, "Invalid");
      const lease = await suite.create(group("coordination.k8s.io/v1", "leases"), {
        metadata: { name: "lease" },
        spec: { holderIdentity: "me", leaseDurationSeconds: 15, renewTime: "2024-01-01T00:00:00.123456Z" },
      });
      expect(lease.spec.renewTime).toBe("2024-01-01T00:00:00.123456Z");
      refused(
        await post(group("coordination.k8s.io/v1", "leases"), {
          metadata: { name: "zero" },
          spec: { leaseDurationSeconds: 0 },
        }),
        422,
        "Invalid",
      );
    });

    test("Events: both groups show the same ones", async () => {
      await suite.create(core("events"), {
        metadata: { name: "e.1" },
        involvedObject: { kind: "Pod", namespace: suite.namespace, name: "p", uid: "u" },
        reason: "Tested",
        message: "it was tested",
        type: "Normal",
        source: { component: "tests" },
        firstTimestamp: "2024-01-01T00:00:00Z",
        lastTimestamp: "2024-01-01T00:00:00Z",
        count: 1,
      });
      const selector = encodeURIComponent(
        "involvedObject.kind=Pod,involvedObject.name=p,reason=Tested,type=Normal",
      );
      const found = await suite.connection.request("GET", `${core("events")}?fieldSelector=${selector}`);
      expect(found.body.items.length).toBe(1);
      const other = await suite.connection.request("GET", group("events.k8s.io/v1", "events/e.1"));
      expect(other.body).toMatchObject({
        apiVersion: "events.k8s.io/v1",
        note: "it was tested",
        regarding: { name: "p" },
        deprecatedCount: 1,
      });
      const elsewhere = {
        metadata: { name: "e.2" },
        involvedObject: { kind: "Pod", namespace: "elsewhere", name: "p" },
        reason: "R",
        type: "Normal",
      };
      refused(await post(core("events"), elsewhere), 422, "Invalid");
    });
  });
}
