import { describe, expect, it } from "vitest";
import type { Pod } from "../kubelet/pod.ts";
import { planSlices, type Service } from "./endpoint-slices-plan.ts";

const service: Service = {
  apiVersion: "v1",
  kind: "Service",
  metadata: { name: "web", namespace: "d", uid: "s", resourceVersion: "1", creationTimestamp: "" },
  spec: { selector: { app: "web" }, ports: [{ name: "http", port: 80, targetPort: "web" }] },
};

interface Traits {
  ip?: string;
  ready?: boolean;
  port?: number;
  deleted?: boolean;
  phase?: "Running" | "Succeeded";
  hostPort?: string;
}

function pod(name: string, traits: Traits = {}): Pod {
  const { ip = "127.64.0.1", ready = true, port = 8888, phase = "Running" } = traits;
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name,
      namespace: "d",
      uid: `uid-${name}`,
      resourceVersion: "1",
      creationTimestamp: "",
      ...(traits.deleted ? { deletionTimestamp: "2026-01-01T00:00:00Z" } : {}),
      ...(traits.hostPort ? { annotations: { "localkube.dev/host-port": traits.hostPort } } : {}),
    },
    spec: {
      nodeName: "local",
      containers: [{ name: "m", image: "a", ports: [{ name: "web", containerPort: port }] }],
    },
    status: { phase, podIP: ip, conditions: [{ type: "Ready", status: ready ? "True" : "False" }] },
  };
}

describe("EndpointSlices of a Service", () => {
  it("names address, port, node and pod", () => {
    expect(planSlices(service, [pod("a")])).toEqual([
      {
        suffix: expect.stringMatching(/^[0-9a-f]{5}$/),
        ports: [{ name: "http", port: 8888, protocol: "TCP" }],
        endpoints: [
          {
            addresses: ["127.64.0.1"],
            conditions: { ready: true, serving: true, terminating: false },
            nodeName: "local",
            targetRef: { kind: "Pod", namespace: "d", name: "a", uid: "uid-a" },
          },
        ],
      },
    ]);
  });

  it.each<[Traits, object]>([
    [{ ready: false }, { ready: false, serving: false, terminating: false }],
    [{ deleted: true }, { ready: false, serving: true, terminating: true }],
    [
      { deleted: true, ready: false },
      { ready: false, serving: false, terminating: true },
    ],
  ])("with %j", (traits, conditions) => {
    expect(planSlices(service, [pod("a", traits)])[0]?.endpoints[0]?.conditions).toEqual(conditions);
  });

  it("publishes pods that are not ready when told to", () => {
    const eager = { ...service, spec: { ...service.spec, publishNotReadyAddresses: true } };
    expect(planSlices(eager, [pod("a", { ready: false })])[0]?.endpoints[0]?.conditions.ready).toBe(true);
  });

  it("leaves out pods without an address or that are over", () => {
    expect(planSlices(service, [pod("a", { ip: "" }), pod("b", { phase: "Succeeded" })])).toEqual([]);
  });

  it("has a slice for each set of real ports", () => {
    const plans = planSlices(service, [
      pod("a", { hostPort: "4001" }),
      pod("b", { hostPort: "4002" }),
      pod("c", { port: 9000 }),
    ]);
    expect(plans.map(({ ports }) => ports[0]?.port)).toEqual([4001, 4002, 9000]);
    expect(new Set(plans.map(({ suffix }) => suffix)).size).toBe(3);
  });

  it("splits at a hundred endpoints", () => {
    const plans = planSlices(
      service,
      Array.from({ length: 250 }, (_, index) => pod(`p${index}`)),
    );
    expect(plans.map(({ endpoints }) => endpoints.length)).toEqual([100, 100, 50]);
  });
});
