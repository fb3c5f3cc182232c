import { createHash } from "node:crypto";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { API_GROUP_VERSION } from "../../api/names.ts";
import { InvocationList, InvocationView } from "../../api/wire/invocations.ts";
import { RunList, RunView } from "../../api/wire/workflows.ts";
import { createKubeClient, type KubeClient } from "../../kube/client.ts";
import { FUNCTION_VERSIONS, FUNCTIONS, WORKFLOWS } from "../../kube/kinds.ts";
import { keyRingFromFile } from "../../net/keys.ts";
import { referenceSigner } from "../../net/reference-sign.ts";
import { hasRedis } from "../redis-server.ts";
import { onCluster, startTestPlatform } from "./platform.ts";
import { deploy } from "./project.ts";
import { isotope as run, redeploy, says } from "./releasing.ts";
import type { TestPlatform } from "./test-platform.ts";
import { asserted } from "../asserted.ts";

let platform: TestPlatform;
let kube: KubeClient;

const answers = (route: string, code: string, methods = ["POST"]) => `
export const config = { route: "${route}", methods: ${JSON.stringify(methods)}, requestsPerPod: 100 };
export default async (request: Request) => { ${code} };`;
const ECHO = `return Response.json({
  method: request.method,
  body: await request.text(),
  headers: Object.fromEntries(request.headers),
});`;

beforeAll(async () => {
  platform = await startTestPlatform();
  kube = await createKubeClient({ kubeconfig: platform.connection.kubeconfig });
  await deploy(platform, {
    "order.ts": answers("/tells/order", `return Response.json({ total: (await request.json()).price * 2 });`),
    "broken.ts": answers("/tells/broken", `return new Response("no such order", { status: 422 });`),
    "circle.ts": answers("/tells/circle", `return new Response(await request.text());`),
    "echo.ts": answers("/tells/echo", ECHO, ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "POST"]),
    "double.ts": `export const config = { route: false };
export default async (request: Request) => Response.json({ n: (await request.json()).total * 2 });`,
  });
  await kube.create(WORKFLOWS, {
    apiVersion: API_GROUP_VERSION,
    kind: "Workflow",
    metadata: { name: "billing", namespace: platform.namespace },
    spec: {
      startAt: "double",
      states: { double: { type: "Task", function: { type: "name", name: "double" }, end: true } },
    },
  });
}, 180_000);
afterAll(async () => {
  await kube?.close();
  await platform?.stop();
});

const isotope = (...args: string[]): Promise<string> => run(platform, ...args);

async function later(
  path: string,
  init: { method?: string; body?: string; headers?: Record<string, string> } = {},
): Promise<string> {
  const reply = await platform.get(path, {
    method: "POST",
    ...init,
    headers: { "x-fission-invoke-mode": "async", ...init.headers },
  });
  expect(reply.status).toBe(202);
  return InvocationId((await reply.json()) as object);
}
const InvocationId = (body: object): string =>
  "invocationId" in body && typeof body.invocationId === "string" ? body.invocationId : "";

async function view(id: string): Promise<InvocationView> {
  const { status, text } = await platform.ops(`/v1/invocations/${platform.namespace}/${id}?payload=true`);
  expect({ status, text }).toMatchObject({ status: 200 });
  return InvocationView.parse(JSON.parse(text));
}
const ended = (id: string): Promise<InvocationView> =>
  asserted(async () => {
    const seen = await view(id);
    expect(["queued", "running"]).not.toContain(seen.status);
    return seen;
  });
/** Rejects when nobody is told of it: it was accepted before the function was changed. */
async function told(id: string): Promise<InvocationView> {
  await ended(id);
  return vi.waitFor(
    async () => {
      const seen = await view(id);
      expect(seen.destination).toBeDefined();
      return seen;
    },
    { timeout: 10_000, interval: 50 },
  );
}

/** What the echo function saw. */
interface Echoed {
  method: string;
  body: string;
  headers: Record<string, string>;
}
const echoed = ({ result }: InvocationView): Echoed => JSON.parse(result?.body?.text ?? "{}") as Echoed;

