import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { z } from "zod";
import { COMPONENTS, type ComponentName } from "../../api/components.ts";
import { CLEANUP_SETTINGS } from "../../controller/cleanup/settings.ts";
import { parseKit } from "../../controller/function-namespace/kit.ts";
import { CONTROLLER_SETTINGS } from "../../controller/settings.ts";
import { EXECUTOR_SETTINGS } from "../../engine/executor/settings.ts";
import { LOG_COLLECTOR_SETTINGS, LOG_STORE_SETTINGS } from "../../engine/logs/settings.ts";
import { ROUTER_SETTINGS } from "../../engine/router/settings.ts";
import { STORAGE_SETTINGS } from "../../engine/storage/settings.ts";
import { TRIGGERS_SETTINGS } from "../../engine/triggers/settings.ts";
import { createKubeClient, type KubeClient } from "../../kube/client.ts";
import { NAMESPACES } from "../../kube/namespace-scope.ts";
import { parseSettings, type Setting } from "../../net/settings.ts";
import { DEFINITION_HOST_SETTINGS } from "../../workflows/host/settings.ts";
import { WORKFLOWS_SETTINGS } from "../../workflows/settings.ts";
import { CHART_COMBINATIONS } from "./chart-combinations.ts";
import { currentCluster } from "./cluster.ts";
import { lintChart, type Rendered, renderChart } from "./render-chart.ts";

/** What the chart renders, and that a real API server takes every object of it. */
const cluster = currentCluster();
let kube: KubeClient;
const NAMESPACE = "chart-templates";

beforeAll(async () => {
  kube = await createKubeClient({ kubeconfig: cluster.kubeconfig });
  for (const name of [NAMESPACE, `${NAMESPACE}-logs`])
    await kube.patch(
      NAMESPACES,
      { name },
      { apiVersion: "v1", kind: "Namespace", metadata: { name } },
      { strategy: "apply", fieldManager: "chart-test" },
    );
});
afterAll(async () => {
  for (const name of [NAMESPACE, `${NAMESPACE}-logs`]) await kube.delete(NAMESPACES, { name });
  await kube.close();
});

test("helm lint has nothing to say", async () => {
  expect(await lintChart(cluster)).toContain("0 chart(s) failed");
});

