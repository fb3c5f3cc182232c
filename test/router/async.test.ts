import Fastify from "fastify";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { PlatformError } from "../../api/errors.ts";
import {
  INVOCATION_CONTENT_TYPE,
  type InvocationView,
  NewInvocation,
  TRIGGERS_AUDIENCE,
} from "../../api/wire/invocations.ts";
import { fastifyErrorHandler } from "../../net/error-reply.ts";
import { verifier } from "../../net/sign.ts";
import { requireSignedCalls } from "../../net/signed-hook.ts";
import { createWorld, keys, type World } from "./world.ts";

/** The trigger service as a router sees it: it keeps what it is given. */
async function fakeService() {
  const kept = new Map<string, { head: NewInvocation; body: string; status: InvocationView["status"] }>();
  const passed: string[] = [];
  let refusal: PlatformError | undefined;
  const app = Fastify();
  app.setErrorHandler(fastifyErrorHandler({ onUnexpected: () => undefined, debug: true }));
  requireSignedCalls(app, { verifier: verifier(keys, TRIGGERS_AUDIENCE) });
  app.addContentTypeParser(
    INVOCATION_CONTENT_TYPE,
    { parseAs: "buffer", bodyLimit: 2 ** 26 },
    (_request, body, done) => done(null, body),
  );
  app.post<{ Body: Buffer }>("/v1/invocations", (request, reply) => {
    if (refusal) throw refusal;
    const end = 4 + request.body.readUInt32BE();
    const head = NewInvocation.parse(JSON.parse(request.body.toString("utf8", 4, end)));
    const id = `id${kept.size}`;
    kept.set(id, { head, body: request.body.toString("utf8", end), status: "queued" });
    return reply.code(202).send({ invocationId: id, duplicate: false });
  });
  const view = (id: string) => ({
    namespace: "default",
    id,
    target: { kind: "function", name: "hello" },
    source: "http",
    status: kept.get(id)?.status,
    acceptedAt: "2026-01-01T00:00:00Z",
    tries: 0,
    failures: 0,
    maxAttempts: 3,
    lost: 0,
    redrives: 0,
    depth: 0,
    method: "POST",
    path: "/",
    payloadBytes: 0,
  });
  app.get<{ Params: { id: string } }>("/v1/invocations/:namespace/:id", (request) => view(request.params.id));
  app.post<{ Params: { id: string } }>("/v1/invocations/:namespace/:id/cancel", (request) => {
    const one = kept.get(request.params.id);
    if (one) one.status = "cancelled";
    return view(request.params.id);
  });
  app.get<{ Params: { id: string } }>("/v1/invocations/:namespace/:id/result", (request, reply) =>
    reply
      .header("content-type", "image/png")
      .header("x-isotope-status", "201")
      .send(Buffer.from(kept.get(request.params.id)?.body ?? "")),
  );
  app.all("/v1/async/*", (request) => {
    passed.push(`${request.method} ${request.url} ${JSON.stringify(request.body ?? null)}`);
    return { items: [] };
  });
  const url = await app.listen({ host: "127.0.0.1", port: 0 });
  return {
    url,
    kept,
    passed,
    refuse: (error: PlatformError) => (refusal = error),
    close: () => app.close(),
  };
}

