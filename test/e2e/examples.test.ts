import { createHmac } from "node:crypto";
import { resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { HistoryLine, RunView } from "../../api/wire/workflows.ts";
import { findRedisServer } from "../../local/redis.ts";
import { startTestPlatform } from "./platform.ts";
import type { TestPlatform } from "./test-platform.ts";

const EXAMPLES = resolve(import.meta.dirname, "../../examples");
const hasRedis = findRedisServer() !== undefined;
let platform: TestPlatform;

beforeAll(async () => {
  platform = await startTestPlatform({ deploy: EXAMPLES });
}, 300_000);
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
      .poll(async () => (await deliver(`sha256=${"0".repeat(64)}`)).status, { timeout: 60_000 })
      .toBe(401);
    // Another router may hear of it later.
    await vi.waitFor(
      async () => {
        const good = await deliver(`sha256=${createHmac("sha256", secret).update(body).digest("hex")}`);
        expect({ status: good.status, body: await good.json() }).toEqual({
          status: 200,
          body: { accepted: "push" },
        });
      },
      { timeout: 60_000, interval: 100 },
    );
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

  describe.skipIf(!hasRedis)("workflows", { timeout: 300_000 }, () => {
    /** What a run by the CLI ends with: its view, whether it succeeded or not. */
    const run = async (name: string, id: string, input: unknown): Promise<RunView> => {
      const args = [
        "workflow",
        "run",
        name,
        "--id",
        id,
        "--input",
        "-",
        "--wait",
        "--timeout",
        "240s",
        "-o",
        "json",
      ];
      const { out, err } = await platform.cli(args, { stdin: JSON.stringify(input) });
      expect(out, err).not.toBe("");
      return RunView.parse(JSON.parse(out));
    };
    const runs = async (...args: string[]): Promise<string> => {
      const { code, out, err } = await platform.cli(["workflow", "runs", ...args]);
      expect({ args, code }, out + err).toEqual({ args, code: 0 });
      return out;
    };
    const view = async (id: string): Promise<RunView> =>
      RunView.parse(JSON.parse(await runs("describe", id, "-o", "json")));
    const history = async (id: string): Promise<HistoryLine[]> =>
      HistoryLine.array().parse(JSON.parse(await runs("history", id, "-o", "json")));
    const order = (more: object = {}) => ({
      order: "4711",
      items: ["lamp", "chair"],
      amount: 120,
      card: "4242424242424242",
      country: "Portugal",
      ...more,
    });

    it("order charges and ships", async () => {
      expect(await run("order", "small", order())).toMatchObject({
        status: "succeeded",
        output: { order: "4711", charge: expect.stringMatching(/^ch_[0-9a-f]{16}$/), tracking: "tr_4711" },
      });
    });

    it("order waits for somebody who approves what is expensive", async () => {
      await platform.cli([
        "workflow",
        "run",
        "order",
        "--id",
        "large",
        "--input",
        JSON.stringify(order({ amount: 900 })),
      ]);
      await expect
        .poll(async () => (await view("large")).states, { timeout: 60_000 })
        .toEqual(["waitingForApproval"]);
      expect((await view("large")).accepts).toEqual(["APPROVE", "REJECT"]);
      const wrong = await platform.cli([
        "workflow",
        "runs",
        "signal",
        "large",
        "--event",
        "APPROVE",
        "--data",
        '{"by": 7}',
      ]);
      expect(wrong.err).toContain("by");
      await runs("signal", "large", "--event", "APPROVE", "--data", '{"by": "kim"}');
      expect(await runs("watch", "large")).toContain('"tracking": "tr_4711"');
    });

    it("order undoes in reverse order what was done, when the carrier refuses", async () => {
      expect(await run("order", "far", order({ country: "Atlantis" }))).toMatchObject({
        status: "failed",
        error: { type: "NoCarrier" },
      });
      const undone = (await history("far")).filter(({ type }) => type === "compensated");
      expect(undone.map(({ actor }) => actor)).toEqual(["charge.compensation", "reserve.compensation"]);
    });

    it("order releases the stock when the card is declined", async () => {
      expect(await run("order", "declined", order({ card: "4000000000000002" }))).toMatchObject({
        status: "failed",
        error: { type: "CardDeclined" },
      });
      const undone = (await history("declined")).filter(({ type }) => type === "compensated");
      expect(undone.map(({ actor }) => actor)).toEqual(["reserve.compensation"]);
    });

    it("order refuses an input that is none", async () => {
      const args = [
        "workflow",
        "run",
        "order",
        "--id",
        "bad",
        "--input",
        JSON.stringify(order({ amount: -1 })),
      ];
      const { code, err } = await platform.cli(args);
      expect(code).toBe(1);
      expect(err).toContain("amount");
    });

    it("word-count maps over 1,000 texts and reduces", async () => {
      const texts = Array.from(
        { length: 1_000 },
        (_, at) => `to be or not to be ${at % 10 === 0 ? "question" : ""}`,
      );
      expect(await run("word-count", "hamlet", { texts, top: 3 })).toMatchObject({
        status: "succeeded",
        output: {
          texts: 1_000,
          words: [
            ["be", 2_000],
            ["to", 2_000],
            ["not", 1_000],
          ],
        },
      });
    }, 300_000);

    it("export asks less and less often until it is there", async () => {
      const ended = await run("export", "report", { takesMs: 1_500 });
      expect(ended).toMatchObject({ status: "succeeded", output: { url: expect.stringContaining(".csv") } });
      expect((ended.output as { asked: number }).asked).toBeLessThan(6);
    });

    it("onboarding welcomes, waits for days, and ends when somebody leaves", async () => {
      await platform.cli([
        "workflow",
        "run",
        "onboarding",
        "--id",
        "ada",
        "--input",
        '{"mail": "ada@example.com"}',
      ]);
      await expect.poll(async () => (await view("ada")).states, { timeout: 60_000 }).toEqual(["new.quiet"]);
      const days = (await view("ada")).timers.map(({ dueAt }) =>
        Math.round((Date.parse(dueAt) - Date.now()) / 86_400_000),
      );
      expect(days.sort((a, b) => a - b)).toEqual([3, 30]);
      await runs("signal", "ada", "--event", "PROJECT_CREATED", "--data", '{"project": "p1"}');
      await expect
        .poll(async () => (await view("ada")).states, { timeout: 60_000 })
        .toEqual(["active.working"]);
      await runs("signal", "ada", "--event", "ACCOUNT_CLOSED");
      expect(await runs("watch", "ada")).toContain('"active": false');
    });

    it("agent calls tools until it has the answer", async () => {
      expect(await run("agent", "lamps", { question: "What do 3 lamps cost?" })).toMatchObject({
        status: "succeeded",
        output: { answer: "3 × lamp cost 118.5", turns: 2 },
      });
    });
  });

  describe.skipIf(!hasRedis)("events", () => {
    const isotope = async (...args: string[]): Promise<string> => {
      const { code, out, err } = await platform.cli(args);
      expect({ args, code }, out + err).toEqual({ args, code: 0 });
      return out;
    };
    const publish = async (topic: string, message: object): Promise<void> => {
      const path = `/v1/topics/${platform.namespace}/${topic}`;
      expect(await platform.ops(path, { data: JSON.stringify(message) })).toMatchObject({ status: 202 });
    };

    it("an image pipeline: queue, thumbnail, topic; what is no image is put aside", async () => {
      const topics = ["--topic", "images", "--resptopic", "thumbnails"];
      const call = ["--name", "images", "--function", "thumbnail", "--mqtype", "redis-streams"];
      await isotope("mqt", "create", ...call, ...topics);
      const large = await (await platform.get("/qr?text=hello&size=256")).arrayBuffer();
      await publish("images", { name: "hello", png: Buffer.from(large).toString("base64"), width: 64 });
      await publish("images", { name: "broken", png: "AAAA" });
      await expect
        .poll(async () => JSON.parse(await isotope("topic", "peek", "--topic", "thumbnails", "-o", "json")), {
          timeout: 60_000,
        })
        .toHaveLength(1);
      const [{ data }] = JSON.parse(await isotope("topic", "peek", "--topic", "thumbnails", "-o", "json"));
      const small: { name: string; width: number; height: number; png: string } = JSON.parse(data);
      expect(small).toMatchObject({ name: "hello", width: 64, height: 64 });
      const png = Buffer.from(small.png, "base64");
      // Width and height stand in the header of a PNG.
      expect([png.readUInt32BE(16), png.readUInt32BE(20)]).toEqual([64, 64]);
      await expect
        .poll(() => isotope("dlq", "list", "--source", "mqt/images"), { timeout: 60_000 })
        .toContain("thumbnail");
    }, 240_000);

    it("an order event starts the workflow", async () => {
      const source = ["--mqtype", "redis-streams", "--topic", "orders"];
      await isotope("mqt", "create", "--name", "orders", "--workflow", "order", ...source);
      await publish("orders", {
        order: "by-event",
        items: ["lamp"],
        amount: 40,
        card: "4242424242424242",
        country: "Portugal",
      });
      await expect
        .poll(async () => isotope("workflow", "runs", "list", "--workflow", "order"), { timeout: 60_000 })
        .toMatch(/event-\S+ .*succeeded/i);
    }, 240_000);
  });

  it("deploying again changes nothing", async () => {
    const again = await platform.cli(["deploy", EXAMPLES]);
    expect(again.err).toBe("");
    expect(again.out).not.toMatch(/^ {2}[+~-] /m);
    expect(again.code).toBe(0);
  });
});