describe.each(CHART_COMBINATIONS)("with %s", (_title, values) => {
  let objects: Rendered[];
  beforeAll(async () => {
    objects = await renderChart(cluster, values, "isotope", NAMESPACE);
  });

  test("a real API server takes every object", async () => {
    const problems: string[] = [];
    for (const object of objects) {
      const problem = await dryRun(object);
      if (problem !== undefined) problems.push(`${object.kind} ${object.metadata.name}: ${problem}`);
    }
    for (const { manifest, name } of kitOf(objects)) {
      const placed = { ...manifest, metadata: { ...manifest.metadata, namespace: NAMESPACE } };
      const problem = await dryRun(Rendered.parse(placed));
      if (problem !== undefined) problems.push(`kit ${name}: ${problem}`);
    }
    expect(problems).toEqual([]);
  });

  test("pods are restricted, limited, probed and without tokens that they do not need", () => {
    const pods = objects.map(podOf).filter((pod) => pod !== undefined);
    expect(pods.length).toBeGreaterThan(3);
    for (const { name, spec } of pods) {
      const at = `${name}: `;
      expect(at + spec.securityContext.runAsNonRoot).toBe(`${at}true`);
      expect(at + spec.securityContext.seccompProfile.type).toBe(`${at}RuntimeDefault`);
      expect(at + typeof spec.automountServiceAccountToken).toBe(`${at}boolean`);
      expect(at + spec.serviceAccountName).not.toBe(`${at}default`);
      for (const container of [...spec.containers, ...(spec.initContainers ?? [])]) {
        expect(at + container.securityContext.allowPrivilegeEscalation).toBe(`${at}false`);
        expect(at + container.securityContext.readOnlyRootFilesystem).toBe(`${at}true`);
        expect(at + container.securityContext.capabilities.drop.join()).toBe(`${at}ALL`);
        expect(at + JSON.stringify(container.resources.limits)).toContain("memory");
        expect(at + JSON.stringify(container.resources.requests)).toContain("cpu");
        const [beside] = container.args ?? [];
        if (!name.startsWith("Job") && beside !== "definition-host") {
          expect(at + Object.keys(container).join()).toContain("readinessProbe");
          expect(at + Object.keys(container).join()).toContain("livenessProbe");
        }
      }
      const hostPaths = spec.volumes?.filter((volume) => "hostPath" in volume) ?? [];
      expect(at + hostPaths.length).toBe(at + (name.endsWith("log-collector") ? 1 : 0));
    }
  });

  test("every process understands the environment that it is given", () => {
    const problems: string[] = [];
    for (const { name, spec } of objects.map(podOf).filter((pod) => pod !== undefined)) {
      for (const { args, env = [] } of [...spec.containers, ...(spec.initContainers ?? [])]) {
        const component = COMPONENTS.find((one) => one.name === args?.[0]);
        if (!component) continue;
        const given = Object.fromEntries(
          env.map((variable) => [variable.name, variable.value ?? SAMPLES[variable.name] ?? "x"]),
        );
        given["POD_IP"] = "10.0.0.1";
        for (const [key, value] of Object.entries(given))
          given[key] = value.replaceAll("$(POD_IP)", "10.0.0.1");
        try {
          parseSettings(SETTINGS[component.name], { argv: [], env: given, envPrefix: component.envPrefix });
        } catch (error) {
          problems.push(`${name}: ${String(error)}`);
        }
      }
    }
    expect(problems).toEqual([]);
  });

  test("every address that a process is given is that of a Service of the chart, and of a port of it", () => {
    const served = objects
      .filter(({ kind }) => kind === "Service")
      .flatMap((object) => {
        const { spec } = Ports.parse(object);
        const host = `${object.metadata.name}.${object.metadata.namespace ?? NAMESPACE}.svc.cluster.local`;
        return spec.ports.map(({ port }) => `http://${host}:${port}`);
      });
    const given = objects
      .map(podOf)
      .filter((pod) => pod !== undefined)
      .flatMap(({ spec }) => spec.containers)
      .flatMap(({ env = [] }) => env.map(({ value = "" }) => value))
      .filter((value) => /^http:.*\.svc\./.test(value));
    expect(given.length).toBeGreaterThan(3);
    expect(given.filter((url) => !served.includes(url))).toEqual([]);
  });

  test("no right is a wildcard, nobody is an administrator, routers read no secret", () => {
    for (const object of objects.filter(({ kind }) => kind === "Role" || kind === "ClusterRole")) {
      const { rules } = Role.parse(object);
      for (const rule of rules) {
        const words = [...rule.apiGroups, ...rule.resources, ...rule.verbs];
        expect(words).not.toContain("*");
        expect(words).not.toContain("escalate");
        expect(words).not.toContain("impersonate");
        if (rule.verbs.includes("bind")) expect(rule.resourceNames?.length ?? 0).toBeGreaterThan(0);
        if (object.metadata.name.endsWith("router")) {
          expect(rule.resources).not.toContain("secrets");
          expect(rule.verbs.filter((verb) => !["get", "list", "watch"].includes(verb))).toEqual([]);
        }
      }
    }
    for (const object of objects.filter(({ kind }) => kind.endsWith("RoleBinding"))) {
      const { roleRef } = z.looseObject({ roleRef: z.object({ name: z.string() }).loose() }).parse(object);
      expect(roleRef.name).not.toMatch(/^(cluster-admin|admin|edit|view)$/);
    }
  });

  test("whoever cleans up may delete what the namespace kit binds", () => {
    const cleanup = objects.filter(
      ({ kind, metadata }) => kind === "ClusterRole" && metadata.name.endsWith("-cleanup"),
    );
    const deletable = cleanup.flatMap((role) =>
      Role.parse(role).rules.flatMap(({ resources, resourceNames = [], verbs }) =>
        resources.includes("rolebindings") && verbs.includes("delete") ? resourceNames : [],
      ),
    );
    const bound = kitOf(objects).filter(({ type }) => type.kind === "RoleBinding");
    if (cleanup.length > 0) expect(deletable).toEqual(expect.arrayContaining(bound.map(({ name }) => name)));
  });

  test("references between the chart's own objects lead somewhere", () => {
    const names = (kind: string) =>
      new Set(objects.filter((one) => one.kind === kind).map(({ metadata }) => metadata.name));
    const accounts = names("ServiceAccount");
    for (const { spec } of objects.map(podOf).filter((pod) => pod !== undefined))
      expect(accounts).toContain(spec.serviceAccountName);
    for (const object of objects.filter(({ kind }) => kind === "Service")) {
      const { spec } = z
        .looseObject({ spec: z.looseObject({ selector: z.record(z.string(), z.string()) }) })
        .parse(object);
      const selected = objects
        .map(podOf)
        .filter(
          (pod) => pod && Object.entries(spec.selector).every(([key, value]) => pod.labels[key] === value),
        );
      expect(selected.length).toBe(1);
    }
  });
});

