import { afterEach, beforeEach, expect, test } from "vitest";
import { FINALIZER_VERSION_IN_USE } from "../../api/names.ts";
import { cleanup } from "../../controller/cleanup/cleanup.ts";
import { type KitObject, parseKit } from "../../controller/function-namespace/kit.ts";
import type { KubeClient } from "../../kube/client.ts";
import { ENDPOINT_SLICES, type Pod, PODS } from "../../kube/core.ts";
import { ENVIRONMENTS, FUNCTION_VERSIONS, FUNCTIONS } from "../../kube/kinds.ts";
import { NAMESPACES, scopedClient } from "../../kube/namespace-scope.ts";
import type { KubeObject } from "../../kube/object.ts";
import { resourceType } from "../../kube/resource.ts";
import { processLog } from "../../net/log.ts";
import { environment, fn } from "./objects.ts";
import { condition, type KubeServer, type RunningController, runController, startKube } from "./platform.ts";
import { eventually } from "../eventually.ts";

const LABEL = { "isotope.dev/functions": "enabled" };
const ROLE_BINDINGS = resourceType("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings");
interface Policy extends KubeObject {
  spec?: { egress?: { to?: { ipBlock?: { except?: string[] } }[] }[] };
}
const POLICIES = resourceType<Policy>("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies");

const binding = (name: string) => `
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: ${name}}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: ${name}-functions}
subjects: [{kind: ServiceAccount, name: ${name}, namespace: isotope}]`;
const KIT = `${binding("isotope-controller")}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: isotope-functions
  annotations: {isotope.dev/deny-kubernetes-api: "true"}
spec:
  podSelector: {matchLabels: {app.kubernetes.io/managed-by: isotope}}
  policyTypes: [Egress]
  egress:
    - to: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8]}}, {ipBlock: {cidr: "::/0"}}]
    - to: [{ipBlock: {cidr: 192.0.2.0/24}}]
---
apiVersion: fission.io/v1
kind: Environment
metadata: {name: deno, annotations: {isotope.dev/specialisation: direct}}
spec: {version: 3, runtime: {image: "isotope/deno-env:1"}, poolsize: 2}
---${binding("isotope-executor")}
`;

let kube: KubeServer;
let client: KubeClient;
let running: RunningController | undefined;

beforeEach(async () => {
  kube = await startKube();
  client = scopedClient({ ...kube.client, close: () => Promise.resolve() }, [
    "isotope.dev/functions=enabled",
  ]);
});
afterEach(async () => {
  await running?.controller.stop();
  running = undefined;
  await client.close();
  await kube.stop();
});

const start = (text = KIT) => {
  running = runController(client, { namespaceKit: parseKit(text, "kit.yaml") });
};
const createNamespace = (name: string, labels: Record<string, string> = {}) =>
  kube.client.create(NAMESPACES, { metadata: { name, labels } });
const setLabel = (name: string, value: string | null) =>
  kube.client.patch(NAMESPACES, { name }, { metadata: { labels: { "isotope.dev/functions": value } } });
const names = async (type: typeof ROLE_BINDINGS, namespace: string): Promise<string[]> =>
  (await kube.client.list(type, { namespace })).items.map(({ metadata }) => metadata.name).toSorted();
const bindings = (namespace: string) => names(ROLE_BINDINGS, namespace);
const BOTH = ["isotope-controller", "isotope-executor"];
const isBoth = (found: string[]) => found.join() === BOTH.join();
const pod = (namespace: string, name: string, labels: Record<string, string>): Pod => ({
  metadata: { namespace, name, labels },
  spec: { containers: [{ name: "c", image: "isotope/deno-env:1" }], nodeName: "nowhere" },
});
const guardedVersion = (namespace: string, name: string) =>
  kube.client.create(FUNCTION_VERSIONS, {
    apiVersion: "fission.io/v1",
    kind: "FunctionVersion",
    metadata: { namespace, name, finalizers: [FINALIZER_VERSION_IN_USE] },
    spec: {
      functionName: "hello",
      functionUID: "uid",
      functionGeneration: 1,
      sequence: 1,
      snapshot: fn("hello").spec,
      packageDigest: `sha256:${"a".repeat(64)}`,
      publishedAt: "2026-01-01T00:00:00Z",
    },
  });
const OURS = { "app.kubernetes.io/managed-by": "isotope", "app.kubernetes.io/component": "executor" };

test("namespaces get the kit when they are labelled and lose it when they are not, without a restart", async () => {
  await createNamespace("early", LABEL);
  start();
  await eventually(() => bindings("early"), isBoth);
  await createNamespace("late");
  expect(await bindings("late")).toEqual([]);
  await setLabel("late", "enabled");
  await eventually(() => bindings("late"), isBoth);
  expect((await kube.client.get(ENVIRONMENTS, { namespace: "late", name: "deno" })).spec.poolsize).toBe(2);

  await guardedVersion("late", "hello-v1");
  await setLabel("late", null);
  await eventually(
    () => bindings("late"),
    (found) => found.length === 0,
  );
  expect(await names(POLICIES, "late")).toEqual([]);
  const version = await kube.client.get(FUNCTION_VERSIONS, { namespace: "late", name: "hello-v1" });
  expect(version.metadata.finalizers ?? []).toEqual([]);
  expect(await kube.client.find(ENVIRONMENTS, { namespace: "late", name: "deno" })).toBeDefined();
  await eventually(() => bindings("early"), isBoth);
  await kube.client.delete(NAMESPACES, { name: "early" });
  await createNamespace("other-one", LABEL);
  await eventually(() => bindings("other-one"), isBoth);
});

