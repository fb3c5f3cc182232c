import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, expect, it } from "vitest";
import { keyRing } from "../../net/keys.ts";
import { type SignedClient, signedClient } from "../../net/signed-client.ts";
import { type CallFunction, type FunctionCall, functionCaller } from "./call-function.ts";
import { callbackTokens } from "./callback-token.ts";

const KEYS = keyRing(["a".repeat(32)]);
let answer: (request: IncomingMessage, body: string, response: ServerResponse) => void;
let router: SignedClient;
let call: CallFunction;
let closed = 0;
const server = createServer((request, response) => {
  let body = "";
  request.on("data", (chunk) => (body += String(chunk)));
  request.on("end", () => answer(request, body, response));
  response.on("close", () => (closed += response.writableFinished ? 0 : 1));
});

beforeEach(async () => {
  closed = 0;
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address() as AddressInfo;
  router = signedClient({
    keys: KEYS,
    origin: `http://127.0.0.1:${port}`,
    audience: "router-internal",
    unavailable: "internal",
  });
  call = functionCaller({ router, versionExists: (_namespace, _name, version) => version === "charge-v2" });
});
afterEach(async () => {
  await router.close();
  server.closeAllConnections();
  await new Promise((done) => server.close(done));
});

const CALL: FunctionCall = {
  run: { namespace: "shop", id: "order-1" },
  token: "3.0",
  attempt: 2,
  functionName: "charge",
  version: "charge-v2",
  input: { amount: 5 },
  timeoutMs: 60_000,
};
const TARGET = { run: CALL.run, token: "3.0", attempt: 1 };
const attempt = (given: Partial<FunctionCall> = {}, signal = new AbortController().signal) =>
  call({ ...CALL, ...given }, signal);
const says = (status: number, body: unknown, headers: Record<string, string> = {}) => {
  answer = (_request, _body, response) =>
    response
      .writeHead(status, { "content-type": "application/json", ...headers })
      .end(typeof body === "string" ? body : JSON.stringify(body));
};
const platformSays = (status: number, reason: string, headers: Record<string, string> = {}) =>
  says(
    status,
    { component: "router", reason, message: "no" },
    { "x-fission-component": "router", ...headers },
  );

it("sends the input to the pinned version, with the key that never changes", async () => {
  let seen: IncomingMessage | undefined;
  answer = (request, body, response) => {
    seen = request;
    response.writeHead(200, { "content-type": "application/json; charset=utf-8" }).end(body);
  };
  expect(await attempt()).toEqual({ kind: "done", output: { amount: 5 } });
  expect(seen).toMatchObject({ method: "POST", url: "/fission-function/shop/charge:charge-v2/" });
  expect(seen?.headers).toMatchObject({
    "idempotency-key": "shop/order-1/3.0",
    "x-isotope-attempt": "2",
    "x-isotope-run": "shop/order-1",
    "x-isotope-first-answer": "600",
  });
});

it.each([
  [200, "", {}, null],
  [200, "plain", { "content-type": "text/plain" }, "plain"],
  [201, "[1]", {}, [1]],
])("takes %s %j as output", async (status, body, headers, output) => {
  says(status, body, headers);
  expect(await attempt()).toEqual({ kind: "done", output });
});

it.each([
  [404, {}, "Fission.PermanentError", true],
  [500, {}, "Fission.FunctionError", undefined],
  [500, { errorType: "OutOfStock", cause: "none left" }, "OutOfStock", undefined],
  [422, { error: { type: "BadCard", message: "expired" } }, "BadCard", true],
])(
  "takes a function's %s %j as a failure of class %s, permanent: %s",
  async (status, body, type, permanent) => {
    says(status, body);
    const result = await attempt();
    expect(result).toMatchObject({ kind: "failed", error: { type }, cause: body });
    expect(result.kind === "failed" && result.error.permanent).toBe(permanent);
  },
);

it("takes an answer that is no JSON, though it says so, as a failure for good", async () => {
  says(200, "{");
  expect(await attempt()).toMatchObject({ kind: "failed", error: { type: "Fission.PermanentError" } });
});

it("uses no attempt up when the platform did not take the call", async () => {
  platformSays(429, "queue_full", { "retry-after": "3" });
  expect(await attempt()).toMatchObject({ kind: "overloaded", retryAfterMs: 3_000 });
  platformSays(503, "redis_unavailable");
  expect(await attempt()).toMatchObject({ kind: "overloaded" });
  platformSays(404, "version_not_found");
  expect(await attempt()).toMatchObject({ kind: "overloaded" });
  expect(await attempt({ version: "charge-v9" })).toMatchObject({
    kind: "failed",
    error: { type: "Fission.PermanentError" },
  });
  platformSays(504, "function_timeout");
  expect(await attempt()).toMatchObject({ kind: "failed", error: { type: "Fission.Timeout" } });
  platformSays(502, "upstream_reset");
  expect(await attempt()).toMatchObject({ kind: "failed", error: { type: "Fission.FunctionError" } });
  await router.close();
  expect(await attempt()).toMatchObject({ kind: "overloaded" });
});

it("ends the call at the attempt's time limit, and when it is cancelled", async () => {
  answer = () => undefined;
  // Long enough for the call to arrive: only then is there one to end.
  expect(await attempt({ timeoutMs: 2_000 })).toMatchObject({ error: { type: "Fission.Timeout" } });
  const cancel = new AbortController();
  answer = () => cancel.abort(new Error("cancelled"));
  const running = attempt({}, cancel.signal);
  await expect(running).rejects.toThrow("cancelled");
  await expect.poll(() => closed).toBe(2);
});

it("gives a waiting step its token, and takes the answer as received", async () => {
  const tokens = callbackTokens(KEYS);
  const target = { ...TARGET, attempt: 2 };
  let seen: IncomingMessage["headers"] = {};
  answer = (request, _body, response) => {
    seen = request.headers;
    response.writeHead(202).end();
  };
  const given = { callbackToken: tokens.make(target) };
  expect(await attempt(given)).toEqual({ kind: "accepted" });
  expect(tokens.read(String(seen["x-isotope-callback-token"]))).toEqual(target);
  // Its second attempt is a new question: what was answered to the first is not given again.
  expect(seen["x-isotope-first-answer"]).toBeUndefined();
  await attempt({ ...given, attempt: 1 });
  expect(seen["x-isotope-first-answer"]).toBe("600");
});

it("reads no token that it has not made", () => {
  const tokens = callbackTokens(KEYS);
  const token = tokens.make(TARGET);
  const other = callbackTokens(keyRing(["b".repeat(32)]));
  const [body = "", mac = ""] = token.split(".");
  const forged = `${Buffer.from("shop/order-2/3.0/1").toString("base64url")}.${mac}`;
  for (const bad of ["", "x", body, forged, `${token}A`, other.make(TARGET)])
    expect(tokens.read(bad)).toBeUndefined();
  const rotated = callbackTokens(keyRing(["b".repeat(32), "a".repeat(32)]));
  expect(rotated.read(token)).toEqual(TARGET);
});
