import { afterEach, beforeEach, expect, test } from "vitest";
import type { HTTPTrigger } from "../../api/kinds/index.ts";
import {
  type ExposureSettings,
  HTTP_ROUTES,
  INGRESSES,
} from "../../controller/http-trigger/route-objects.ts";
import { HTTP_TRIGGERS } from "../../kube/kinds.ts";
import { NAMESPACES } from "../../kube/namespace-scope.ts";
import type { KubeObject } from "../../kube/object.ts";
import { resourceType } from "../../kube/resource.ts";
import { trigger } from "./objects.ts";
import { condition, type KubeServer, type RunningController, runController, startKube } from "./platform.ts";
import { eventually } from "../eventually.ts";

const PLATFORM = "isotope";
const exposure: ExposureSettings = {
  namespace: PLATFORM,
  service: { name: "isotope-router", port: 80 },
  ingressClass: "nginx",
  deniedAnnotations: ["*snippet*"],
};
let kube: KubeServer;
let running: RunningController;

beforeEach(async () => {
  kube = await startKube();
  await kube.client.create(NAMESPACES, { metadata: { name: PLATFORM } });
  running = runController(kube.client, { exposure });
});
afterEach(async () => {
  await running.controller.stop();
  await kube.stop();
});

interface Ingress extends KubeObject {
  spec?: {
    ingressClassName?: string;
    rules?: { host?: string; http?: { paths?: { path?: string; pathType?: string; backend?: unknown }[] } }[];
    tls?: unknown;
  };
}
const ingresses = async (): Promise<Ingress[]> =>
  (await kube.client.list(TYPED, { namespace: PLATFORM })).items;
const TYPED = resourceType<Ingress>(INGRESSES.apiVersion, INGRESSES.kind, INGRESSES.plural);
const create = (name: string, spec: Partial<HTTPTrigger["spec"]>, namespace = "default") =>
  kube.client.create(HTTP_TRIGGERS, {
    ...trigger(name, spec.relativeurl ?? "/", spec),
    metadata: { name, namespace },
  });
const patch = (name: string, spec: Record<string, unknown>, namespace = "default") =>
  kube.client.patch(HTTP_TRIGGERS, { namespace, name }, { spec });
const paths = (object: Ingress | undefined) =>
  object?.spec?.rules?.flatMap(
    (rule) => rule.http?.paths?.map(({ path, pathType }) => `${rule.host ?? "*"} ${pathType} ${path}`) ?? [],
  );
const exposed = async (name: string, reason: string, namespace = "default") => {
  const found = await eventually(
    () => kube.client.get(HTTP_TRIGGERS, { namespace, name }),
    (one) => condition(one, "Exposed")?.reason === reason,
  );
  return condition(found, "Exposed");
};

test("the older createingress and the newer routeConfig make an Ingress beside the router", async () => {
  await create("old", {
    relativeurl: "/old/{id}",
    createingress: true,
    ingressconfig: { host: "a.example.com", annotations: { "example.com/x": "1" }, tls: "a-tls" },
  });
  await exposed("old", "IngressApplied");
  const [old] = await ingresses();
  expect(old?.metadata.annotations).toMatchObject({
    "example.com/x": "1",
    "isotope.dev/trigger": "default/old",
  });
  expect(old?.spec).toMatchObject({
    ingressClassName: "nginx",
    tls: [{ hosts: ["a.example.com"], secretName: "a-tls" }],
  });
  expect(paths(old)).toEqual(["a.example.com Prefix /old"]);
  expect(old?.spec?.rules?.[0]?.http?.paths?.[0]?.backend).toEqual({
    service: { name: "isotope-router", port: { number: 80 } },
  });

  await create("new", {
    relativeurl: "/new",
    prefix: "/more/",
    routeConfig: { provider: "ingress", hostnames: ["b.example.com", "c.example.com"] },
  });
  await exposed("new", "IngressApplied");
  expect(paths((await ingresses()).find(({ metadata }) => metadata.name.startsWith("new-")))).toEqual([
    "b.example.com Exact /new",
    "b.example.com Prefix /more/",
    "c.example.com Exact /new",
    "c.example.com Prefix /more/",
  ]);
});

test("an Ingress follows its trigger, is restored when it was changed, and goes with it", async () => {
  await create("one", { relativeurl: "/one", routeConfig: { provider: "ingress", path: "/api" } });
  await exposed("one", "IngressApplied");
  const [first] = await ingresses();
  expect(paths(first)).toEqual(["* ImplementationSpecific /api"]);
  await patch("one", { routeConfig: { path: "/v2" } });
  await eventually(ingresses, ([object]) => paths(object)?.[0] === "* ImplementationSpecific /v2");

  const ref = { namespace: PLATFORM, name: first?.metadata.name ?? "" };
  await kube.client.delete(INGRESSES, ref);
  await eventually(ingresses, ([object]) => paths(object)?.[0] === "* ImplementationSpecific /v2");

  await patch("one", { routeConfig: { provider: "" } });
  await eventually(ingresses, (all) => all.length === 0);
  await eventually(
    () => kube.client.get(HTTP_TRIGGERS, { namespace: "default", name: "one" }),
    (object) => condition(object, "Exposed") === undefined,
  );
  await patch("one", { routeConfig: { provider: "ingress" } });
  await eventually(ingresses, (all) => all.length === 1);
  await kube.client.delete(HTTP_TRIGGERS, { namespace: "default", name: "one" });
  await eventually(ingresses, (all) => all.length === 0);
});

