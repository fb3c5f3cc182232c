import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { request } from "undici";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LABEL_FUNCTION_NAME } from "../../api/names.ts";
import { createKubeClient, type KubeClient } from "../../kube/client.ts";
import { FUNCTIONS, HTTP_TRIGGERS, PACKAGES } from "../../kube/kinds.ts";
import type { KubeObject } from "../../kube/object.ts";
import { resourceType } from "../../kube/resource.ts";
import { startTestPlatform } from "./platform.ts";
import { deploy } from "./project.ts";
import type { TestPlatform } from "./test-platform.ts";
import { asserted } from "../asserted.ts";

interface Data extends KubeObject {
  stringData?: Record<string, string>;
  data?: Record<string, string>;
}
const SECRETS = resourceType<Data>("v1", "Secret", "secrets");
const CONFIG_MAPS = resourceType<Data>("v1", "ConfigMap", "configmaps");
const PODS = resourceType("v1", "Pod", "pods");
const SLICES = resourceType("discovery.k8s.io/v1", "EndpointSlice", "endpointslices");

/** Tells which pod answered, how many requests it had at once at most, and how many it began. */
const COUNTER = `
const pod = crypto.randomUUID();
let inFlight = 0, most = 0, started = 0;
export default async () => {
  started += 1; inFlight += 1; most = Math.max(most, inFlight);
  await new Promise((go) => setTimeout(go, 25));
  inFlight -= 1;
  return Response.json({ pod, most, started });
};`;

const PROJECT: Record<string, string> = {
  "data.ts": `
export const config = { route: "/data", env: { PLAIN: "text", KEY: { secret: "app", key: "key" }, MODE: { configMap: "app", key: "mode" }, NONE: { secret: "nothing", key: "x", optional: true } }, envFrom: [{ configMap: "app" }], secrets: ["app"], configMaps: ["app"] };
const read = (path: string) => Deno.readTextFileSync(path);
export default () => Response.json({
  plain: Deno.env.get("PLAIN"), key: Deno.env.get("KEY"), mode: Deno.env.get("MODE"), none: Deno.env.get("NONE") ?? null, all: Deno.env.get("mode"),
  secretFile: read(Deno.env.get("ISOTOPE_SECRETS_DIR") + "/app/key"), configFile: read(Deno.env.get("ISOTOPE_CONFIGS_DIR") + "/app/mode"),
});`,
  "packed.ts": `export const config = { route: "/packed", requestsPerPod: 2, concurrency: 2 };${COUNTER}`,
  "once.ts": `export const config = { route: "/once", onceOnly: true, concurrency: 4 };${COUNTER}`,
  "life.ts": `
export const config = { route: { prefix: "/life" }, concurrency: 1, timeout: 2 };
const seen: string[] = [];
export default async (request: Request, ctx: { waitUntil(work: Promise<unknown>): void }) => {
  const { pathname } = new URL(request.url);
  if (pathname === "/life/wait") {
    request.signal.addEventListener("abort", () => seen.push("aborted"));
    await new Promise((go) => setTimeout(go, 60_000));
  }
  if (pathname === "/life/later") ctx.waitUntil(new Promise((go) => setTimeout(go, 100)).then(() => seen.push("later")));
  return Response.json(seen);
};`,
  "body.ts": `
export const config = { route: "/body" };
export default async (request: Request) => {
  let bytes = 0;
  for await (const chunk of request.body ?? []) bytes += chunk.byteLength;
  return new Response(String(bytes));
};`,
  "stream.ts": `
export const config = { route: "/stream", streaming: { idleTimeout: 2, maxDuration: 5 } };
export default (request: Request) => {
  const every = Number(new URL(request.url).searchParams.get("every"));
  return new Response(new ReadableStream({
    async start(out) { try { for (let at = 0; at < 60; at++) { out.enqueue(new TextEncoder().encode("tick\\n")); await new Promise((go) => setTimeout(go, every)); } out.close(); } catch { /* the reader left */ } },
  }));
};`,
  "loop.ts": `
export const config = { route: "/loop", timeout: 1 };
const pod = crypto.randomUUID();
export default (request: Request) => { if (new URL(request.url).search === "?spin") for (;;); return new Response(pod); };`,
  "brief.ts": `export const config = { route: "/brief", idleTimeout: 1 };\nexport default () => new Response("brief");`,
  "routes.ts": `
export const config = { route: [{ path: "/items/{id:[0-9]+}", methods: ["GET", "PUT"] }, { prefix: "/cut", keepPrefix: false }, { prefix: "/kept" }, { path: "/hosted", host: "a.example" }, { path: "/shared", cors: { origins: ["https://app.example"], methods: ["GET"], credentials: true } }] };
export default (request: Request) => Response.json({ path: new URL(request.url).pathname, id: request.headers.get("x-fission-params-id"), method: request.method });`,
};

