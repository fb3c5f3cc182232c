import Fastify from "fastify";
import { afterEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { PlatformError } from "../api/errors.ts";
import { fastifyErrorHandler } from "./error-reply.ts";
import { keyRing } from "./keys.ts";
import { nonceMemory } from "./nonce-memory.ts";
import { referenceSigner, referenceVerifier } from "./reference-sign.ts";
import { EMPTY_SHA256, type HeaderLookup, sha256Hex, signer, verifier } from "./sign.ts";
import { signedClient } from "./signed-client.ts";
import { requireSignedCalls } from "./signed-hook.ts";

const OLD = "old-master-key-with-at-least-32-characters";
const NEW = "new-master-key-with-at-least-32-characters";
const lookup =
  (headers: Record<string, string>): HeaderLookup =>
  (name) =>
    headers[name];

describe("signed calls", () => {
  const keys = keyRing([NEW]);
  let nowMs = 1_790_000_000_000;
  const now = () => nowMs;
  const head = { method: "POST", target: "/v2/acquire?a=1", bodySha256: sha256Hex("{}") };
  const sign = signer(keys, "executor", { now });

  test("a call verifies once", () => {
    const check = verifier(keys, "executor", { now });
    const headers = lookup(sign(head));
    expect(check.verify("POST", "/v2/acquire?a=1", headers)).toEqual({
      ok: true,
      bodySha256: head.bodySha256,
    });
    expect(check.verify("POST", "/v2/acquire?a=1", headers)).toMatchObject({ ok: false, reason: /before/ });
  });

  test.each([
    ["method", "PUT", "/v2/acquire?a=1", {}],
    ["target", "POST", "/v2/acquire?a=2", {}],
    ["digest", "POST", "/v2/acquire?a=1", { "x-isotope-auth-digest": EMPTY_SHA256 }],
    ["nonce", "POST", "/v2/acquire?a=1", { "x-isotope-auth-nonce": "AAAAAAAAAAAAAAAAAAAAAA" }],
    ["time", "POST", "/v2/acquire?a=1", { "x-isotope-auth-timestamp": "1790000000001" }],
    ["audience", "POST", "/v2/acquire?a=1", { "x-isotope-auth-audience": "storage" }],
    ["signature", "POST", "/v2/acquire?a=1", { "x-isotope-auth-signature": "AAAA" }],
    ["malformed digest", "POST", "/v2/acquire?a=1", { "x-isotope-auth-digest": "x" }],
  ])("a changed %s is refused", (_what, method, target, changed) => {
    const check = verifier(keys, "executor", { now });
    expect(check.verify(method, target, lookup({ ...sign(head), ...changed })).ok).toBe(false);
  });

  test("a call for one receiver does not verify at another, even with the header changed", () => {
    const check = verifier(keys, "storage", { now });
    const headers = { ...sign(head), "x-isotope-auth-audience": "storage" };
    expect(check.verify("POST", head.target, lookup(headers))).toMatchObject({
      ok: false,
      reason: /signature/,
    });
  });

  test("the time may differ by 60 s, not more", () => {
    const check = verifier(keys, "executor", { now });
    const headers = lookup(sign(head));
    nowMs += 60_001;
    expect(check.verify("POST", head.target, headers)).toMatchObject({ ok: false, reason: /60 s/ });
    nowMs -= 1;
    expect(check.verify("POST", head.target, headers).ok).toBe(true);
    nowMs -= 60_000;
  });

  test("rotation: a receiver with both keys takes calls of either, one without the old refuses it", () => {
    const byOld = signer(keyRing([OLD]), "executor", { now });
    expect(
      verifier(keyRing([NEW, OLD]), "executor", { now }).verify("POST", head.target, lookup(byOld(head))).ok,
    ).toBe(true);
    expect(
      verifier(keyRing([NEW]), "executor", { now }).verify("POST", head.target, lookup(byOld(head))).ok,
    ).toBe(false);
  });

  test("a full nonce memory refuses instead of forgetting, and frees with time", () => {
    const memory = nonceMemory(2);
    expect(memory.use("a", 60_000, 0)).toBe("fresh");
    expect(memory.use("b", 60_000, 0)).toBe("fresh");
    expect(memory.use("c", 60_000, 0)).toBe("full");
    expect(memory.use("a", 60_000, 60_000)).toBe("used");
    expect(memory.use("c", 140_000, 80_000)).toBe("fresh");
  });

  test.each([[[]], [["short"]], [[OLD, NEW, `${NEW}2`]]])("a key ring of %j is refused", (bad) => {
    expect(() => keyRing(bad)).toThrow(RangeError);
  });
});

describe("the reference system's format", () => {
  const keys = keyRing(["test-master-secret-0123456789-0123456789"]);
  const now = () => 1_790_000_030_000;
  const head = { method: "GET", target: "/v1/archive?id=A", bodySha256: EMPTY_SHA256 };

  test("equals a signature computed independently (Python hmac and an HKDF by RFC 5869)", () => {
    const headers = referenceSigner(keys, "storagesvc", { now })(head);
    expect(headers["x-fission-auth-timestamp"]).toBe("1790000030");
    expect(headers["x-fission-auth-signature"]).toBe(EXPECTED_REFERENCE_SIGNATURE);
  });

  test("verifies, binds the target and the namespace", () => {
    const check = referenceVerifier(keys, "storagesvc", { now });
    const headers = referenceSigner(keys, "storagesvc", { now, namespace: "team-a" })(head);
    expect(check.verify(head, lookup(headers))).toEqual({ ok: true, namespace: "team-a" });
    expect(check.verify({ ...head, target: "/v1/archive?id=B" }, lookup(headers)).ok).toBe(false);
    const other = { ...headers, "x-fission-auth-namespace": "team-b" };
    expect(check.verify(head, lookup(other)).ok).toBe(false);
    expect(referenceVerifier(keys, "router-internal", { now }).verify(head, lookup(headers)).ok).toBe(false);
  });
});

const EXPECTED_REFERENCE_SIGNATURE = "4c9df5f79ae688ac7f28d3d1803c7a43794d738accb8c04faa7d9fcfc41d786c";

describe("over HTTP", () => {
  const closers: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const close of closers.splice(0)) await close();
  });

  async function receiver() {
    const keys = keyRing([NEW, OLD]);
    const app = Fastify();
    const unexpected: unknown[] = [];
    app.setErrorHandler(
      fastifyErrorHandler({ onUnexpected: (error) => unexpected.push(error), debug: true }),
    );
    requireSignedCalls(app, {
      verifier: verifier(keys, "executor"),
      reference: referenceVerifier(keys, "executor"),
      open: ["/healthz"],
    });
    let handled = 0;
    app.get("/healthz", () => ({ ok: true }));
    app.get("/v2/debug", () => ({ handled }));
    app.post("/v2/echo", (request) => {
      handled += 1;
      return { body: request.body };
    });
    app.post("/v2/fail", () => {
      throw new PlatformError("capacity_exceeded", "Cannot start a pod: 3 of 3 run", { retryAfterMs: 2_500 });
    });
    const origin = await app.listen({ host: "127.0.0.1", port: 0 });
    closers.push(() => app.close());
    return { origin, unexpected, handled: () => handled };
  }

  function clientOf(origin: string, key = NEW, audience = "executor") {
    const client = signedClient({
      keys: keyRing([key]),
      origin,
      audience,
      unavailable: "executor_unavailable",
    });
    closers.push(() => client.close());
    return client;
  }

  test("a signed call with and without a body is answered, by either key", async () => {
    const { origin } = await receiver();
    const echo = z.object({ body: z.object({ a: z.number() }) });
    expect(await clientOf(origin).postJson("/v2/echo?x=1", { a: 1 }, echo)).toEqual({ body: { a: 1 } });
    expect(await clientOf(origin, OLD).getJson("/v2/debug", z.object({ handled: z.number() }))).toEqual({
      handled: 1,
    });
  });

  test("an unsigned call, a foreign audience, a replay and a changed body are 401 and never handled", async () => {
    const { origin, handled, unexpected } = await receiver();
    const post = (headers: Record<string, string>, body: string) =>
      fetch(`${origin}/v2/echo`, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body,
      });
    expect((await post({}, "{}")).status).toBe(401);
    const sign = signer(keyRing([NEW]), "executor");
    const foreign = signer(keyRing([NEW]), "storage");
    const head = { method: "POST", target: "/v2/echo", bodySha256: sha256Hex('{"a":1}') };
    expect((await post(foreign(head), '{"a":1}')).status).toBe(401);
    expect((await post(sign(head), '{"a":2}')).status).toBe(401);
    const once = sign(head);
    expect((await post(once, '{"a":1}')).status).toBe(200);
    const replay = await post(once, '{"a":1}');
    expect(replay.status).toBe(401);
    expect(await replay.json()).toMatchObject({ reason: "unauthorized", message: /received before/ });
    expect(handled()).toBe(1);
    expect(unexpected).toEqual([]);
    expect((await fetch(`${origin}/healthz`)).status).toBe(200);
    expect((await fetch(`${origin}/v2/debug`)).status).toBe(401);
  });

  test("the reference system's format is let through, its body checked", async () => {
    const { origin } = await receiver();
    const sign = referenceSigner(keyRing([OLD]), "executor");
    const head = { method: "POST", target: "/v2/echo", bodySha256: sha256Hex('{"a":1}') };
    const post = (body: string) =>
      fetch(`${origin}/v2/echo`, {
        method: "POST",
        headers: { "content-type": "application/json", ...sign(head) },
        body,
      });
    expect((await post('{"a":1}')).status).toBe(200);
    expect((await post('{"a":3}')).status).toBe(401);
  });

  test("an error of the table travels with its code, message and pause", async () => {
    const { origin } = await receiver();
    const call = clientOf(origin).postJson("/v2/fail", {}, z.unknown());
    await expect(call).rejects.toMatchObject({
      code: "capacity_exceeded",
      message: "Cannot start a pod: 3 of 3 run",
      retryAfterMs: 3_000,
    });
  });

  test("a receiver that is not there is the caller's `unavailable` code", async () => {
    const call = clientOf("http://127.0.0.1:1").getJson("/v2/debug", z.unknown());
    await expect(call).rejects.toMatchObject({ code: "executor_unavailable" });
  });
});
