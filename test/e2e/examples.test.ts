import { createHmac } from "node:crypto";
import { resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findRedisServer } from "../../local/redis.ts";
import { startTestPlatform } from "./platform.ts";
import type { TestPlatform } from "./test-platform.ts";

const EXAMPLES = resolve(import.meta.dirname, "../../examples");
const hasRedis = findRedisServer() !== undefined;
let platform: TestPlatform;

beforeAll(async () => {
  platform = await startTestPlatform({ deploy: EXAMPLES });
}, 240_000);
afterAll(() => platform?.stop());

const json = (body: unknown, init: RequestInit = {}): RequestInit => ({
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify(body),
  ...init,
});

describe("examples", () => {
  it("hello greets the world, and whoever is named", async () => {
    expect(await (await platform.get("/hello")).text()).toBe("Hello world\n");
    expect(await (await platform.get("/hello/Ada")).text()).toBe("Hello Ada\n");
  });

  it("todos validates, stores and changes", async () => {
    expect((await platform.get("/todos", json({ title: " " }))).status).toBe(422);
    const created = await platform.get("/todos", json({ title: "write" }));
    expect(created.status).toBe(201);
    const { id } = (await created.json()) as { id: string };
    expect(await (await platform.get(`/todos/${id}/done`, { method: "PUT" })).json()).toMatchObject({
      id,
      done: true,
    });
    expect(await (await platform.get("/todos")).json()).toEqual([
      expect.objectContaining({ id, title: "write" }),
    ]);
    expect((await platform.get(`/todos/${id}`, { method: "DELETE" })).status).toBe(204);
  });

  it("qr draws a PNG and an SVG", async () => {
    const png = await platform.get("/qr?text=hello&size=128");
    expect(png.headers.get("content-type")).toBe("image/png");
    expect([...new Uint8Array(await png.arrayBuffer()).slice(0, 4)]).toEqual([0x89, 0x50, 0x4e, 0x47]);
    expect(await (await platform.get("/qr?text=hello&format=svg")).text()).toContain("<svg");
    expect((await platform.get("/qr?text=x&size=9")).status).toBe(400);
  });

  it("github-webhook takes signed deliveries only", async () => {
    const body = JSON.stringify({ repository: { full_name: "a/b" } });
    const deliver = (signature: string) =>
      platform.get("/hooks/github", {
        method: "POST",
        body,
        headers: { "x-hub-signature-256": signature, "x-github-event": "push" },
      });
    const secret = "it-is-a-secret";
    expect((await deliver(`sha256=${"0".repeat(64)}`)).status).toBe(503);
    const { createKubeClient } = await import("../../kube/client.ts");
    const { resourceType } = await import("../../kube/resource.ts");
    const kube = await createKubeClient({ kubeconfig: platform.connection.kubeconfig });
    await kube.create(resourceType("v1", "Secret", "secrets"), {
      metadata: { name: "github-webhook", namespace: platform.namespace },
      stringData: { secret },
    } as never);
    await kube.close();
    // A new secret is a new revision: it serves within moments.
    await expect
      .poll(async () => (await deliver(`sha256=${"0".repeat(64)}`)).status, { timeout: 15_000 })
      .toBe(401);
    const good = await deliver(`sha256=${createHmac("sha256", secret).update(body).digest("hex")}`);
    expect(good.status).toBe(200);
    expect(await good.json()).toEqual({ accepted: "push" });
  });

  it("clock sends events as they happen", async () => {
    const reply = await platform.get("/clock?count=3&every=20");
    expect(reply.headers.get("content-type")).toBe("text/event-stream");
    expect((await reply.text()).match(/event: tick/g)).toHaveLength(3);
  });

  it("chat tells everybody in the room", async () => {
    const heard: string[] = [];
    const open = (name: string) =>
      new Promise<WebSocket>((done, fail) => {
        const socket = new WebSocket(
          `${platform.connection.routerUrl.replace("http", "ws")}/chat/lobby?name=${name}`,
        );
        socket.addEventListener("message", ({ data }) => heard.push(`${name}<${String(data)}`));
        socket.addEventListener("open", () => done(socket));
        socket.addEventListener("error", () => fail(new Error("no socket")));
      });
    const ada = await open("ada");
    const bob = await open("bob");
    await expect.poll(() => heard).toContain("ada<bob joined");
    bob.send("hi");
    await expect.poll(() => heard).toContain("ada<bob: hi");
    bob.close();
    await expect.poll(() => heard).toContain("ada<bob left");
    ada.close();
  });

  it.skipIf(!hasRedis)("shorten keeps its links in Redis", async () => {
    const created = await platform.get("/s", json({ url: "https://example.com/a?b=c" }));
    expect(created.status).toBe(201);
    const { code } = (await created.json()) as { code: string };
    const redirect = await platform.get(`/s/${code}`, { redirect: "manual" });
    expect([redirect.status, redirect.headers.get("location")]).toEqual([302, "https://example.com/a?b=c"]);
    expect((await platform.get("/s/aaaaaaa", { redirect: "manual" })).status).toBe(404);
    expect((await platform.get("/s", json({ url: "ftp://x" }))).status).toBe(400);
  });

  it("csv-to-ndjson streams a large file", async () => {
    const rows = 100_000;
    async function* csv() {
      yield new TextEncoder().encode("id,name\n");
      for (let at = 0; at < rows; at += 1000)
        yield new TextEncoder().encode(
          Array.from({ length: 1000 }, (_, i) => `${at + i},name ${at + i}\n`).join(""),
        );
    }
    const reply = await platform.get("/csv-to-ndjson", {
      method: "POST",
      body: ReadableStream.from(csv()),
      duplex: "half",
    });
    const lines = (await reply.text()).trimEnd().split("\n");
    expect(lines).toHaveLength(rows);
    expect(JSON.parse(lines.at(-1) ?? "")).toEqual({ id: String(rows - 1), name: `name ${rows - 1}` });
  });

  it("deno-serve and the reference system's Node function run unchanged", async () => {
    expect(await (await platform.get("/deno-serve")).text()).toBe("Deno.serve answers at /deno-serve\n");
    expect(await (await platform.get("/deno-serve", json({ a: 1 }))).json()).toEqual({ echo: { a: 1 } });
    expect(await (await platform.get("/fission-node?name=Ada")).text()).toBe("hello, Ada!\n");
    const posted = await platform.get("/fission-node", json({ a: 1 }));
    expect(posted.headers.get("x-served-by")).toBe("node form");
    expect(await posted.json()).toEqual({ received: { a: 1 } });
  });

  it("deploying again changes nothing", async () => {
    const again = await platform.cli(["deploy", EXAMPLES]);
    expect(again.err).toBe("");
    expect(again.out).not.toMatch(/^ {2}[+~-] /m);
    expect(again.code).toBe(0);
  });
});
