import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { createKubeClient, type KubeClient } from "../../kube/client.ts";
import { NAMESPACES } from "../../kube/namespace-scope.ts";
import { resourceType } from "../../kube/resource.ts";
import { requireInstalledPlatform } from "../e2e/installed-platform.ts";
import { eventually } from "../eventually.ts";

/** What the platform's accounts may do, as the API server itself sees it. */
const FUNCTIONS_NAMESPACE = "rbac-functions";
const OTHER_NAMESPACE = "rbac-other";
const ROLE_BINDINGS = resourceType("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings");
const Review = z.object({ status: z.object({ allowed: z.boolean() }) });

let kube: KubeClient;
let platform: string;

beforeAll(async () => {
  const installed = requireInstalledPlatform();
  platform = installed.platformNamespace;
  kube = await createKubeClient({ kubeconfig: installed.kubeconfig });
  await kube.create(NAMESPACES, {
    metadata: { name: FUNCTIONS_NAMESPACE, labels: { "isotope.dev/functions": "enabled" } },
  });
  await kube.create(NAMESPACES, { metadata: { name: OTHER_NAMESPACE } });
  await eventually(
    () => kube.find(ROLE_BINDINGS, { namespace: FUNCTIONS_NAMESPACE, name: "isotope-executor" }),
    (found) => found !== undefined,
    120_000,
  );
});
afterAll(async () => {
  for (const name of [FUNCTIONS_NAMESPACE, OTHER_NAMESPACE]) await kube.delete(NAMESPACES, { name });
  await kube.close();
});

/** `verb resource[.group][/subresource] [name]`, e.g. `list pods` or `patch functions.fission.io/status`. */
async function may(account: string, what: string, namespace: string): Promise<boolean> {
  const [verb = "", resource = "", name = ""] = what.split(" ");
  const [path = "", subresource = ""] = resource.split("/");
  const [plural = "", ...group] = path.split(".");
  const reply = await kube.request({
    method: "POST",
    path: "/apis/authorization.k8s.io/v1/subjectaccessreviews",
    body: {
      apiVersion: "authorization.k8s.io/v1",
      kind: "SubjectAccessReview",
      spec: {
        user: `system:serviceaccount:${account}`,
        groups: ["system:serviceaccounts", "system:authenticated"],
        resourceAttributes: { verb, group: group.join("."), resource: plural, subresource, name, namespace },
      },
    },
  });
  return Review.parse(reply).status.allowed;
}

async function answers(
  account: string,
  asked: readonly (readonly [string, string])[],
): Promise<Record<string, boolean>> {
  const found: Record<string, boolean> = {};
  for (const [what, where] of asked) found[`${what} in ${where || "all"}`] = await may(account, what, where);
  return found;
}
/** Waits until the account may do all of it: the API server learns of a binding a moment after it was made. */
async function granted(account: string, asked: readonly (readonly [string, string])[]): Promise<void> {
  const wanted = all(asked, true);
  await expect.poll(() => answers(account, asked), { timeout: 90_000, interval: 250 }).toEqual(wanted);
}
const all = (asked: readonly (readonly [string, string])[], allowed: boolean) =>
  Object.fromEntries(asked.map(([what, where]) => [`${what} in ${where || "all"}`, allowed]));

/** What nobody of the platform may do anywhere. */
const NEVER: readonly string[] = [
  "create clusterrolebindings.rbac.authorization.k8s.io",
  "create clusterroles.rbac.authorization.k8s.io",
  "escalate clusterroles.rbac.authorization.k8s.io",
  "bind clusterroles.rbac.authorization.k8s.io cluster-admin",
  "impersonate users",
  "create pods/exec",
  "create pods/attach",
  "create pods/portforward",
  "create serviceaccounts/token",
  "get nodes",
  "create nodes/proxy",
  "delete namespaces",
  "patch namespaces",
  "create persistentvolumes",
  "create validatingwebhookconfigurations.admissionregistration.k8s.io",
];