let platform: TestPlatform;
let kube: KubeClient;
let second: { url: string; stop(): void };

beforeAll(async () => {
  platform = await startTestPlatform();
  kube = await createKubeClient({ kubeconfig: platform.connection.kubeconfig });
  const app = { name: "app", namespace: platform.namespace };
  await kube.create(SECRETS, { metadata: app, stringData: { key: "one" } });
  await kube.create(CONFIG_MAPS, { metadata: app, data: { mode: "fast" } });
  await deploy(platform, PROJECT);
  second = await platform.otherRouter();
}, 300_000);
afterAll(async () => {
  second?.stop();
  await kube?.close();
  await platform?.stop();
});

const json = async (reply: Response): Promise<Record<string, unknown>> =>
  (await reply.json()) as Record<string, unknown>;
const reasonOf = async (reply: Response): Promise<unknown> => (await json(reply))["reason"];
const podsOf = async (name: string): Promise<string[]> =>
  (
    await kube.list(PODS, { namespace: platform.namespace, labelSelector: `${LABEL_FUNCTION_NAME}=${name}` })
  ).items
    .filter(({ metadata }) => !metadata.deletionTimestamp)
    .map(({ metadata }) => metadata.name);

describe("what a function is given", () => {
  it("variables and files from secrets and config maps, and new ones without a failed request", async () => {
    expect(await json(await platform.get("/data"))).toEqual({
      plain: "text",
      key: "one",
      mode: "fast",
      none: null,
      all: "fast",
      secretFile: "one",
      configFile: "fast",
    });
    const statuses = new Set<number>();
    const state = { running: true };
    const load = Promise.all(
      Array.from({ length: 3 }, async () => {
        while (state.running) {
          const reply = await platform.get("/data");
          statuses.add(reply.status);
          await reply.arrayBuffer();
        }
      }),
    );
    try {
      await kube.patch(
        SECRETS,
        { name: "app", namespace: platform.namespace },
        { stringData: { key: "two" } },
      );
      await asserted(async () =>
        expect(await json(await platform.get("/data"))).toMatchObject({ key: "two", secretFile: "two" }),
      );
      await kube.patch(
        CONFIG_MAPS,
        { name: "app", namespace: platform.namespace },
        { data: { mode: "slow" } },
      );
      await asserted(async () =>
        expect(await json(await platform.get("/data"))).toMatchObject({ mode: "slow", configFile: "slow" }),
      );
    } finally {
      state.running = false;
      await load;
    }
    expect([...statuses]).toEqual([200]);
  });

  it("a build that fails says where, and leaves the old revision serving", async () => {
    const folder = await deploy(platform, { "built.ts": 'export default () => new Response("old");' });
    const file = join(folder, "functions", "built.ts");
    const old = readFileSync(file, "utf8");
    for (const [broken, says] of [
      ['import "no-such-package-of-anybody";\nexport default () => new Response("new");', "built.ts:1"],
      ['const a = 1;\nconst a = 2;\nexport default () => new Response("new");', "built.ts:2"],
    ] as const) {
      writeFileSync(file, broken);
      const { code, out, err } = await platform.cli(["deploy", folder]);
      expect(code).toBe(1);
      expect(out + err).toContain(says);
      expect(await (await platform.get("/built")).text()).toBe("old");
    }
    writeFileSync(file, old.replace("old", "new"));
    expect((await platform.cli(["deploy", folder])).code).toBe(0);
    await asserted(async () => expect(await (await platform.get("/built")).text()).toBe("new"));
  });
});