test.each([
  ["an unknown value", ["router.replica=3"], "replica"],
  ["a replica count that is none", ["router.replicas=0"], "replicas"],
  ["an unknown setting of a process", ['router.settings={"queue-lenght":5}'], "queue-lenght"],
  ["a CIDR that is none", ['networkPolicy.dnsCidrs=["10.0.0.1"]'], "dnsCidrs"],
  [
    "a wildcard of what may be watched",
    ['triggers.watchable=[{"apiGroups":[""],"resources":["*"]}]'],
    "watchable",
  ],
  ["a label that is none", ['functionNamespaces.labels=["enabled"]'], "labels"],
  [
    "more than one storage without S3",
    ["storage.replicas=2"],
    "storage.replicas must be 1 without storage.s3",
  ],
  [
    "S3 without a bucket",
    ["storage.s3.enabled=true", "storage.s3.endpoint=https://s3"],
    "storage.s3.bucket must be given",
  ],
])("%s is refused before anything is changed, naming the value", async (_title, values, message) => {
  await expect(renderChart(cluster, values)).rejects.toThrow(message);
});

test("what differs between components shows in their environment", async () => {
  const objects = await renderChart(cluster, ['router.settings={"queue-length":500}', "image.tag=v7"]);
  const router = objects.map(podOf).find((pod) => pod?.name === "Deployment isotope-router");
  const [container] = router?.spec.containers ?? [];
  expect(container?.image).toBe("isotope/isotope:v7");
  expect(container?.env).toContainEqual({ name: "ISOTOPE_ROUTER_QUEUE_LENGTH", value: "500" });
});

/** Ports of which only Redis can be meant. */
const redisPorts = (objects: readonly Rendered[], component: string): string[] => {
  const name = `isotope-${component}`;
  const policy = objects.find(({ kind, metadata }) => kind === "NetworkPolicy" && metadata.name === name);
  const { spec } = Egress.parse(policy);
  return spec.egress
    .flatMap(({ ports = [] }) => ports.map(({ port }) => String(port)))
    .filter((port) => /^(63|70)\d\d$/.test(port));
};
const redisEnv = (objects: readonly Rendered[], component: string) => {
  const pod = objects.map(podOf).find((one) => one?.name === `Deployment isotope-${component}`);
  const [container] = pod?.spec.containers ?? [];
  return container?.env?.filter(({ name }) => /REDIS|CA_CERTS/.test(name));
};

test("functions get an account on the chart's own Redis only", async () => {
  const kit = async (...values: string[]) =>
    kitOf(await renderChart(cluster, ["redis.functions.enabled=true", ...values])).map(({ name }) => name);
  expect(await kit()).toContain("redis");
  expect(await kit("redis.url=redis://elsewhere")).not.toContain("redis");
});

describe.each(["router", "workflows"])("another Redis than the chart's: %s", (component) => {
  const variable = `ISOTOPE_${component.toUpperCase()}_REDIS_URL`;

  test("whose address is a value is named by a Secret, by another one for another address", async () => {
    const url = "rediss+cluster://u:p@a.example.com:7000\\,b.example.com:7001";
    const objects = await renderChart(cluster, [`redis.url=${url}`, "redis.ports=[7002]"]);
    const secrets = objects.filter(
      ({ kind, metadata }) => kind === "Secret" && /-redis-/.test(metadata.name),
    );
    expect(secrets).toMatchObject([{ stringData: { url: url.replace("\\", "") } }]);
    expect(redisEnv(objects, component)).toEqual([
      { name: variable, valueFrom: { secretKeyRef: { name: secrets[0]?.metadata.name, key: "url" } } },
    ]);
    expect(JSON.stringify(objects.filter(({ kind }) => kind !== "Secret"))).not.toContain("u:p@");
    expect(redisPorts(objects, component)).toEqual(["7002", "7000", "7001"]);
    const other = await renderChart(cluster, ["redis.url=redis://elsewhere"]);
    expect(redisEnv(other, component)).not.toEqual(redisEnv(objects, component));
    expect(redisPorts(other, component)).toEqual(["6379"]);
  });

  test("of a Secret, with an authority of its own", async () => {
    const objects = await renderChart(cluster, ["redis.existingSecret=mine", "redis.caSecret=authority"]);
    expect(redisEnv(objects, component)).toEqual([
      { name: variable, valueFrom: { secretKeyRef: { name: "mine", key: "url" } } },
      { name: "NODE_EXTRA_CA_CERTS", value: "/etc/isotope/redis-ca/ca.crt" },
    ]);
    expect(redisPorts(objects, component)).toEqual(["6379", "6380"]);
    expect(objects.filter(({ metadata }) => /-redis/.test(metadata.name))).toEqual([]);
  });
});

