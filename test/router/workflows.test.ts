import Fastify from "fastify";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { PlatformError } from "../../api/errors.ts";
import { type RunView, StartRun, WORKFLOWS_AUDIENCE } from "../../api/wire/workflows.ts";
import { fastifyErrorHandler } from "../../net/error-reply.ts";
import { verifier } from "../../net/sign.ts";
import { requireSignedCalls } from "../../net/signed-hook.ts";
import { createWorld, keys, type World } from "./world.ts";

/** The workflow service as a router sees it: runs end when the test says so. */
async function fakeService() {
  const runs = new Map<string, RunView>();
  const starts: StartRun[] = [];
  const callbacks: { path: string; body: unknown }[] = [];
  const app = Fastify();
  app.setErrorHandler(fastifyErrorHandler({ onUnexpected: () => undefined, debug: true }));
  requireSignedCalls(app, { verifier: verifier(keys, WORKFLOWS_AUDIENCE) });
  const end = (id: string, facts: Partial<RunView>) => {
    const run = runs.get(id);
    if (run) runs.set(id, { ...run, finishedAt: "2026-01-01T00:00:01Z", ...facts });
  };
  app.post("/v1/runs", (request, reply) => {
    const start = StartRun.parse(request.body);
    starts.push(start);
    if (start.workflow === "absent")
      throw new PlatformError("workflow_not_found", 'Workflow "absent" does not exist');
    const id = start.id ?? `made-${starts.length}`;
    const known = runs.get(id);
    if (known) return reply.code(200).send(known);
    const run = newRun(start, id);
    runs.set(id, run);
    return reply.code(201).send(run);
  });
  app.get<{ Params: { id: string } }>("/v1/runs/:namespace/:id", (request) => runs.get(request.params.id));
  app.get<{ Params: { id: string } }>("/v1/runs/:namespace/:id/wait", async (request, reply) => {
    await new Promise((wait) => setTimeout(wait, 20));
    const run = runs.get(request.params.id);
    return reply.code(run?.status === "running" ? 202 : 200).send(run);
  });
  app.post("/v1/callbacks/*", (request, reply) => {
    callbacks.push({ path: request.url, body: request.body });
    if (callbacks.length > 1) throw new PlatformError("callback_used");
    return reply.code(202).send({});
  });
  const url = await app.listen({ host: "127.0.0.1", port: 0 });
  return { url, runs, starts, callbacks, end, close: () => app.close() };
}

const newRun = ({ namespace, workflow, input }: StartRun, id: string): RunView => ({
  namespace,
  id,
  workflow,
  generation: 1,
  definition: "0".repeat(64),
  status: "running",
  states: ["waiting"],
  accepts: [],
  startedBy: "api",
  startedAt: "2026-01-01T00:00:00Z",
  updatedAt: "2026-01-01T00:00:00Z",
  input: input ?? null,
  output: undefined,
  pins: {},
  steps: [],
  timers: [],
});

