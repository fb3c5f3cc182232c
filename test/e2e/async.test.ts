import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { hasRedis } from "../redis-server.ts";
import { onCluster, startTestPlatform } from "./platform.ts";
import { deploy } from "./project.ts";
import { redisOutage } from "./redis-outage.ts";
import type { TestPlatform } from "./test-platform.ts";

/** `ISOTOPE_TEST_OUTAGE_MS=30000`: longer than leases last. */
const REDIS_OUTAGE_MS = Number(process.env["ISOTOPE_TEST_OUTAGE_MS"] ?? 4_000);
let platform: TestPlatform;

beforeAll(async () => {
  platform = await startTestPlatform();
  await deploy(platform, {
    "echo.ts": `
export const config = { route: "/echo/{id}", methods: ["POST"], requestsPerPod: 100 };
export default async (request: Request) => Response.json({
  method: request.method,
  url: new URL(request.url).pathname + new URL(request.url).search,
  body: await request.text(),
  headers: Object.fromEntries(request.headers),
});`,
    "refuse.ts": `
export const config = { route: "/refuse", methods: ["POST"] };
export default () => new Response("no such order", { status: 422 });`,
    "slow.ts": `
export const config = { route: "/slow", methods: ["POST"], requestsPerPod: 100 };
export default async (request: Request) => {
  await new Promise((done) => setTimeout(done, 2_000));
  return new Response(await request.text());
};`,
  });
}, 180_000);
afterAll(async () => platform?.stop());

interface Seen {
  invocationId: string;
  status: string;
  tries: number;
  lastError?: { status: number; message: string };
  result?: { status: number; bytes: number; body?: { text?: string } };
}

const later = (
  path: string,
  init: { body?: string; headers?: Record<string, string> } = {},
): Promise<Response> =>
  platform.get(path, {
    method: "POST",
    ...init,
    headers: { "x-fission-invoke-mode": "async", ...init.headers },
  });

/** The invocation, asked at the address that its caller was given. */
async function seen(location: string): Promise<Seen> {
  const reply = await platform.get(location);
  const text = await reply.text();
  // Just after Redis or the control plane was away, the answer may be that it is.
  if (!reply.ok) throw new Error(`${location} answered ${reply.status}: ${text}`);
  return JSON.parse(text) as Seen;
}

const ended = (location: string): Promise<Seen> =>
  vi.waitFor(
    async () => {
      const now = await seen(location);
      expect(["queued", "running"]).not.toContain(now.status);
      return now;
    },
    { timeout: 60_000, interval: 100 },
  );

