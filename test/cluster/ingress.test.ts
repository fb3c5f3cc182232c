import { afterAll, beforeAll, expect, test } from "vitest";
import { INGRESSES } from "../../controller/http-trigger/route-objects.ts";
import { createKubeClient, type KubeClient } from "../../kube/client.ts";
import { HTTP_TRIGGERS } from "../../kube/kinds.ts";
import { NAMESPACES } from "../../kube/namespace-scope.ts";
import { condition } from "../controller/platform.ts";
import { requireInstalledPlatform } from "../e2e/installed-platform.ts";
import { eventually } from "../eventually.ts";

/** A trigger's Ingress on a real API server, with the rights that the chart gives. Answering by host needs a proxy and is not tried here. */
const NAMESPACE = "ingress-functions";
let kube: KubeClient;
let platform: string;

beforeAll(async () => {
  const installed = requireInstalledPlatform();
  platform = installed.platformNamespace;
  kube = await createKubeClient({ kubeconfig: installed.kubeconfig });
  await kube.create(NAMESPACES, {
    metadata: { name: NAMESPACE, labels: { "isotope.dev/functions": "enabled" } },
  });
});
afterAll(async () => {
  await kube.delete(NAMESPACES, { name: NAMESPACE });
  await kube.close();
});

const own = async () =>
  (await kube.list(INGRESSES, { namespace: platform })).items.filter(
    ({ metadata }) => metadata.annotations?.["isotope.dev/trigger"] === `${NAMESPACE}/shop`,
  );

test("a trigger makes an Ingress beside the router and takes it along", async () => {
  await kube.create(HTTP_TRIGGERS, {
    apiVersion: "fission.io/v1",
    kind: "HTTPTrigger",
    metadata: { name: "shop", namespace: NAMESPACE },
    spec: {
      relativeurl: "/shop/{item}",
      functionref: { type: "name", name: "shop" },
      routeConfig: { provider: "ingress", hostnames: ["shop.example.com"], tls: "shop-tls" },
    },
  });
  const trigger = await eventually(
    () => kube.get(HTTP_TRIGGERS, { namespace: NAMESPACE, name: "shop" }),
    (object) => condition(object, "Exposed")?.status === "True",
    60_000,
  );
  expect(condition(trigger, "Exposed")?.reason).toBe("IngressApplied");
  const [ingress] = await own();
  expect(ingress?.spec).toMatchObject({
    rules: [
      {
        host: "shop.example.com",
        http: {
          paths: [
            {
              path: "/shop",
              pathType: "Prefix",
              backend: { service: { name: expect.stringContaining("router"), port: { number: 80 } } },
            },
          ],
        },
      },
    ],
    tls: [{ hosts: ["shop.example.com"], secretName: "shop-tls" }],
  });
  await kube.delete(HTTP_TRIGGERS, { namespace: NAMESPACE, name: "shop" });
  await eventually(own, (left) => left.length === 0, 60_000);
});