describe("routes that start workflows", () => {
  let world: World;
  let service: Awaited<ReturnType<typeof fakeService>>;
  let url: string;
  beforeEach(async () => {
    world = await createWorld();
    service = await fakeService();
    world.trigger("orders", {
      relativeurl: "/orders/{id}",
      methods: ["GET", "POST"],
      functionref: { type: "workflow", name: "order" },
    });
    world.trigger(
      "quick",
      { relativeurl: "/quick", methods: ["GET", "POST"], functionref: { type: "workflow", name: "order" } },
      { annotations: { "isotope.dev/workflow-wait": "60s" } },
    );
    ({ url } = await world.router({ workflowsUrl: service.url }));
  });
  afterEach(async () => {
    await world.close();
    await service.close();
  });
  const post = (path: string, body: unknown, headers: Record<string, string> = {}) =>
    fetch(url + path, { method: "POST", body: JSON.stringify(body), headers });

  test("give the run's address, by which its state and output can be read", async () => {
    const reply = await post("/orders/7", { total: 12 });
    expect([reply.status, await reply.json()]).toEqual([
      202,
      expect.objectContaining({
        status: "running",
        workflow: "order",
        run: { namespace: "default", id: "made-1" },
      }),
    ]);
    expect(service.starts).toEqual([
      { namespace: "default", startedBy: "http:default/orders", workflow: "order", input: { total: 12 } },
    ]);
    const address = url + (reply.headers.get("location") ?? "");
    expect((await fetch(address)).status).toBe(202);
    service.end("made-1", { status: "succeeded", output: { ok: true } });
    const ended = await fetch(address);
    expect([ended.status, await ended.json(), ended.headers.get("x-isotope-run-status")]).toEqual([
      200,
      { ok: true },
      "succeeded",
    ]);
    for (const forged of [
      address.slice(0, -1),
      `${address.slice(0, -2)}AA`,
      address.replace("made-1", "made-2"),
    ])
      expect((await fetch(forged)).status).toBe(404);
    expect((await fetch(address, { method: "DELETE" })).status).toBe(405);
  });

  test("take query and path as the input of a call without a body", async () => {
    await fetch(`${url}/orders/a%2Fb?colour=red`);
    expect(service.starts[0]?.input).toEqual({ colour: "red", id: "a/b" });
    expect((await fetch(`${url}/orders/1`, { method: "POST", body: "{" })).status).toBe(400);
    expect(service.starts).toHaveLength(1);
  });

  test("start one run for one idempotency key", async () => {
    for (let at = 0; at < 2; at++) await post("/orders/1", {}, { "idempotency-key": "abc" });
    await post("/quick", {}, { "idempotency-key": "abc", prefer: "wait=0" });
    const ids = service.starts.map(({ id }) => id);
    expect(ids[0]).toMatch(/^http-[\w-]{32}$/);
    expect(new Set(ids).size).toBe(2);
    expect(service.runs.size).toBe(2);
  });

  test("wait for the end where the route or the caller says so", async () => {
    const waiting = post("/quick", 1);
    await world.until(() => service.runs.size === 1);
    service.end("made-1", { status: "succeeded", output: 42 });
    expect([(await waiting).status, await (await waiting).json()]).toEqual([200, 42]);
    const failing = post("/orders/1", 1, { prefer: "respond-async, wait=60" });
    await world.until(() => service.runs.size === 2);
    service.end("made-2", { status: "failed", error: { type: "OutOfStock", message: "none left" } });
    expect([(await failing).status, await (await failing).json()]).toEqual([
      502,
      expect.objectContaining({ reason: "run_failed", error: { type: "OutOfStock", message: "none left" } }),
    ]);
    const slow = await post("/orders/1", 1, { prefer: "wait=0" });
    expect(slow.status).toBe(202);
  });

  test("say what the service refuses, and that it is gone", async () => {
    world.trigger("absent", { relativeurl: "/absent", functionref: { type: "workflow", name: "absent" } });
    await world.until(
      async () => (await fetch(`${url}/absent`)).headers.get("x-fission-route-miss") === null,
    );
    const refused = await fetch(`${url}/absent`);
    expect([refused.status, await refused.json()]).toEqual([
      404,
      expect.objectContaining({ reason: "workflow_not_found" }),
    ]);
    await service.close();
    const gone = await post("/orders/1", 1);
    expect([gone.status, gone.headers.get("retry-after") !== null, await gone.json()]).toEqual([
      503,
      true,
      expect.objectContaining({ reason: "workflows_unavailable" }),
    ]);
  });

  test("say what is missing where there is no workflow service at all", async () => {
    const alone = await world.router({ workflowsUrl: "" });
    await world.until(async () => (await fetch(`${alone.url}/orders/1`)).status === 503);
    const reply = await fetch(`${alone.url}/orders/1`);
    expect([reply.status, await reply.json()]).toEqual([
      503,
      expect.objectContaining({
        reason: "workflows_unavailable",
        message: expect.stringContaining("needs Redis"),
      }),
    ]);
  });

  test("callbacks reach the service, whatever the triggers claim", async () => {
    world.trigger("all", { prefix: "/", methods: ["GET", "POST"] });
    const used = await post("/_isotope/callbacks/token.1", { output: { approved: true } });
    expect(used.status).toBe(202);
    expect(service.callbacks).toEqual([
      { path: "/v1/callbacks/token.1", body: { output: { approved: true } } },
    ]);
    expect((await post("/_isotope/callbacks/token.1/heartbeat", {})).status).toBe(409);
    for (const path of ["token.1/other", "a%20b", ""])
      expect((await post(`/_isotope/callbacks/${path}`, {})).status).toBe(404);
    expect((await fetch(`${url}/_isotope/callbacks/token.1`)).status).toBe(405);
    expect((await fetch(`${url}/_isotope/other`)).status).toBe(404);
  });
});
