import fastify from "fastify";
import { afterAll, beforeAll, expect, test } from "vitest";
import { checkNamespace } from "../../cli/deploy/check-namespace.ts";
import { opsClient } from "../../cli/ops-client.ts";
import { namespaceRoute } from "../../controller/ops/namespace-route.ts";
import { fastifyErrorHandler } from "../../net/error-reply.ts";
import { NAMESPACES, scopedClient } from "../../kube/namespace-scope.ts";
import { type KubeServer, startKube } from "./platform.ts";
import { eventually } from "../eventually.ts";

const LABEL = "isotope.dev/functions=enabled";
let kube: KubeServer;
const app = fastify();
const everywhere = fastify();
let scoped: ReturnType<typeof scopedClient>;
const ops = async (server: typeof app) =>
  opsClient({
    url: await server.listen({ host: "127.0.0.1", port: 0 }),
    headers: () => Promise.resolve({}),
  });

beforeAll(async () => {
  kube = await startKube();
  scoped = scopedClient({ ...kube.client, close: () => Promise.resolve() }, [LABEL]);
  app.setErrorHandler(fastifyErrorHandler({ debug: true, onUnexpected: () => undefined }));
  namespaceRoute(app, { scope: scoped.scope, labels: [LABEL] });
  namespaceRoute(everywhere, { labels: [] });
});
afterAll(async () => {
  await app.close();
  await everywhere.close();
  await scoped.close();
  await kube.stop();
});

test("a deployment to a namespace without the label says what to do; one whose label is on its way waits", async () => {
  const client = await ops(app);
  await expect(checkNamespace(client, "other")).rejects.toThrow(
    `Cannot deploy to namespace "other": the platform runs functions only in namespaces with the label ${LABEL}; set it with \`kubectl label namespace other ${LABEL}\`, or choose another with --namespace`,
  );
  let asked = 0;
  const labelled: typeof client.send = async (...question) => {
    // Between the first question and the second, however long the label's way is on this machine.
    if (++asked === 2) {
      await kube.client.patch(
        NAMESPACES,
        { name: "other" },
        { metadata: { labels: { "isotope.dev/functions": "enabled" } } },
      );
      await eventually(
        () => Promise.resolve(scoped.scope?.has("other")),
        (has) => has === true,
      );
    }
    return client.send(...question);
  };
  await checkNamespace({ send: labelled }, "other");
  expect(asked).toBe(2);
  const bad = await client.send("/v1/namespace");
  expect(bad.status).toBe(400);
  expect(await bad.body.text()).toContain('Cannot tell of a namespace: \\"namespace\\"');
}, 120_000);

test("where every namespace is minded, and where nobody can tell, nothing is in the way", async () => {
  await checkNamespace(await ops(everywhere), "other");
  const old = fastify();
  await checkNamespace(await ops(old), "other");
  await old.close();
});