describe("the life of a request", () => {
  it("ends with 504 after the function's timeout", async () => {
    const reply = await platform.get("/life/wait");
    expect([reply.status, await reasonOf(reply)]).toEqual([504, "function_timeout"]);
  });

  it("an abort of the caller reaches request.signal, and waitUntil goes on after the answer", async () => {
    await asserted(async () => {
      // On a busy machine it may leave before its request has come to the function.
      await platform.get("/life/wait", { signal: AbortSignal.timeout(300) }).catch(() => undefined);
      expect(await (await platform.get("/life/seen")).json()).toContain("aborted");
    });
    expect((await platform.get("/life/later")).status).toBe(200);
    await asserted(async () => expect(await (await platform.get("/life/seen")).json()).toContain("later"));
  });

  it("bodies over the limit are refused, others arrive whole", async () => {
    const post = (bytes: number) => platform.get("/body", { method: "POST", body: new Uint8Array(bytes) });
    expect(await (await post(5_000_000)).text()).toBe("5000000");
    const large = await fetch(`${platform.connection.routerUrl}/body`, {
      method: "POST",
      duplex: "half",
      body: ReadableStream.from(
        (function* () {
          for (let at = 0; at < 140; at++) yield new Uint8Array(2 ** 20);
        })(),
      ),
    });
    expect([large.status, await reasonOf(large)]).toEqual([413, "body_too_large"]);
    expect(await (await post(1)).text()).toBe("1");
  });

  it("a stream may last longer than the timeout, is ended by silence and by its longest duration", async () => {
    const read = async (every: number): Promise<{ whole: boolean; ticks: number }> => {
      const reply = await platform.get(`/stream?every=${every}`);
      expect(reply.status).toBe(200);
      let text = "";
      try {
        for await (const chunk of reply.body ?? []) text += new TextDecoder().decode(chunk);
        return { whole: true, ticks: text.split("tick").length - 1 };
      } catch {
        return { whole: false, ticks: text.split("tick").length - 1 };
      }
    };
    const [whole, silent, long] = await Promise.all([read(5), read(30_000), read(150)]);
    expect(whole).toEqual({ whole: true, ticks: 60 });
    expect(silent).toEqual({ whole: false, ticks: 1 });
    expect(long.whole).toBe(false);
    expect(long.ticks).toBeGreaterThan(1);
  });

  it("an endless loop is noticed from outside, and its pod replaced", async () => {
    const first = await (await platform.get("/loop")).text();
    const stuck = await podsOf("loop");
    expect((await platform.get("/loop?spin")).status).toBe(504);
    await asserted(async () => {
      const reply = await platform.get("/loop", { signal: AbortSignal.timeout(10_000) });
      expect(reply.status).toBe(200);
      expect(await reply.text()).not.toBe(first);
    });
    await asserted(async () => {
      for (const name of stuck) expect(await podsOf("loop")).not.toContain(name);
    });
  });
});

describe("limits, with two routers side by side", () => {
  const both = () => [platform.connection.routerUrl, second.url];
  interface Count {
    readonly pod: string;
    readonly most: number;
    readonly started: number;
  }
  const burst = async (path: string, requests: number, atOnce: number) => {
    const counts: Count[] = [];
    const others: number[] = [];
    let next = 0;
    await Promise.all(
      Array.from({ length: atOnce }, async () => {
        for (let at = next++; at < requests; at = next++) {
          const reply = await fetch((both()[at % 2] ?? "") + path);
          if (reply.status === 200) counts.push((await reply.json()) as Count);
          else {
            others.push(reply.status);
            await reply.arrayBuffer();
          }
        }
      }),
    );
    return { counts, others };
  };

  it("requestsPerPod and concurrency are never passed", async () => {
    const { counts, others } = await burst("/packed", 80, 12);
    expect(others.filter((status) => status !== 429 && status !== 503)).toEqual([]);
    expect(counts.length).toBeGreaterThan(60);
    expect(Math.max(...counts.map(({ most }) => most))).toBe(2);
    expect(new Set(counts.map(({ pod }) => pod)).size).toBeLessThanOrEqual(2);
  });

  it("onceOnly gives every request a pod of its own", async () => {
    const { counts, others } = await burst("/once", 8, 4);
    expect(others.filter((status) => status !== 429 && status !== 503)).toEqual([]);
    expect(counts.length).toBeGreaterThan(4);
    expect(counts.filter(({ started }) => started !== 1)).toEqual([]);
    expect(new Set(counts.map(({ pod }) => pod)).size).toBe(counts.length);
  }, 120_000);

  it("idle pods are released, and the next call starts one", async () => {
    expect((await platform.get("/brief")).status).toBe(200);
    await asserted(async () => expect(await podsOf("brief")).toEqual([]));
    expect(await (await platform.get("/brief")).text()).toBe("brief");
  });
});