describe.skipIf(!hasRedis && !onCluster)("what comes of asynchronous calls", () => {
  it("starts a run of a workflow, one for one call, with the answer as its input", async () => {
    const ref = { name: "order", namespace: platform.namespace };
    await kube.patch(FUNCTIONS, ref, {
      spec: { invocation: { onSuccess: { function: { type: "workflow", name: "billing" } } } },
    });
    const id = await asserted(async () => {
      const id = await later("/tells/order", { body: JSON.stringify({ price: 21 }) });
      expect((await told(id)).destination).toMatchObject({ to: "workflow/billing" });
      return id;
    });
    const { destination } = await view(id);
    const started = await ended(destination?.invocationId ?? "");
    expect(started).toMatchObject({
      status: "succeeded",
      target: { kind: "workflow", name: "billing" },
      depth: 1,
    });
    const { id: runId } = RunView.parse(JSON.parse(started.result?.body?.text ?? "{}"));
    await asserted(async () => {
      const { text } = await platform.ops(`/v1/runs/${platform.namespace}/${runId}`);
      expect(RunView.parse(JSON.parse(text))).toMatchObject({ status: "succeeded", output: { n: 84 } });
    });
    const runs = RunList.parse(
      JSON.parse((await platform.ops(`/v1/runs?namespace=${platform.namespace}`)).text),
    );
    expect(runs.runs.filter((one) => one.id === runId)).toHaveLength(1);
  }, 300_000);

  it("goes to a topic, with what was sent and why it failed", async () => {
    await isotope("fn", "update", "broken", "--async-on-failure-topic", "failed-orders");
    await asserted(async () => {
      const id = await later("/tells/broken", {
        body: "an order",
        headers: { "content-type": "text/plain" },
      });
      expect(await told(id)).toMatchObject({ status: "dead", destination: { to: "topic/failed-orders" } });
      const messages: unknown = JSON.parse(
        await isotope("topic", "peek", "--topic", "failed-orders", "-o", "json"),
      );
      expect(messages).toContainEqual(
        expect.objectContaining({
          data: "an order",
          headers: expect.objectContaining({
            "ce-type": "dev.isotope.invocation.failed",
            "ce-invocationid": id,
            "ce-status": "422",
          }),
        }),
      );
    });
  }, 300_000);

  it("goes round in a circle no more than three times", async () => {
    await isotope("fn", "update", "circle", "--async-on-success", "circle");
    const hops: number[] = [];
    const last = await asserted(async () => {
      hops.length = 0;
      let at = await told(await later("/tells/circle", { body: "round" }));
      for (; at.destination?.invocationId !== undefined; at = await told(at.destination.invocationId))
        hops.push(at.depth);
      expect(at.depth).toBe(3);
      return at;
    });
    expect(hops).toEqual([0, 1, 2]);
    expect(last.result?.body?.text).toBe("round");
    expect(last.destination?.error).toContain("3 destinations in a row");
  }, 300_000);

  it("is of the version that was there when the call was accepted", async () => {
    const folder = await deploy(platform, { "greet.ts": says("one", "/greet-later") });
    await isotope("fn", "publish", "greet", "--wait");
    const early = await asserted(async () => {
      const id = await later("/greet-later", { headers: { "x-isotope-delay": "6s" } });
      expect((await view(id)).target.version).toBe("greet-v1");
      return id;
    });
    await redeploy(platform, folder, "greet", says("two", "/greet-later"));
    await isotope("fn", "publish", "greet", "--wait");
    const late = await asserted(async () => {
      const id = await later("/greet-later");
      expect((await view(id)).target.version).toBe("greet-v2");
      return id;
    });
    expect((await ended(late)).result?.body?.text).toBe("two");
    expect((await ended(early)).result?.body?.text).toBe("one");
    // What is waited for is held, for as long as that.
    const holds = async (): Promise<string[]> => {
      const version = await kube.get(FUNCTION_VERSIONS, { name: "greet-v2", namespace: platform.namespace });
      return Object.keys(version.metadata.annotations ?? {}).filter((name) => name.includes("/hold."));
    };
    const waiting = await later("/greet-later", { headers: { "x-isotope-delay": "1h" } });
    await asserted(async () => expect(await holds()).toEqual(["isotope.dev/hold.invocations"]));
    const cancelled = await platform.ops(`/v1/invocations/${platform.namespace}/${waiting}/cancel`, {});
    expect(cancelled.status).toBe(202);
    await asserted(async () => expect(await holds()).toEqual([]));
  }, 300_000);

  it("hands over methods, bodies and CloudEvents as they were sent", async () => {
    for (const method of ["PUT", "PATCH", "DELETE", "OPTIONS"]) {
      const seen = echoed(await ended(await later("/tells/echo", { method, body: `by ${method}` })));
      expect(seen).toMatchObject({ method, body: `by ${method}` });
    }
    const event = { "ce-specversion": "1.0", "ce-id": "b1", "ce-source": "/shop", "ce-type": "order.made" };
    const binary = { body: '{"n":1}', headers: { ...event, "content-type": "application/json" } };
    const first = await later("/tells/echo", binary);
    const seen = echoed(await ended(first));
    expect(seen.headers).toMatchObject({ ...event, "content-type": "application/json" });
    expect(seen.body).toBe('{"n":1}');
    // The same event is the same call.
    expect(await later("/tells/echo", binary)).toBe(first);
    const plain = echoed(await ended(await later("/tells/echo", { body: "plain" })));
    expect(plain.headers).toMatchObject({
      "ce-specversion": "1.0",
      "ce-type": "dev.isotope.event",
      "ce-source": `/isotope/${platform.namespace}/echo`,
    });
    expect(plain.headers["ce-id"]).toBeTruthy();
  }, 300_000);

  it("can be asked of the operations API by whoever may read functions", async () => {
    const id = await later("/tells/broken", { body: "for the API" });
    await ended(id);
    const space = platform.namespace;
    const listed = await platform.ops(`/v1/invocations?namespace=${space}&function=broken&status=dead`);
    expect(InvocationList.parse(JSON.parse(listed.text)).items.map((item) => item.id)).toContain(id);
    const letters = await platform.ops(`/v1/dlq?namespace=${space}&function=broken&limit=1`);
    expect(InvocationList.parse(JSON.parse(letters.text))).toMatchObject({ items: [{ id }] });
    expect(await platform.ops(`/v1/invocations/other/${id}`)).toMatchObject({ status: 404 });
    const purged = await platform.ops("/v1/dlq/purge", { namespace: space, ids: [id] });
    expect(JSON.parse(purged.text)).toEqual({ count: 1 });
    expect(await platform.ops(`/v1/invocations/${space}/${id}`)).toMatchObject({ status: 404 });
    const done = await ended(await later("/tells/echo", { body: "result" }));
    const result = await platform.ops(`/v1/invocations/${space}/${done.id}/result`);
    expect(JSON.parse(result.text)).toMatchObject({ body: "result" });
  }, 300_000);

  it.skipIf(onCluster)(
    "is asked by the reference system's CLI at the internal listener",
    async () => {
      const sign = referenceSigner(
        keyRingFromFile(join(platform.home, "keys", "internal")),
        "router-internal",
      );
      const call = async (method: string, target: string) => {
        const bodySha256 = createHash("sha256").digest("hex");
        const headers = sign({ method, target, bodySha256 });
        const reply = await fetch(`${platform.connection.routerInternalUrl}${target}`, { method, headers });
        return {
          status: reply.status,
          body: (await reply.json()) as { items?: { id: string }[]; count?: number },
        };
      };
      const id = await later("/tells/broken", { body: "for its CLI" });
      await ended(id);
      const list = "/v1/async/dlq/list?namespace=default&queue=asyncinv";
      expect((await call("GET", list)).body.items?.map((item) => item.id)).toContain(id);
      expect((await call("GET", `/v1/async/dlq/show?id=${id}`)).body).toMatchObject({
        id,
        request: { body: { text: "for its CLI" } },
      });
      expect((await call("POST", `/v1/async/dlq/redrive?id=${id}`)).body).toEqual({ count: 1 });
      await asserted(async () => expect(await view(id)).toMatchObject({ status: "dead", redrives: 1 }));
      expect((await call("POST", `/v1/async/dlq/purge?namespace=default`)).body.count).toBeGreaterThan(0);
      expect((await call("GET", list)).body.items).toEqual([]);
      expect(await fetch(`${platform.connection.routerInternalUrl}${list}`)).toMatchObject({ status: 401 });
      expect(await platform.get(list)).toMatchObject({ status: 404 });
    },
    300_000,
  );
});
