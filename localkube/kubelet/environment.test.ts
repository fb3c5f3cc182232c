import { describe, expect, it } from "vitest";
import { ConfigError, type ConfigSources, resolveEnvironment } from "./environment.ts";
import { expandReferences } from "./expand-references.ts";
import type { ContainerSpec, EnvVar, Pod } from "./pod.ts";

const sources: ConfigSources = {
  secret: (_namespace, name) => (name === "keys" ? new Map([["token", Buffer.from("s3cret")]]) : undefined),
  configMap: (_namespace, name) =>
    name === "settings"
      ? new Map([
          ["MODE", Buffer.from("fast")],
          ["not a name", Buffer.from("x")],
        ])
      : undefined,
};
const place = { podIP: "127.64.0.9", hostIP: "127.0.0.1", nodeName: "local" };

function podWith(container: Partial<ContainerSpec>): { pod: Pod; container: ContainerSpec } {
  const full: ContainerSpec = { name: "main", image: "a", ...container };
  const metadata = {
    name: "web-1",
    namespace: "shop",
    uid: "u-1",
    resourceVersion: "1",
    creationTimestamp: "2026-01-01T00:00:00Z",
    labels: { app: "web" },
    annotations: { "a/b": "c" },
  };
  return { pod: { apiVersion: "v1", kind: "Pod", metadata, spec: { containers: [full] } }, container: full };
}

function resolve(env: EnvVar[], more: Partial<ContainerSpec> = {}): Record<string, string> {
  const { pod, container } = podWith({ env, ...more });
  return resolveEnvironment(pod, place, container, sources, { PATH: "/bin" });
}

describe("environment of a container", () => {
  it("holds the base and the container's own, and nothing of this process", () => {
    expect(resolve([{ name: "A", value: "1" }])).toEqual({ PATH: "/bin", A: "1" });
  });

  it("reads secrets, config maps and fields", () => {
    const field = (fieldPath: string): EnvVar => ({
      name: fieldPath,
      valueFrom: { fieldRef: { fieldPath } },
    });
    expect(
      resolve([
        { name: "T", valueFrom: { secretKeyRef: { name: "keys", key: "token" } } },
        { name: "M", valueFrom: { configMapKeyRef: { name: "settings", key: "MODE" } } },
        field("metadata.name"),
        field("metadata.namespace"),
        field("metadata.uid"),
        field("metadata.labels['app']"),
        field("metadata.annotations['a/b']"),
        field("spec.nodeName"),
        field("status.podIP"),
        field("status.hostIP"),
      ]),
    ).toEqual({
      PATH: "/bin",
      T: "s3cret",
      M: "fast",
      "metadata.name": "web-1",
      "metadata.namespace": "shop",
      "metadata.uid": "u-1",
      "metadata.labels['app']": "web",
      "metadata.annotations['a/b']": "c",
      "spec.nodeName": "local",
      "status.podIP": "127.64.0.9",
      "status.hostIP": "127.0.0.1",
    });
  });

  it("takes whole objects with a prefix, later sources and env winning", () => {
    const env = resolve([{ name: "X_MODE", value: "slow" }], {
      envFrom: [{ prefix: "X_", configMapRef: { name: "settings" } }, { secretRef: { name: "keys" } }],
    });
    expect(env).toEqual({ PATH: "/bin", X_MODE: "slow", token: "s3cret" });
  });

  it("leaves out what is optional and missing", () => {
    expect(
      resolve(
        [
          { name: "A", valueFrom: { secretKeyRef: { name: "none", key: "x", optional: true } } },
          { name: "B", valueFrom: { configMapKeyRef: { name: "settings", key: "none", optional: true } } },
        ],
        { envFrom: [{ secretRef: { name: "none", optional: true } }] },
      ),
    ).toEqual({ PATH: "/bin" });
  });

  it.each([
    [{ secretKeyRef: { name: "none", key: "x" } }, 'secret "none" not found'],
    [{ configMapKeyRef: { name: "none", key: "x" } }, 'configmap "none" not found'],
    [{ secretKeyRef: { name: "keys", key: "x" } }, "couldn't find key x in Secret shop/keys"],
    [{ fieldRef: { fieldPath: "spec.color" } }, 'field path "spec.color" is not known'],
  ])("refuses %j", (valueFrom, message) => {
    expect(() => resolve([{ name: "A", valueFrom }])).toThrow(ConfigError);
    expect(() => resolve([{ name: "A", valueFrom }])).toThrow(message);
  });

  it("reads resource fields in units of their divisor", () => {
    const limits = { memory: "64Mi", cpu: "250m" };
    const of = (resource: string, divisor?: string): EnvVar => ({
      name: resource,
      valueFrom: { resourceFieldRef: { resource, ...(divisor ? { divisor } : {}) } },
    });
    const env = resolve([of("limits.memory", "1Mi"), of("limits.cpu")], { resources: { limits } });
    expect([env["limits.memory"], env["limits.cpu"]]).toEqual(["64", "1"]);
  });

  it("expands references to variables before it", () => {
    expect(
      resolve([
        { name: "A", value: "1" },
        { name: "B", value: "$(A)-$$(A)-$(NONE)" },
      ])["B"],
    ).toBe("1-$(A)-$(NONE)");
  });
});

it("expands like Kubernetes", () => {
  expect(expandReferences("$(A)$$(A)$(B)$A$", { A: "x" })).toBe("x$(A)$(B)$A$");
});
