import { randomBytes } from "node:crypto";
import { request } from "undici";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { AcquireReply, WarmReply } from "../../api/wire/executor.ts";
import { createExecutorServer, type ExecutorServer, OPEN_PATHS } from "../../engine/executor/server.ts";
import { fastifyErrorHandler } from "../../net/error-reply.ts";
import { keyRing } from "../../net/keys.ts";
import { verifier } from "../../net/sign.ts";
import { type SignedClient, signedClient } from "../../net/signed-client.ts";
import { requireSignedCalls } from "../../net/signed-hook.ts";
import { acquireRequest, environmentObject, functionObject, servingOf } from "./far-side.ts";
import { farSide, makeExecutor } from "./world.ts";

/** The API over HTTP, with a simulated far side in real time. */
const keys = keyRing([randomBytes(32).toString("hex")]);
let server: ExecutorServer;
let stop: () => Promise<void>;
let origin: string;
let client: SignedClient;

beforeAll(async () => {
  const far = farSide();
  far.addEnvironment(environmentObject());
  far.addFunction(functionObject("hello", servingOf("r1")));
  const { executor } = makeExecutor(far);
  server = createExecutorServer({
    executor: {
      acquire: (message, _forwarded, signal) => executor.acquire(message, signal),
      warm: (message, _forwarded, signal) => executor.warm(message, signal),
      suspect: (report) => executor.suspect(report),
      load: (report) => executor.load(report),
      ready: () => executor.ready,
      snapshot: () => executor.snapshot(),
      metrics: () => executor.metrics(),
    },
    host: "127.0.0.1",
    port: 0,
    guard: (app) => {
      requireSignedCalls(app, { verifier: verifier(keys, "executor"), open: OPEN_PATHS });
      app.setErrorHandler(fastifyErrorHandler({ debug: true, onUnexpected: () => undefined }));
    },
  });
  origin = await server.start();
  await executor.start();
  client = signedClient({ keys, origin, audience: "executor", unavailable: "executor_unavailable" });
  stop = () => executor.stop();
});
afterAll(async () => {
  await client.close();
  await server.stop();
  await stop();
});

test("a signed acquire answers with endpoints, errors come with their code and status", async () => {
  const { endpoints } = await client.postJson("/v2/acquire", acquireRequest("hello", "r1"), AcquireReply);
  expect(endpoints).toHaveLength(1);
  await expect(
    client.postJson("/v2/acquire", acquireRequest("nobody", "r1"), AcquireReply),
  ).rejects.toMatchObject({
    code: "function_not_found",
  });
  const debug = await client.getJson(
    "/v2/debug",
    z.looseObject({ ready: z.boolean(), pods: z.array(z.unknown()) }),
  );
  expect(debug.ready).toBe(true);
  expect(debug.pods.length).toBeGreaterThan(0);
});

test.each([
  ["POST", "/v2/acquire"],
  ["POST", "/v2/suspect"],
  ["GET", "/v2/debug"],
] as const)("an unsigned %s %s is refused", async (method, path) => {
  const reply = await request(`${origin}${path}`, {
    method,
    ...(method === "POST" ? { body: "{}", headers: { "content-type": "application/json" } } : {}),
  });
  expect(reply.statusCode).toBe(401);
  await reply.body.dump();
});

test.each(OPEN_PATHS)("%s is open", async (path) => {
  const reply = await request(`${origin}${path}`);
  expect(reply.statusCode).toBe(200);
  const text = await reply.body.text();
  if (path === "/metrics") expect(text).toContain("isotope_executor_specialisations_total");
});

test.each([
  ["no object", "x", ""],
  [
    "an unknown reason",
    { namespace: "d", podUid: "u", podName: "p", revision: "r", reason: "bored" },
    "reason",
  ],
])("a report that is %s is refused, naming the field", async (_what, body, field) => {
  await expect(client.postJson("/v2/suspect", body, z.unknown())).rejects.toMatchObject({
    code: "bad_request",
    message: expect.stringContaining(`field "${field}"`),
  });
});

test.each([
  ["waiting", { waiting: 0 }],
  ["waiting", { waiting: 1.5 }],
  ["waitMs", { waitMs: -1 }],
  ["known", { known: Array.from({ length: 2_001 }, () => "x") }],
  ["uid", { uid: 7 }],
  ["revision", { revision: undefined }],
])("an acquire with a bad %s is refused, naming it", async (field, change) => {
  const body = { ...acquireRequest("hello", "r1"), ...change };
  await expect(client.postJson("/v2/acquire", body, AcquireReply)).rejects.toMatchObject({
    code: "bad_request",
    message: expect.stringContaining(`field "${field}"`),
  });
});

test("pods that are there in time are told with 200, those that are not with 202", async () => {
  const warm = async (pods: number, waitMs: number) => {
    const message = {
      namespace: "default",
      name: "hello",
      uid: "uid-fn-hello",
      revision: "r1",
      pods,
      waitMs,
    };
    const body = JSON.stringify(message);
    const headers = { "content-type": "application/json" };
    const reply = await client.send({ method: "POST", target: "/v2/warm", headers, body });
    reply.body.resume();
    return reply;
  };
  expect((await warm(2, 0)).status).toBe(202);
  expect((await warm(2, 5_000)).status).toBe(200);
  await expect(
    client.postJson("/v2/warm", { namespace: "default", name: "hello", pods: 0 }, WarmReply),
  ).rejects.toMatchObject({ code: "bad_request" });
});