describe.skipIf(!hasRedis && !onCluster)("asynchronous calls", () => {
  it("are answered 202 with an address, delivered, and their result can be read there", async () => {
    const reply = await later("/echo/7?a=b", {
      body: "hello",
      headers: { "content-type": "text/plain", "x-of-the-caller": "1" },
    });
    expect(reply.status).toBe(202);
    const { invocationId } = (await reply.json()) as { invocationId: string };
    const location = reply.headers.get("location") ?? "";
    expect(location).toContain(invocationId);
    const done = await ended(location);
    expect(done).toMatchObject({ invocationId, status: "succeeded", tries: 1 });
    const got = JSON.parse(done.result?.body?.text ?? "{}") as {
      method: string;
      url: string;
      body: string;
      headers: Record<string, string>;
    };
    expect(got).toMatchObject({ method: "POST", url: "/echo/7?a=b", body: "hello" });
    expect(got.headers).toMatchObject({
      "content-type": "text/plain",
      "x-of-the-caller": "1",
      "x-fission-params-id": "7",
      "x-fission-invocation-id": invocationId,
      "x-fission-invocation-attempt": "1",
      "x-isotope-attempt": "1",
      "idempotency-key": `${platform.namespace}/echo/${invocationId}`,
      "ce-specversion": "1.0",
    });
  });

  it("may have large bodies and large results", async () => {
    // 1 MiB each way: neither lies in its record.
    const body = "0123456789abcdef".repeat(65_536);
    const reply = await later("/slow", { body });
    expect(reply.status).toBe(202);
    const location = reply.headers.get("location") ?? "";
    const done = await ended(location);
    expect(done).toMatchObject({ status: "succeeded", tries: 1, result: { bytes: body.length } });
    expect(done.result?.body).toBeUndefined();
    const result = await platform.get(`${location}/result`);
    expect(result.headers.get("x-isotope-status")).toBe("200");
    expect((await result.text()) === body).toBe(true);
    const shown = await platform.cli(["invocation", "get", done.invocationId]);
    expect(shown.out).toContain(`isotope invocation result ${done.invocationId}`);
    const written = await platform.cli(["invocation", "result", done.invocationId]);
    expect(written.out === body).toBe(true);
  });

  it("have a service, whose state the platform tells", async () => {
    const { out } = await platform.cli(["status", "-o", "json"]);
    const { components } = JSON.parse(out) as { components: { name: string; status: string }[] };
    expect(components).toContainEqual(expect.objectContaining({ name: "triggers", status: "up" }));
  });

  it("with the same dedup key are one", async () => {
    const once = () => later("/echo/1", { headers: { "x-fission-dedup-key": "the-same" } });
    const [first, second] = [await (await once()).json(), await (await once()).json()];
    expect(second).toEqual(first);
  });

  it("that the function refuses are dead letters, with what it said", async () => {
    const reply = await later("/refuse", { body: "{}" });
    const dead = await ended(reply.headers.get("location") ?? "");
    expect(dead.status).toBe("dead");
    expect(dead.lastError?.status).toBe(422);
    expect(dead.lastError?.message).toContain("no such order");
  });

  it("take CloudEvents in one piece, and hand them over in binary form", async () => {
    const event = { specversion: "1.0", id: "e1", source: "/test", type: "t", data: { n: 1 }, ext: "x" };
    const send = () =>
      later("/echo/1", {
        body: JSON.stringify(event),
        headers: { "content-type": "application/cloudevents+json" },
      });
    const reply = await send();
    const done = await ended(reply.headers.get("location") ?? "");
    const got = JSON.parse(done.result?.body?.text ?? "{}") as {
      body: string;
      headers: Record<string, string>;
    };
    expect(JSON.parse(got.body)).toEqual({ n: 1 });
    expect(got.headers).toMatchObject({
      "ce-id": "e1",
      "ce-source": "/test",
      "ce-type": "t",
      "ce-ext": "x",
      "content-type": "application/json",
    });
    // The same event again is the same invocation.
    expect(await (await send()).json()).toEqual({ invocationId: done.invocationId });
  });

  it("whose address was made up are nobody's", async () => {
    const reply = await later("/echo/1");
    const location = reply.headers.get("location") ?? "";
    expect((await platform.get(`${location.slice(0, -4)}AAAA`)).status).toBe(404);
  });

  it("to no function are refused", async () => {
    expect((await later("/nothing-here")).status).toBe(404);
  });

  it("are listed, shown, redriven and purged by the CLI", async () => {
    const answered = await platform.cli(["fn", "test", "echo", "--async", "--body", "by cli"]);
    expect(answered).toMatchObject({ code: 0 });
    const { invocationId } = JSON.parse(answered.out) as { invocationId: string };
    await vi.waitFor(
      async () => {
        const shown = await platform.cli(["invocation", "get", invocationId, "-o", "json"]);
        expect(JSON.parse(shown.out)).toMatchObject({
          id: invocationId,
          status: "succeeded",
          target: { kind: "function", name: "echo" },
        });
      },
      { timeout: 60_000, interval: 200 },
    );
    const listed = await platform.cli(["invocation", "list", "--function", "echo"]);
    expect(listed.out).toContain(invocationId);

    const reply = await later("/refuse", { body: "refused payload" });
    const dead = await ended(reply.headers.get("location") ?? "");
    const letters = await platform.cli(["dlq", "list", "--function", "refuse"]);
    expect(letters.out).toContain(dead.invocationId);
    const letter = await platform.cli(["dlq", "show", dead.invocationId]);
    expect(letter.out).toContain("refused payload");
    expect(letter.out).toContain("422");
    const redriven = await platform.cli(["dlq", "redrive", "--id", dead.invocationId]);
    expect(redriven).toMatchObject({ code: 0 });
    await vi.waitFor(
      async () => {
        const again = await platform.cli(["invocation", "get", dead.invocationId, "-o", "json"]);
        expect(JSON.parse(again.out)).toMatchObject({ status: "dead", redrives: 1, tries: 2 });
      },
      { timeout: 60_000, interval: 200 },
    );
    expect(await platform.cli(["dlq", "purge"])).toMatchObject({ code: 2 });
    expect(await platform.cli(["dlq", "redrive", "--queue", "asyncinv"])).toMatchObject({ code: 2 });
    expect(await platform.cli(["dlq", "purge", "--queue", "mq-egress-kafka"])).toMatchObject({ code: 0 });
    expect(await platform.cli(["dlq", "purge", "--function", "refuse"])).toMatchObject({ code: 0 });
    expect((await platform.cli(["dlq", "list", "--function", "refuse"])).err).toContain("No dead letters");
    expect(await platform.cli(["invocation", "get", dead.invocationId])).toMatchObject({ code: 1 });
  });

  it.skipIf(onCluster)(
    "are refused while Redis is down, which calls that wait for their answer do not notice; none that was accepted is lost",
    async () => {
      const accepted: string[] = [];
      const refusals = new Set<number>();
      const direct = new Set<number>();
      const stop = new AbortController();
      const callers = Array.from({ length: 3 }, async (_, caller) => {
        for (let at = 0; !stop.signal.aborted; at += 1) {
          const reply = await later("/echo/1", { body: `${caller}/${at}` });
          if (reply.status === 202) accepted.push(reply.headers.get("location") ?? "");
          else refusals.add(reply.status);
          direct.add((await platform.get("/echo/1", { method: "POST" })).status);
          await new Promise((done) => setTimeout(done, 20));
        }
      });
      const more = async () => {
        const before = accepted.length;
        await vi.waitFor(() => expect(accepted.length).toBeGreaterThan(before + 5), { timeout: 60_000 });
      };
      await more();
      const outage = await redisOutage(platform.home);
      await new Promise((done) => setTimeout(done, REDIS_OUTAGE_MS));
      await outage.end();
      await more();
      stop.abort();
      await Promise.all(callers);
      expect([...refusals]).toEqual([503]);
      expect([...direct]).toEqual([200]);
      for (const location of accepted) expect(await ended(location)).toMatchObject({ status: "succeeded" });
    },
    300_000,
  );

  it.skipIf(onCluster)(
    "survive a kill -9 of the control plane in the middle of their delivery",
    async () => {
      // Some lie in the storage, as do their results.
      const bodies = Array.from({ length: 10 }, (_, n) => `number ${n}`.padEnd(n < 3 ? 500_000 : 0, "."));
      const replies = await Promise.all(
        Array.from({ length: 10 }, (_, n) => later("/slow", { body: bodies[n] ?? "" })),
      );
      expect(replies.map(({ status }) => status)).toEqual(replies.map(() => 202));
      const locations = replies.map(({ headers }) => headers.get("location") ?? "");
      await vi.waitFor(
        async () =>
          expect((await Promise.all(locations.map(seen))).map(({ status }) => status)).toContain("running"),
        { timeout: 30_000 },
      );
      await platform.crash("controller");
      for (const [n, location] of locations.entries()) {
        await vi.waitFor(async () => expect((await seen(location)).status).toBe("succeeded"), {
          timeout: 120_000,
          interval: 200,
        });
        const result = await platform.get(`${location}/result`);
        expect(result.status).toBe(200);
        expect((await result.text()) === bodies[n]).toBe(true);
      }
    },
    300_000,
  );
});