describe.each([
  "router",
  "executor",
  "controller",
  "storage",
  "workflows",
  "triggers",
  "log-store",
  "log-collector",
  "cli",
])("%s", (component) => {
  test("may do nothing that leads to the cluster", async () => {
    const namespace = component === "log-collector" ? `${platform}-logs` : platform;
    const account = `${namespace}:isotope-${component}`;
    const asked = NEVER.flatMap((what) =>
      ["", FUNCTIONS_NAMESPACE, platform, "kube-system"].map((where) => [what, where] as const),
    );
    expect(await answers(account, asked)).toEqual(all(asked, false));
  });
});

test("the router reads routes and endpoints, and no secret anywhere", async () => {
  const account = `${platform}:isotope-router`;
  const allowed = [
    ["watch functions.fission.io", ""],
    ["watch httptriggers.fission.io", ""],
    ["watch functionversions.fission.io", ""],
    ["watch functionaliases.fission.io", ""],
    ["watch endpointslices.discovery.k8s.io", ""],
    ["watch namespaces", ""],
  ] as const;
  await granted(account, allowed);
  const denied = ["", FUNCTIONS_NAMESPACE, OTHER_NAMESPACE, platform, "kube-system"].flatMap((where) =>
    [
      "get secrets",
      "list secrets",
      "get configmaps",
      "list pods",
      "create pods",
      "patch functions.fission.io",
      "patch functionaliases.fission.io",
      "get canaryconfigs.fission.io",
      "get leases.coordination.k8s.io",
    ].map((what) => [what, where] as const),
  );
  expect(await answers(account, denied)).toEqual(all(denied, false));
});

test("the workflow service holds versions where functions live, and touches nothing else", async () => {
  const account = `${platform}:isotope-workflows`;
  const allowed = [
    ["watch functions.fission.io", ""],
    ["watch workflows.fission.io", ""],
    ["get environments.fission.io", ""],
    ["create functionversions.fission.io", FUNCTIONS_NAMESPACE],
    ["patch functionversions.fission.io", FUNCTIONS_NAMESPACE],
  ] as const;
  await granted(account, allowed);
  const denied = [
    ...["", FUNCTIONS_NAMESPACE, OTHER_NAMESPACE, platform].flatMap((where) =>
      [
        "get secrets",
        "get configmaps",
        "list pods",
        "create pods",
        "delete functionversions.fission.io",
        "patch functions.fission.io",
        "patch workflows.fission.io",
      ].map((what) => [what, where] as const),
    ),
    ...["", OTHER_NAMESPACE].map((where) => ["patch functionversions.fission.io", where] as const),
  ];
  expect(await answers(account, denied)).toEqual(all(denied, false));
});

test("the trigger service reads triggers and what they may watch, and a Secret where functions live by its name", async () => {
  const account = `${platform}:isotope-triggers`;
  const allowed = [
    ["watch functions.fission.io", ""],
    ["watch timetriggers.fission.io", ""],
    ["watch messagequeuetriggers.fission.io", ""],
    ["watch kuberneteswatchtriggers.fission.io", ""],
    ["watch namespaces", ""],
    ["create subjectaccessreviews.authorization.k8s.io", ""],
    ["patch timetriggers.fission.io/status", FUNCTIONS_NAMESPACE],
    ["patch messagequeuetriggers.fission.io/status", FUNCTIONS_NAMESPACE],
    ["patch kuberneteswatchtriggers.fission.io/status", FUNCTIONS_NAMESPACE],
    ["patch functionversions.fission.io", FUNCTIONS_NAMESPACE],
    ["get secrets", FUNCTIONS_NAMESPACE],
    ["watch pods", FUNCTIONS_NAMESPACE],
    ["list jobs.batch", FUNCTIONS_NAMESPACE],
    ["watch deployments.apps", FUNCTIONS_NAMESPACE],
    ["watch events", FUNCTIONS_NAMESPACE],
    ["list environments.fission.io", FUNCTIONS_NAMESPACE],
  ] as const;
  await granted(account, allowed);
  const denied = [
    ...["", FUNCTIONS_NAMESPACE, OTHER_NAMESPACE, platform, "kube-system"].flatMap((where) =>
      [
        "list secrets",
        "watch secrets",
        "patch secrets",
        "get configmaps",
        "list configmaps",
        "get pods/log",
        "create pods",
        "delete pods",
        "create serviceaccounts/token",
        "list roles.rbac.authorization.k8s.io",
        "create rolebindings.rbac.authorization.k8s.io",
        "create tokenreviews.authentication.k8s.io",
        "patch functions.fission.io",
        "create functionversions.fission.io",
        "delete functionversions.fission.io",
        "patch timetriggers.fission.io",
        "patch messagequeuetriggers.fission.io",
        "patch kuberneteswatchtriggers.fission.io",
        "delete kuberneteswatchtriggers.fission.io",
      ].map((what) => [what, where] as const),
    ),
    ...["", OTHER_NAMESPACE, platform, "kube-system"].flatMap((where) =>
      ["get secrets", "watch pods", "list events", "patch timetriggers.fission.io/status"].map(
        (what) => [what, where] as const,
      ),
    ),
  ];
  expect(await answers(account, denied)).toEqual(all(denied, false));
});

