import { expect, test } from "vitest";
import type { EnvironmentSpec } from "./cluster.ts";
import { podManifest, podName, podTemplate } from "./pod-manifest.ts";

const environment = (spec: Partial<EnvironmentSpec> = {}) => ({
  metadata: { name: "deno", namespace: "default", uid: "uid-env" },
  spec: { version: 3, runtime: { image: "isotope/deno-env:1" }, ...spec },
});
const runtime = (fields: Record<string, unknown>) =>
  environment({ runtime: { image: "isotope/deno-env:1", ...fields } });

test("a pod is restricted, has no credentials, never restarts and belongs to its Environment", () => {
  const template = podTemplate(environment());
  const pod = podManifest(environment(), template, "deno-1", "secret-token");
  expect(pod.metadata.ownerReferences?.[0]).toMatchObject({
    kind: "Environment",
    name: "deno",
    uid: "uid-env",
  });
  expect(pod.spec).toMatchObject({
    restartPolicy: "Never",
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    terminationGracePeriodSeconds: 90,
    securityContext: { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } },
    containers: [
      {
        image: "isotope/deno-env:1",
        readinessProbe: { httpGet: { path: "/_isotope/healthz", port: 8888 } },
        securityContext: {
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ["ALL"] },
        },
      },
    ],
  });
  expect(JSON.stringify(pod.spec)).toContain("secret-token");
  expect(JSON.stringify(template.spec)).not.toContain("secret-token");
});

test.each([
  ["hostNetwork", { hostNetwork: true }],
  ["hostPID", { hostPID: true }],
  ["hostIPC", { hostIPC: true }],
  ["serviceAccountName", { serviceAccountName: "admin" }],
  ["automountServiceAccountToken", { automountServiceAccountToken: true }],
  ["volumes", { volumes: [{ name: "root", hostPath: { path: "/" } }] }],
  ["initContainers", { initContainers: [{ name: "x", image: "y" }] }],
  ["securityContext", { securityContext: { runAsUser: 0 } }],
  ["restartPolicy", { restartPolicy: "Always" }],
  ["nodeName", { nodeName: "control-plane" }],
  ["containers[1]", { containers: [{ name: "a" }, { name: "b", image: "evil" }] }],
])("podspec field %s is left out and named", (field, podspec) => {
  const template = podTemplate(runtime({ podspec }));
  expect(template.ignored).toEqual([`runtime.podspec.${field}`]);
  expect(template.spec).toEqual(podTemplate(environment()).spec);
});

test.each([
  ["securityContext", { securityContext: { privileged: true } }],
  ["command", { command: ["sh"] }],
  ["args", { args: ["-c", "id"] }],
  ["volumeMounts", { volumeMounts: [{ name: "x", mountPath: "/" }] }],
  ["lifecycle", { lifecycle: { postStart: {} } }],
  ["env[ISOTOPE_POD_TOKEN]", { env: [{ name: "ISOTOPE_POD_TOKEN", value: "mine" }] }],
  ["env[LD_PRELOAD]", { env: [{ name: "LD_PRELOAD", value: "/tmp/x.so" }] }],
  ["env[DENO_V8_FLAGS]", { env: [{ name: "DENO_V8_FLAGS", value: "--allow-natives-syntax" }] }],
])("container field %s is left out and named", (field, container) => {
  const template = podTemplate(runtime({ container }));
  expect(template.ignored).toEqual([`runtime.container.${field}`]);
  expect(template.spec).toEqual(podTemplate(environment()).spec);
});

test("what may be set is merged: placement, resources, variables, pull secrets, grace", () => {
  const template = podTemplate({
    ...environment({
      resources: { limits: { memory: "128Mi" } },
      imagepullsecret: "registry",
      terminationGracePeriod: 5,
    }),
    spec: {
      ...environment({
        resources: { limits: { memory: "128Mi" } },
        imagepullsecret: "registry",
        terminationGracePeriod: 5,
      }).spec,
      runtime: {
        image: "isotope/deno-env:1",
        podspec: { nodeSelector: { disk: "ssd" }, containers: [{ env: [{ name: "A", value: "1" }] }] },
        container: { imagePullPolicy: "Never" },
      },
    },
  });
  expect(template.ignored).toEqual([]);
  expect(template.spec).toMatchObject({
    nodeSelector: { disk: "ssd" },
    imagePullSecrets: [{ name: "registry" }],
    terminationGracePeriodSeconds: 5,
    containers: [
      {
        imagePullPolicy: "Never",
        resources: { limits: { memory: "128Mi" } },
        env: expect.arrayContaining([
          { name: "A", value: "1" },
          { name: "DENO_V8_FLAGS", value: "--max-old-space-size=96" },
          { name: "ISOTOPE_DRAIN_MS", value: "4500" },
        ]),
      },
    ],
  });
});

test("the fingerprint changes with the template and with nothing else", () => {
  const { hash } = podTemplate(environment());
  expect(podTemplate(environment({ poolsize: 9 })).hash).toBe(hash);
  expect(podTemplate(environment({ runtime: { image: "other" } })).hash).not.toBe(hash);
  expect(podTemplate(environment({ resources: { limits: { cpu: "1" } } })).hash).not.toBe(hash);
});

test.each([
  [undefined, "85000"],
  [0, "0"],
  [10, "9000"],
  [360, "355000"],
])("with a grace period of %j seconds running requests have %s ms", (terminationGracePeriod, value) => {
  const [container] = podTemplate(
    environment(terminationGracePeriod === undefined ? {} : { terminationGracePeriod }),
  ).spec["containers"] as [{ env: unknown[] }];
  expect(container.env).toContainEqual({ name: "ISOTOPE_DRAIN_MS", value });
});

test("names of pods are DNS labels, however long the environment's name is", () => {
  for (const name of ["deno", "a".repeat(63), "with.dots"]) {
    expect(podName(name)).toMatch(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/);
    expect(podName(name)).not.toBe(podName(name));
  }
});