describe("asynchronous calls", () => {
  let world: World;
  let service: Awaited<ReturnType<typeof fakeService>>;
  let url: string;
  beforeEach(async () => {
    world = await createWorld();
    service = await fakeService();
    world.deploy();
    world.trigger("hello", { relativeurl: "/hello/{id}", methods: ["POST"] });
    world.trigger("later", { prefix: "/later", methods: ["GET", "POST"], invocationMode: "async" });
    ({ url } = await world.router({ triggersUrl: service.url, asyncBodyBytes: 1_000 }));
  });
  afterEach(async () => {
    await world.close();
    await service.close();
  });

  const call = (path: string, headers: Record<string, string> = {}, body = "x") =>
    fetch(`${url}${path}`, { method: "POST", headers, body });

  test("that the caller wants are kept with all that the function is to see, and answered with their address", async () => {
    const reply = await call("/hello/7?q=1", {
      "x-fission-invoke-mode": "async",
      "x-fission-dedup-key": "k",
      "x-isotope-delay": "30s",
      "x-isotope-pod": "someone",
      "x-mine": "1",
      authorization: "Bearer t",
    });
    expect(reply.status).toBe(202);
    expect(await reply.json()).toEqual({ invocationId: "id0" });
    expect(reply.headers.get("location")).toMatch(/^\/_isotope\/invocations\/default\/id0\/[\w-]{22}$/);
    const { head, body } = service.kept.get("id0") ?? {};
    expect(body).toBe("x");
    expect(head).toMatchObject({
      namespace: "default",
      target: { type: "name", name: "hello" },
      method: "POST",
      path: "/hello/7?q=1",
      source: "http/default/hello",
      dedupKey: "k",
      delayMs: 30_000,
    });
    expect(head?.headers).toMatchObject({
      "x-mine": "1",
      authorization: "Bearer t",
      "x-fission-params-id": "7",
      "x-fission-full-url": "/hello/7?q=1",
    });
    expect(Object.keys(head?.headers ?? {})).not.toContain("x-isotope-pod");
  });

  test("are what the mode asks for in any case of its letters; sync is the usual, and any other mode is refused", async () => {
    const asked = async (mode: string) => {
      const reply = await call("/hello/7", { "x-fission-invoke-mode": mode });
      return { status: reply.status, text: await reply.text() };
    };
    expect(await asked("Async")).toMatchObject({ status: 202 });
    expect(await asked("sync")).toMatchObject({ status: 200 });
    const refused = await asked("asynch");
    expect(refused.status).toBe(400);
    expect(JSON.parse(refused.text)).toMatchObject({
      reason: "bad_request",
      message: expect.stringContaining('X-Fission-Invoke-Mode must be async or sync, got "asynch"'),
    });
    expect(service.kept.size).toBe(1);
  });

  test("are what a trigger with invocationMode async makes of every call", async () => {
    const reply = await fetch(`${url}/later/a`);
    expect(reply.status).toBe(202);
    expect(service.kept.get("id0")?.head).toMatchObject({ method: "GET", path: "/a" });
    expect(world.executor.acquires).toEqual([]);
  });

  test("can be looked at and cancelled at their address, and at no other", async () => {
    const location = (await call("/later")).headers.get("location") ?? "";
    const waiting = await fetch(url + location);
    expect([waiting.status, ((await waiting.json()) as InvocationView).status]).toEqual([202, "queued"]);
    const cancelled = await fetch(url + location, { method: "DELETE" });
    expect([cancelled.status, ((await cancelled.json()) as InvocationView).status]).toEqual([
      200,
      "cancelled",
    ]);
    expect((await fetch(`${url}${location.slice(0, -2)}xx`)).status).toBe(404);
    expect((await fetch(`${url}${location.slice(0, -2)}xx/result`)).status).toBe(404);
    const result = await fetch(`${url}${location}/result`);
    expect([result.status, result.headers.get("content-type"), await result.text()]).toEqual([
      200,
      "image/png",
      "x",
    ]);
    expect(result.headers.get("x-isotope-status")).toBe("201");
    expect((await fetch(`${url}${location}/result`, { method: "DELETE" })).status).toBe(405);
    expect((await fetch(url + location, { method: "PUT" })).status).toBe(405);
  });

  test("that cannot be kept are refused with what the caller can do", async () => {
    const tooLarge = await call("/later", {}, "x".repeat(1_001));
    expect([tooLarge.status, await reasonOf(tooLarge)]).toEqual([413, "body_too_large"]);
    const noDelay = await call("/later", { "x-isotope-delay": "soon" });
    expect([noDelay.status, await reasonOf(noDelay)]).toEqual([400, "bad_request"]);
    service.refuse(new PlatformError("redis_unavailable", "away"));
    const away = await call("/later");
    expect([away.status, await reasonOf(away)]).toEqual([503, "redis_unavailable"]);
    expect(away.headers.get("retry-after")).toBeTruthy();
    await service.close();
    const gone = await call("/later");
    expect([gone.status, await reasonOf(gone)]).toEqual([503, "triggers_unavailable"]);
    expect(service.kept.size).toBe(0);
  });

  test("without a trigger service are refused, and told what is missing", async () => {
    const router = await world.router({ triggersUrl: "", debugErrors: true });
    const reply = await fetch(`${router.url}/later`, {
      method: "POST",
      headers: { "x-fission-debug": "true" },
    });
    expect(reply.status).toBe(503);
    expect(await reply.json()).toMatchObject({
      reason: "triggers_unavailable",
      message: expect.stringContaining("triggers.enabled"),
    });
  });

  const reasonOf = async (reply: Response): Promise<string> =>
    ((await reply.json()) as { reason: string }).reason;
});