test("objects of a namespace are reconciled when it carries the label, not before and not after", async () => {
  await createNamespace("fns");
  start();
  await kube.client.create(FUNCTIONS, { ...fn("hello"), metadata: { namespace: "fns", name: "hello" } });
  const ready = async () =>
    condition(await kube.client.get(FUNCTIONS, { namespace: "fns", name: "hello" }), "Ready");
  await createNamespace("witness", LABEL);
  await eventually(() => bindings("witness"), isBoth);
  expect(await ready()).toBeUndefined();
  await setLabel("fns", "enabled");
  await eventually(ready, (found) => found?.status === "False");
});

test("the addresses of the Kubernetes API are excepted from the internet, and only from it", async () => {
  const ref = { namespace: "default", name: "kubernetes" };
  await kube.client.delete(ENDPOINT_SLICES, ref);
  await kube.client.create(ENDPOINT_SLICES, {
    metadata: ref,
    addressType: "IPv4",
    endpoints: [{ addresses: ["203.0.113.7"] }],
  });
  await createNamespace("fns", LABEL);
  start();
  await eventually(() => bindings("fns"), isBoth);
  const policy = await kube.client.get(POLICIES, { namespace: "fns", name: "isotope-functions" });
  const [internet, other] = policy.spec?.egress ?? [];
  expect(internet?.to?.[0]?.ipBlock?.except).toContain("203.0.113.7/32");
  expect(internet?.to?.[0]?.ipBlock?.except).toContain("10.0.0.0/8");
  expect(internet?.to?.[1]?.ipBlock?.except ?? []).not.toContain("203.0.113.7/32");
  expect(other?.to?.[0]?.ipBlock?.except).toBeUndefined();
});

test("an environment that somebody changed is left alone; a namespace that lost its label unseen is cleaned up", async () => {
  await createNamespace("fns", LABEL);
  await createNamespace("gone", LABEL);
  start();
  await eventually(() => bindings("fns"), isBoth);
  await eventually(() => bindings("gone"), isBoth);
  await running?.controller.stop();
  await kube.client.patch(ENVIRONMENTS, { namespace: "fns", name: "deno" }, { spec: { poolsize: 7 } });
  await setLabel("gone", null);
  start(KIT.replace("poolsize: 2", "poolsize: 3"));
  await eventually(
    () => bindings("gone"),
    (found) => found.length === 0,
  );
  await eventually(
    () => Promise.resolve(running?.log.some((line) => line.includes("Left alone")) ?? false),
    (left) => left,
  );
  expect((await kube.client.get(ENVIRONMENTS, { namespace: "fns", name: "deno" })).spec.poolsize).toBe(7);
});

test("rights stay as long as there are pods to remove", async () => {
  await createNamespace("fns", LABEL);
  start();
  await eventually(() => bindings("fns"), isBoth);
  await kube.client.create(PODS, pod("fns", "busy", OURS));
  await setLabel("fns", null);
  await new Promise((resolve) => setTimeout(resolve, 500));
  expect(isBoth(await bindings("fns"))).toBe(true);
  await kube.client.delete(PODS, { namespace: "fns", name: "busy" }, { gracePeriodSeconds: 0 });
  await eventually(
    () => bindings("fns"),
    (found) => found.length === 0,
  );
});

test("cleanup removes the platform's own objects and nothing of anybody else", async () => {
  await createNamespace("fns", LABEL);
  await createNamespace("isotope");
  start();
  await eventually(() => bindings("fns"), isBoth);
  await running?.controller.stop();
  const theirs = { "app.kubernetes.io/managed-by": "somebody" };
  await kube.client.create(PODS, pod("fns", "ours", OURS));
  await kube.client.create(PODS, pod("fns", "theirs", theirs));
  await kube.client.create(ENVIRONMENTS, {
    ...environment("mine"),
    metadata: { namespace: "fns", name: "mine" },
  });
  await guardedVersion("fns", "hello-v1");
  const kit: KitObject[] = parseKit(KIT, "kit.yaml");
  await kube.client.delete(PODS, { namespace: "fns", name: "ours" }, { gracePeriodSeconds: 0 });
  await cleanup({
    client: kube.client,
    namespace: "isotope",
    labels: ["isotope.dev/functions=enabled"],
    kit,
    timeoutMs: 60_000,
    log: processLog("cleanup", { write: () => undefined }),
  });
  expect(
    (await kube.client.list(PODS, { namespace: "fns" })).items.map(({ metadata }) => metadata.name),
  ).toEqual(["theirs"]);
  expect(await bindings("fns")).toEqual([]);
  expect(await names(POLICIES, "fns")).toEqual([]);
  expect(await kube.client.find(ENVIRONMENTS, { namespace: "fns", name: "mine" })).toBeDefined();
  const version = await kube.client.get(FUNCTION_VERSIONS, { namespace: "fns", name: "hello-v1" });
  expect(version.metadata.finalizers ?? []).toEqual([]);
});

test.each([
  ["kind: Pod\napiVersion: v1\nmetadata: {name: x}", "document 1 is a v1 Pod: allowed are RoleBinding"],
  [`${binding("a")}\n---\nkind: RoleBinding`, 'document 2 has a wrong field "apiVersion"'],
  ["a: [", "document 1"],
])("a kit that is none is refused with document and field: %s", (text, message) => {
  expect(() => parseKit(text, "kit.yaml")).toThrow(`Cannot use namespace kit "kit.yaml": ${message}`);
});