describe("routes", () => {
  it("variables, prefixes, methods and hosts", async () => {
    const get = (path: string, init?: RequestInit) => platform.get(path, init);
    expect(await json(await get("/items/42"))).toEqual({ path: "/items/42", id: "42", method: "GET" });
    expect((await get("/items/x")).status).toBe(404);
    const wrong = await get("/items/42", { method: "DELETE" });
    expect([wrong.status, wrong.headers.get("allow")]).toEqual([405, expect.stringMatching(/GET.*PUT/)]);
    expect(await json(await get("/cut/a/b"))).toMatchObject({ path: "/a/b" });
    expect(await json(await get("/kept/a/b"))).toMatchObject({ path: "/kept/a/b" });
    expect((await get("/keptx")).status).toBe(404);
    expect((await get("/hosted")).status).toBe(404);
    const hosted = await request(`${platform.connection.routerUrl}/hosted`, {
      headers: { host: "a.example" },
    });
    expect(hosted.statusCode).toBe(200);
    await hosted.body.dump();
  });

  it("CORS as configured", async () => {
    const preflight = (origin: string, method: string) =>
      platform.get("/shared", {
        method: "OPTIONS",
        headers: { origin, "access-control-request-method": method },
      });
    const allowed = await preflight("https://app.example", "GET");
    expect([allowed.status, allowed.headers.get("access-control-allow-origin")]).toEqual([
      204,
      "https://app.example",
    ]);
    const denied = await preflight("https://evil.example", "GET");
    expect([denied.status, await reasonOf(denied)]).toEqual([403, "cors_denied"]);
    const plain = await platform.get("/shared", { headers: { origin: "https://app.example" } });
    expect(plain.headers.get("access-control-allow-credentials")).toBe("true");
  });

  it("of two triggers that claim the same, the older serves and the newer says so, until the older goes", async () => {
    const spec = (name: string) => ({
      relativeurl: "/claimed",
      functionref: { type: "name" as const, name },
    });
    const create = (name: string, fn: string) =>
      kube.create(HTTP_TRIGGERS, {
        apiVersion: "fission.io/v1",
        kind: "HTTPTrigger",
        metadata: { name, namespace: platform.namespace },
        spec: spec(fn),
      });
    await create("claim-b", "brief");
    await asserted(async () => expect(await (await platform.get("/claimed")).text()).toBe("brief"));
    // Creation times are whole seconds: of the same second, the smaller name would win.
    await new Promise((go) => setTimeout(go, 1_000));
    await create("claim-a", "loop");
    await asserted(async () => {
      const { status } = await kube.get(HTTP_TRIGGERS, { name: "claim-a", namespace: platform.namespace });
      const condition = status?.conditions?.find(({ type }) => type === "RouteAdmitted");
      expect([condition?.status, condition?.reason]).toEqual(["False", "RouteConflict"]);
      expect(condition?.message).toContain("claim-b");
    });
    expect(await (await platform.get("/claimed")).text()).toBe("brief");
    await kube.delete(HTTP_TRIGGERS, { name: "claim-b", namespace: platform.namespace });
    await asserted(async () => expect(await (await platform.get("/claimed")).text()).not.toBe("brief"));
    await kube.delete(HTTP_TRIGGERS, { name: "claim-a", namespace: platform.namespace });
  });
});

describe("deleting", () => {
  it("a function takes its pods and slices along; its route says that nothing is there", async () => {
    await asserted(async () => {
      // Its idle time is so short that its pod may go before it is seen.
      expect((await platform.get("/brief")).status).toBe(200);
      expect(await podsOf("brief")).toHaveLength(1);
    });
    expect((await platform.cli(["fn", "delete", "brief"])).code).toBe(0);
    await asserted(async () => {
      expect(await podsOf("brief")).toEqual([]);
      const slices = await kube.list(SLICES, { labelSelector: `${LABEL_FUNCTION_NAME}=brief` });
      expect(slices.items).toEqual([]);
      expect(await kube.find(FUNCTIONS, { name: "brief", namespace: platform.namespace })).toBeUndefined();
    });
    await asserted(async () => {
      const reply = await platform.get("/brief");
      expect([reply.status, await reasonOf(reply)]).toEqual([404, "function_not_found"]);
    });
  });

  it("by deploy --prune what no file stands for any more goes away whole", async () => {
    const folder = await deploy(platform, {
      "gone.ts": 'export default () => new Response("gone");',
      "stays.ts": 'export default () => new Response("stays");',
    });
    expect(await (await platform.get("/gone")).text()).toBe("gone");
    rmSync(join(folder, "functions", "gone.ts"));
    expect((await platform.cli(["deploy", folder, "--prune"])).code).toBe(0);
    await asserted(async () => {
      const ref = { name: "gone", namespace: platform.namespace };
      expect(
        await Promise.all(
          [FUNCTIONS, PACKAGES, HTTP_TRIGGERS].map((type) => kube.find<KubeObject>(type, ref)),
        ),
      ).toEqual([undefined, undefined, undefined]);
      expect(await podsOf("gone")).toEqual([]);
      const reply = await platform.get("/gone");
      expect([reply.status, await reasonOf(reply)]).toEqual([404, "route_miss"]);
    });
    expect(await (await platform.get("/stays")).text()).toBe("stays");
  });
});