test("the executor works where functions live and nowhere else", async () => {
  const account = `${platform}:isotope-executor`;
  const work = [
    "create pods",
    "delete pods",
    "get secrets",
    "get configmaps",
    "create replicasets.apps",
    "create deployments.apps",
    "create services",
    "create horizontalpodautoscalers.autoscaling",
    "create endpointslices.discovery.k8s.io",
    "create events",
  ];
  const inside = work.map((what) => [what, FUNCTIONS_NAMESPACE] as const);
  await granted(account, inside);
  const outside = ["", OTHER_NAMESPACE, "kube-system", platform].flatMap((where) =>
    work.map((what) => [what, where] as const),
  );
  expect(await answers(account, outside)).toEqual(all(outside, false));
  const read = [
    ["watch functionversions.fission.io", ""],
    ["watch functionaliases.fission.io", ""],
  ] as const;
  await granted(account, read);
  const never = [
    ["patch functionversions.fission.io", FUNCTIONS_NAMESPACE],
    ["patch functionaliases.fission.io", FUNCTIONS_NAMESPACE],
    ["list secrets", FUNCTIONS_NAMESPACE],
    ["patch secrets", FUNCTIONS_NAMESPACE],
    ["patch functions.fission.io", FUNCTIONS_NAMESPACE],
    ["delete functions.fission.io", FUNCTIONS_NAMESPACE],
    ["create rolebindings.rbac.authorization.k8s.io", FUNCTIONS_NAMESPACE],
    ["delete networkpolicies.networking.k8s.io", FUNCTIONS_NAMESPACE],
    ["get secrets isotope-signing-key", platform],
  ] as const;
  expect(await answers(account, never)).toEqual(all(never, false));
});