test("triggers of the same name in two namespaces do not share an Ingress; one that vanished unseen is cleaned up", async () => {
  await create("same", { relativeurl: "/a", createingress: true });
  await create("same", { relativeurl: "/b", createingress: true }, "other");
  await eventually(ingresses, (all) => all.length === 2);
  await running.controller.stop();
  await kube.client.delete(HTTP_TRIGGERS, { namespace: "other", name: "same" });
  running = runController(kube.client, { exposure });
  const [left] = await eventually(ingresses, (all) => all.length === 1);
  expect(left?.metadata.annotations?.["isotope.dev/trigger"]).toBe("default/same");
});

test("a trigger of the platform's own namespace owns its Ingress", async () => {
  await create("own", { relativeurl: "/own", createingress: true }, PLATFORM);
  const [object] = await eventually(ingresses, (all) => all.length === 1);
  expect(object?.metadata.ownerReferences).toMatchObject([
    { kind: "HTTPTrigger", name: "own", controller: true },
  ]);
});

test.each([
  [
    "an annotation that is code in the proxy",
    {
      routeConfig: {
        provider: "ingress",
        annotations: { "nginx.ingress.kubernetes.io/server-snippet": "x" },
      },
    },
    "server-snippet",
  ],
  ["a host that is none", { createingress: true, ingressconfig: { host: "a b" } }, 'Host "a b"'],
  ["a path with ..", { routeConfig: { provider: "ingress", path: "/a/../b" } }, 'Path "/a/../b"'],
  [
    "a gateway where none are made",
    { routeConfig: { provider: "gateway", gateway: { parentRefs: [{ name: "g" }] } } },
    "gatewayApi.enabled",
  ],
] as const)("%s is refused with the reason, and nothing is made", async (_title, spec, message) => {
  await create("bad", { relativeurl: "/bad", ...(spec as Partial<HTTPTrigger["spec"]>) });
  const found = await exposed("bad", "InvalidIngressConfig");
  expect(found?.message).toContain(message);
  expect(await ingresses()).toEqual([]);
});

/** The part of the Gateway API's definition that matters to an API server. */
const HTTP_ROUTE_DEFINITION = {
  metadata: { name: "httproutes.gateway.networking.k8s.io" },
  spec: {
    group: "gateway.networking.k8s.io",
    scope: "Namespaced",
    names: { kind: "HTTPRoute", listKind: "HTTPRouteList", plural: "httproutes", singular: "httproute" },
    versions: [
      {
        name: "v1",
        served: true,
        storage: true,
        schema: { openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true } },
      },
    ],
  },
};

test("the gateway provider makes an HTTPRoute where its kind exists, and says so where not", async () => {
  await running.controller.stop();
  running = runController(kube.client, {
    exposure: { ...exposure, gateway: { defaultParent: "edge/public" } },
  });
  await create("gw", {
    relativeurl: "/orders/{id}",
    methods: ["GET", "POST"],
    routeConfig: { provider: "gateway", hostnames: ["api.example.com"], tls: "" },
  });
  expect((await exposed("gw", "GatewayApiMissing"))?.status).toBe("False");
  await kube.client.create(
    resourceType("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", {
      namespaced: false,
    }),
    HTTP_ROUTE_DEFINITION,
  );
  await patch("gw", { methods: ["GET", "PUT"] });
  await exposed("gw", "HTTPRouteApplied");
  const routes = async () =>
    (await kube.client.list<KubeObject & { spec?: unknown }>(HTTP_ROUTES, { namespace: PLATFORM })).items;
  // It may have been made of what the trigger said before.
  const [route] = await eventually(routes, ([one]) => JSON.stringify(one?.spec).includes('"PUT"'));
  const path = { type: "PathPrefix", value: "/orders" };
  expect(route?.spec).toEqual({
    parentRefs: [{ name: "public", namespace: "edge" }],
    hostnames: ["api.example.com"],
    rules: [
      {
        matches: [
          { path, method: "GET" },
          { path, method: "PUT" },
        ],
        backendRefs: [{ name: "isotope-router", port: 80 }],
      },
    ],
  });
  await patch("gw", { routeConfig: { provider: "ingress" } });
  await eventually(ingresses, (all) => all.length === 1);
  await eventually(routes, (all) => all.length === 0);
});

test("who lost a path to an older trigger gets no Ingress", async () => {
  await create("first", { relativeurl: "/taken", createingress: true });
  await eventually(ingresses, (all) => all.length === 1);
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  await create("second", { relativeurl: "/taken", createingress: true });
  await exposed("second", "RouteNotAdmitted");
  expect((await ingresses()).map(({ metadata }) => metadata.name.replace(/-[0-9a-f]+$/, ""))).toEqual([
    "first",
  ]);
});