const Egress = z.looseObject({
  spec: z.looseObject({
    egress: z.array(z.looseObject({ ports: z.array(z.looseObject({ port: z.unknown() })).optional() })),
  }),
});
const SETTINGS: Readonly<Record<ComponentName, Readonly<Record<string, Setting<unknown>>>>> = {
  router: ROUTER_SETTINGS,
  executor: EXECUTOR_SETTINGS,
  controller: CONTROLLER_SETTINGS,
  storage: STORAGE_SETTINGS,
  workflows: WORKFLOWS_SETTINGS,
  triggers: TRIGGERS_SETTINGS,
  "definition-host": DEFINITION_HOST_SETTINGS,
  "log-store": LOG_STORE_SETTINGS,
  "log-collector": LOG_COLLECTOR_SETTINGS,
  cleanup: CLEANUP_SETTINGS,
};
/** What Kubernetes fills in. */
const SAMPLES: Readonly<Record<string, string>> = {
  ISOTOPE_EXECUTOR_NAMESPACE: "isotope",
  ISOTOPE_CONTROLLER_NAMESPACE: "isotope",
  ISOTOPE_STORAGE_NAMESPACE: "isotope",
  ISOTOPE_CLEANUP_NAMESPACE: "isotope",
  ISOTOPE_LOG_COLLECTOR_NODE: "node1",
};

const Container = z.looseObject({
  image: z.string(),
  args: z.array(z.string()).optional(),
  env: z.array(z.looseObject({ name: z.string(), value: z.string().optional() })).optional(),
  resources: z.looseObject({}),
  securityContext: z.looseObject({
    allowPrivilegeEscalation: z.boolean(),
    readOnlyRootFilesystem: z.boolean(),
    capabilities: z.object({ drop: z.array(z.string()) }),
  }),
});
const PodSpec = z.looseObject({
  serviceAccountName: z.string(),
  automountServiceAccountToken: z.boolean(),
  securityContext: z.looseObject({
    runAsNonRoot: z.boolean(),
    seccompProfile: z.object({ type: z.string() }),
  }),
  containers: z.array(Container),
  initContainers: z.array(Container).optional(),
  volumes: z.array(z.looseObject({ name: z.string() })).optional(),
});
const Workload = z.looseObject({
  spec: z.looseObject({
    template: z.looseObject({
      metadata: z.looseObject({ labels: z.record(z.string(), z.string()) }),
      spec: PodSpec,
    }),
  }),
});
const Role = z.looseObject({
  rules: z.array(
    z.looseObject({
      apiGroups: z.array(z.string()),
      resources: z.array(z.string()),
      verbs: z.array(z.string()),
      resourceNames: z.array(z.string()).optional(),
    }),
  ),
});
const Ports = z.looseObject({
  spec: z.looseObject({ ports: z.array(z.looseObject({ port: z.number() })) }),
});
const Rendered = z.looseObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: z.looseObject({ name: z.string(), namespace: z.string().optional() }),
});

function podOf(object: Rendered) {
  if (!["Deployment", "StatefulSet", "DaemonSet", "Job"].includes(object.kind)) return undefined;
  const { metadata, spec } = Workload.parse(object).spec.template;
  return { name: `${object.kind} ${object.metadata.name}`, labels: metadata.labels, spec };
}

function kitOf(objects: readonly Rendered[]) {
  const secret = objects.find(({ metadata }) => metadata.name.endsWith("-namespace-kit"));
  const { data } = z.looseObject({ data: z.object({ "kit.yaml": z.string() }) }).parse(secret);
  const text = Buffer.from(data["kit.yaml"], "base64").toString();
  expect(parseAllDocuments(text).every((document) => document.errors.length === 0)).toBe(true);
  return parseKit(text, "kit.yaml");
}

const CLUSTER_SCOPED = new Set([
  "Namespace",
  "ClusterRole",
  "ClusterRoleBinding",
  "CustomResourceDefinition",
]);
const plural = (kind: string): string =>
  kind.endsWith("y") ? `${kind.slice(0, -1)}ies`.toLowerCase() : `${kind}s`.toLowerCase();

/** Most objects are the same in most combinations. */
const taken = new Set<string>();

/** Why the API server would not take the object; nothing when it would. */
async function dryRun(object: Rendered): Promise<string | undefined> {
  const text = JSON.stringify(object);
  if (taken.has(text)) return undefined;
  const { apiVersion, kind, metadata } = object;
  const root = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  const scope = CLUSTER_SCOPED.has(kind) ? "" : `/namespaces/${metadata.namespace ?? NAMESPACE}`;
  try {
    await kube.request({
      method: "PATCH",
      path: `${root}${scope}/${plural(kind)}/${metadata.name}`,
      query: { dryRun: "All", fieldManager: "chart-test", force: true, fieldValidation: "Strict" },
      contentType: "application/apply-patch+yaml",
      body: object,
    });
    taken.add(text);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
