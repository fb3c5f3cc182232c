import { describe, expect, it } from "vitest";
import { podSpecProblems, runtimeContainerProblems } from "./pod-spec-policy.ts";

const container = (more: Record<string, unknown>) => ({
  containers: [{ name: "app", image: "web:1", ...more }],
});

describe("a pod spec of a container function", () => {
  it("may say what an HTTP server needs", () => {
    const podspec = {
      containers: [
        {
          name: "app",
          image: "web:1",
          command: ["/web"],
          args: ["--port", "80"],
          env: [{ name: "A", value: "b" }],
          ports: [{ containerPort: 80, name: "http", protocol: "TCP" }],
          resources: { limits: { memory: "64Mi" } },
          readinessProbe: { httpGet: { path: "/", port: 80 } },
          volumeMounts: [{ name: "tmp", mountPath: "/tmp" }],
          securityContext: { runAsUser: 1000, capabilities: { drop: ["ALL"], add: ["NET_BIND_SERVICE"] } },
        },
      ],
      volumes: [{ name: "tmp", emptyDir: {} }],
      nodeSelector: { disk: "ssd" },
      terminationGracePeriodSeconds: 5,
    };
    expect(podSpecProblems(podspec, "container", "spec.podspec")).toEqual([]);
  });

  it.each<[string, Record<string, unknown>]>([
    ["spec.podspec.hostNetwork", { hostNetwork: true }],
    ["spec.podspec.hostPID", { hostPID: true }],
    ["spec.podspec.hostIPC", { hostIPC: true }],
    ["spec.podspec.hostUsers", { hostUsers: true }],
    ["spec.podspec.nodeName", { nodeName: "node1" }],
    ["spec.podspec.serviceAccountName", { serviceAccountName: "admin" }],
    ["spec.podspec.serviceAccount", { serviceAccount: "admin" }],
    ["spec.podspec.automountServiceAccountToken", { automountServiceAccountToken: true }],
    ["spec.podspec.shareProcessNamespace", { shareProcessNamespace: true }],
    ["spec.podspec.ephemeralContainers", { ephemeralContainers: [] }],
    ["spec.podspec.restartPolicy", { restartPolicy: "Never" }],
    ["spec.podspec.securityContext.sysctls", { securityContext: { sysctls: [] } }],
    ["spec.podspec.securityContext.runAsUser", { securityContext: { runAsUser: 0 } }],
    ["spec.podspec.securityContext.runAsNonRoot", { securityContext: { runAsNonRoot: false } }],
    [
      "spec.podspec.securityContext.seccompProfile.type",
      { securityContext: { seccompProfile: { type: "Unconfined" } } },
    ],
    ["spec.podspec.volumes[0].hostPath", { volumes: [{ name: "v", hostPath: { path: "/" } }] }],
    ["spec.podspec.volumes[0].csi", { volumes: [{ name: "v", csi: {} }] }],
    [
      "spec.podspec.volumes[0].projected.sources[0].serviceAccountToken",
      { volumes: [{ name: "v", projected: { sources: [{ serviceAccountToken: { path: "t" } }] } }] },
    ],
    ["spec.podspec.containers[0].ports[0].hostPort", container({ ports: [{ hostPort: 80 }] })],
    ["spec.podspec.containers[0].volumeDevices", container({ volumeDevices: [] })],
    [
      "spec.podspec.containers[0].volumeMounts[0].mountPropagation",
      container({ volumeMounts: [{ name: "v", mountPath: "/v", mountPropagation: "Bidirectional" }] }),
    ],
    [
      "spec.podspec.containers[0].securityContext.privileged",
      container({ securityContext: { privileged: true } }),
    ],
    [
      "spec.podspec.containers[0].securityContext.allowPrivilegeEscalation",
      container({ securityContext: { allowPrivilegeEscalation: true } }),
    ],
    [
      "spec.podspec.containers[0].securityContext.capabilities.add[0]",
      container({ securityContext: { capabilities: { add: ["SYS_TIME"] } } }),
    ],
    [
      "spec.podspec.containers[0].securityContext.procMount",
      container({ securityContext: { procMount: "Unmasked" } }),
    ],
    [
      "spec.podspec.initContainers[0].securityContext.privileged",
      { initContainers: [{ name: "i", securityContext: { privileged: true } }] },
    ],
    ["spec.podspec.containers", { containers: "all" }],
    ["spec.podspec.constructor", { constructor: {} }],
  ])("may not set %s", (path, podspec) => {
    const problems = podSpecProblems(podspec, "container", "spec.podspec");
    expect(problems).toHaveLength(1);
    expect(problems[0]?.startsWith(`${path} `)).toBe(true);
  });
});

describe("a pod spec of an environment", () => {
  it("may say where pods run and what they may use", () => {
    const podspec = {
      tolerations: [],
      nodeSelector: {},
      imagePullSecrets: [{ name: "pull" }],
      containers: [{ name: "runtime", resources: {}, env: [], imagePullPolicy: "Never" }],
    };
    expect(podSpecProblems(podspec, "runtime", "spec.runtime.podspec")).toEqual([]);
  });

  it("may not replace what the platform runs", () => {
    const podspec = { containers: [{ name: "runtime", command: ["/bin/sh"] }], volumes: [] };
    expect(podSpecProblems(podspec, "runtime", "spec.runtime.podspec")).toEqual([
      "spec.runtime.podspec.containers[0].command is not allowed on function pods: allowed are env, image, imagePullPolicy, name, resources",
      expect.stringContaining("spec.runtime.podspec.volumes is not allowed"),
    ]);
    expect(runtimeContainerProblems({ securityContext: {} }, "spec.runtime.container")).toEqual([
      expect.stringContaining("spec.runtime.container.securityContext is not allowed"),
    ]);
  });
});