test("the controller grants the chart's roles and no others, and writes status, not functions", async () => {
  const account = `${platform}:isotope-controller`;
  const allowed = [
    ["bind clusterroles.rbac.authorization.k8s.io isotope-executor-functions", ""],
    ["create rolebindings.rbac.authorization.k8s.io", OTHER_NAMESPACE],
    ["patch functions.fission.io/status", FUNCTIONS_NAMESPACE],
    ["patch packages.fission.io", FUNCTIONS_NAMESPACE],
    ["create functionversions.fission.io", FUNCTIONS_NAMESPACE],
    ["delete functionversions.fission.io", FUNCTIONS_NAMESPACE],
    ["patch functionversions.fission.io/status", FUNCTIONS_NAMESPACE],
    ["patch functionaliases.fission.io/status", FUNCTIONS_NAMESPACE],
    ["patch functionaliases.fission.io", FUNCTIONS_NAMESPACE],
    ["patch httptriggers.fission.io", FUNCTIONS_NAMESPACE],
    ["patch canaryconfigs.fission.io/status", FUNCTIONS_NAMESPACE],
    // Finalizers must come off in a namespace that has lost its RoleBinding.
    ["patch functionversions.fission.io", OTHER_NAMESPACE],
    ["patch canaryconfigs.fission.io", OTHER_NAMESPACE],
    ["create pods", FUNCTIONS_NAMESPACE],
    ["create tokenreviews.authentication.k8s.io", ""],
    ["create ingresses.networking.k8s.io", platform],
    ["patch fissiontenants.fission.io/status", ""],
  ] as const;
  await granted(account, allowed);
  const denied = [
    ["bind clusterroles.rbac.authorization.k8s.io admin", ""],
    ["delete rolebindings.rbac.authorization.k8s.io somebody", FUNCTIONS_NAMESPACE],
    ["patch rolebindings.rbac.authorization.k8s.io somebody", OTHER_NAMESPACE],
    ["create pods", OTHER_NAMESPACE],
    ["list secrets", OTHER_NAMESPACE],
    ["list secrets", ""],
    ["get secrets", platform],
    ["patch functions.fission.io", FUNCTIONS_NAMESPACE],
    ["delete packages.fission.io", FUNCTIONS_NAMESPACE],
    ["patch functions.fission.io/status", OTHER_NAMESPACE],
    ["create functionversions.fission.io", OTHER_NAMESPACE],
    ["delete functionversions.fission.io", OTHER_NAMESPACE],
    ["patch functionversions.fission.io/status", OTHER_NAMESPACE],
    ["patch functionaliases.fission.io", OTHER_NAMESPACE],
    ["patch httptriggers.fission.io", OTHER_NAMESPACE],
    ["create canaryconfigs.fission.io", FUNCTIONS_NAMESPACE],
    ["delete canaryconfigs.fission.io", FUNCTIONS_NAMESPACE],
    ["create functionaliases.fission.io", FUNCTIONS_NAMESPACE],
    ["create ingresses.networking.k8s.io", FUNCTIONS_NAMESPACE],
    ["delete networkpolicies.networking.k8s.io somebody", FUNCTIONS_NAMESPACE],
  ] as const;
  expect(await answers(account, denied)).toEqual(all(denied, false));
});

test("storage and logs see what they need", async () => {
  await granted(`${platform}:isotope-log-store`, [["watch pods", FUNCTIONS_NAMESPACE]]);
  const storage = [
    ["list packages.fission.io", ""],
    ["list functionversions.fission.io", ""],
    ["patch packages.fission.io", FUNCTIONS_NAMESPACE],
    ["get secrets", platform],
    ["list pods", FUNCTIONS_NAMESPACE],
  ] as const;
  expect(Object.values(await answers(`${platform}:isotope-storage`, storage))).toEqual([
    true,
    true,
    false,
    false,
    false,
  ]);
  const store = [
    ["watch pods", FUNCTIONS_NAMESPACE],
    ["watch pods", OTHER_NAMESPACE],
    ["get pods/log", FUNCTIONS_NAMESPACE],
    ["get secrets", FUNCTIONS_NAMESPACE],
  ] as const;
  expect(Object.values(await answers(`${platform}:isotope-log-store`, store))).toEqual([
    true,
    false,
    false,
    false,
  ]);
  const collector = [
    ["list pods", ""],
    ["list pods", FUNCTIONS_NAMESPACE],
    ["get secrets", `${platform}-logs`],
  ] as const;
  expect(Object.values(await answers(`${platform}-logs:isotope-log-collector`, collector))).toEqual([
    false,
    false,
    false,
  ]);
});

test("rights go with the label, and the pods go before them", { timeout: 400_000 }, async () => {
  const account = `${platform}:isotope-executor`;
  await kube.patch(
    NAMESPACES,
    { name: OTHER_NAMESPACE },
    { metadata: { labels: { "fission.io/enabled": "true" } } },
  );
  await eventually(
    () => may(account, "create pods", OTHER_NAMESPACE),
    (allowed) => allowed,
    60_000,
  );
  const pods = async () =>
    (await kube.list(resourceType("v1", "Pod", "pods"), { namespace: OTHER_NAMESPACE })).items.length;
  await eventually(pods, (count) => count > 0, 60_000);
  await kube.patch(
    NAMESPACES,
    { name: OTHER_NAMESPACE },
    { metadata: { labels: { "fission.io/enabled": null } } },
  );
  await eventually(
    () => may(account, "create pods", OTHER_NAMESPACE),
    (allowed) => !allowed,
    200_000,
  );
  expect(await pods()).toBe(0);
});
