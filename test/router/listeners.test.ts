import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { referenceSigner } from "../../net/reference-sign.ts";
import { sha256Hex, signer } from "../../net/sign.ts";
import { createWorld, keys, type World } from "./world.ts";

let world: World;
beforeEach(async () => {
  world = await createWorld();
  await world.pod();
  world.deploy();
});
afterEach(() => world.close());

const reason = async (reply: Response): Promise<unknown> =>
  ((await reply.json()) as { reason: string }).reason;

describe("CORS", () => {
  const corsConfig = {
    allowOrigins: ["https://app.example", "https://*.preview.example"],
    allowMethods: ["GET", "PUT"],
    allowHeaders: ["X-Token"],
    exposeHeaders: ["X-Total"],
    allowCredentials: true,
    maxAge: "10m",
  };
  const preflight = (url: string, origin: string, method: string, headers?: string) =>
    fetch(url, {
      method: "OPTIONS",
      headers: {
        origin,
        "access-control-request-method": method,
        ...(headers ? { "access-control-request-headers": headers } : {}),
      },
    });

  test("a preflight is answered by the router, whatever the trigger's methods", async () => {
    world.trigger("t", { relativeurl: "/c", methods: ["GET", "PUT"], corsConfig });
    const { url } = await world.router();
    const reply = await preflight(`${url}/c`, "https://app.example", "PUT", "x-token, content-type");
    expect(reply.status).toBe(204);
    expect(Object.fromEntries(reply.headers)).toMatchObject({
      "access-control-allow-origin": "https://app.example",
      "access-control-allow-methods": "GET, PUT",
      "access-control-allow-headers": "x-token, content-type",
      "access-control-allow-credentials": "true",
      "access-control-max-age": "600",
      vary: "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
    });
    const preview = await preflight(`${url}/c`, "https://pr-7.preview.example", "GET");
    expect(preview.headers.get("access-control-allow-origin")).toBe("https://pr-7.preview.example");
  });

  test.each([
    ["https://evil.example", "PUT", undefined],
    ["https://app.example.evil.example", "PUT", undefined],
    ["https://evil.example/.preview.example", "PUT", undefined],
    ["https://.preview.example", "PUT", undefined],
    ["https://app.example", "DELETE", undefined],
    ["https://app.example", "PUT", "x-other"],
  ])("a preflight from %s for %s with headers %s is 403", async (origin, method, headers) => {
    world.trigger("t", { relativeurl: "/c", corsConfig });
    const { url } = await world.router();
    const reply = await preflight(`${url}/c`, origin, method, headers);
    expect([reply.status, reply.headers.get("access-control-allow-origin"), await reason(reply)]).toEqual([
      403,
      null,
      "cors_denied",
    ]);
  });

  test("answers carry the trigger's word, not the function's; errors too", async () => {
    world.trigger("t", { prefix: "/c", corsConfig });
    world.trigger("plain", { prefix: "/plain" });
    const { url } = await world.router();
    const headersOf = async (path: string, origin?: string) =>
      (await fetch(url + path, { headers: origin ? { origin } : {} })).headers;
    const allowed = await headersOf("/c/x", "https://app.example");
    expect(allowed.get("access-control-allow-origin")).toBe("https://app.example");
    expect(allowed.get("access-control-expose-headers")).toBe("X-Total");
    expect(allowed.get("vary")).toBe("Origin");
    const foreign = await headersOf("/c/x", "https://evil.example");
    expect(foreign.get("access-control-allow-origin")).toBeNull();
    expect(foreign.get("vary")).toBe("Origin");
    expect((await headersOf("/plain/x", "https://evil.example")).get("access-control-allow-origin")).toBe(
      "https://set-by-function.example",
    );
    const failed = await headersOf("/c/reset", "https://app.example");
    expect(failed.get("access-control-allow-origin")).toBe("https://app.example");
  });

  test("the wildcard allows everybody, without Vary; with credentials it is refused at compile time", async () => {
    world.trigger("any", { prefix: "/any", corsConfig: { allowOrigins: ["*"], allowHeaders: ["*"] } });
    world.trigger("bad", { prefix: "/bad", corsConfig: { allowOrigins: ["*"], allowCredentials: true } });
    const { url } = await world.router();
    const reply = await fetch(`${url}/any/x`, { headers: { origin: "https://x.example" } });
    expect([reply.headers.get("access-control-allow-origin"), reply.headers.get("vary")]).toEqual([
      "*",
      null,
    ]);
    const asked = await preflight(`${url}/any/x`, "https://x.example", "PATCH", "x-anything");
    expect([asked.status, asked.headers.get("access-control-allow-headers")]).toEqual([204, "x-anything"]);
    expect(world.log.some((line) => line.includes("allowCredentials does not go with the origin"))).toBe(
      true,
    );
  });

  test("without a corsConfig a preflight reaches the function", async () => {
    world.trigger("t", { relativeurl: "/c" });
    const { url } = await world.router();
    const reply = await preflight(`${url}/c`, "https://app.example", "PUT");
    expect(((await reply.json()) as { method: string }).method).toBe("OPTIONS");
  });
});

describe("the internal listener", () => {
  const sign = signer(keys, "router-internal");
  const call = (
    url: string,
    target: string,
    init: { method?: string; body?: string; headers?: Record<string, string> } = {},
    by = sign,
  ) => {
    const method = init.method ?? (init.body === undefined ? "GET" : "POST");
    return fetch(url + target, {
      method,
      headers: { ...init.headers, ...by({ method, target, bodySha256: sha256Hex(init.body ?? "") }) },
      ...(init.body === undefined ? {} : { body: init.body }),
    });
  };
  interface Echo {
    name: string;
    url: string;
    method: string;
    bodyBytes: number;
    headers: Record<string, string>;
  }

  test("calls any function without a trigger, by name or namespace and name, and below", async () => {
    await world.pod({ namespace: "team", name: "sub" });
    world.deploy({ namespace: "team", name: "sub" });
    const { internalUrl } = await world.router();
    const seen = async (target: string, body?: string) => {
      const reply = await call(internalUrl, target, body === undefined ? {} : { body });
      const { name, url, bodyBytes } = (await reply.json()) as Echo;
      return [name, url, bodyBytes];
    };
    expect(await seen("/fission-function/hello")).toEqual(["hello", "/", 0]);
    expect(await seen("/fission-function/hello/a/b?x=1", "body")).toEqual(["hello", "/a/b?x=1", 4]);
    expect(await seen("/fission-function/default/hello")).toEqual(["hello", "/", 0]);
    expect(await seen("/fission-function/team/sub/x", "x".repeat(300_000))).toEqual(["sub", "/x", 300_000]);
    expect(await seen("/fission-function/hello/sub")).toEqual(["hello", "/sub", 0]);
  });

  test("passes the platform's own headers, never its signature or names", async () => {
    const { internalUrl } = await world.router();
    const reply = await call(internalUrl, "/fission-function/hello", {
      headers: {
        "x-fission-timer-name": "nightly",
        "x-fission-function-name": "forged",
        "x-isotope-pod": "forged",
      },
    });
    const { headers } = (await reply.json()) as Echo;
    expect(headers).toMatchObject({ "x-fission-timer-name": "nightly", "x-fission-function-name": "hello" });
    expect(Object.keys(headers).filter((name) => name.startsWith("x-isotope-auth-"))).toEqual([]);
  });

  test("the reference system's signature is accepted, with and without body", async () => {
    const { internalUrl } = await world.router();
    const by = referenceSigner(keys, "router-internal");
    expect((await call(internalUrl, "/fission-function/hello", {}, by)).status).toBe(200);
    expect((await call(internalUrl, "/fission-function/hello?x=1", { body: "abc" }, by)).status).toBe(200);
  });

  test("the key of a namespace reaches that one's functions, and nothing else", async () => {
    const { internalUrl } = await world.router();
    const by = referenceSigner(keys, "router-internal", { namespace: "default" });
    const other = referenceSigner(keys, "router-internal", { namespace: "team" });
    expect((await call(internalUrl, "/fission-function/hello", { body: "abc" }, by)).status).toBe(200);
    for (const [target, signed] of [
      ["/fission-function/hello", other],
      ["/fission-function/default/hello", other],
      ["/fission-function/team/hello", by],
      ["/v2/counters", by],
      ["/v1/async/dlq/list", by],
    ] as const) {
      const reply = await call(internalUrl, target, {}, signed);
      expect([target, reply.status, await reason(reply)]).toEqual([target, 403, "forbidden"]);
    }
  });

  test("unsigned, replayed, foreign and tampered calls are 401 and reach nothing", async () => {
    const { internalUrl } = await world.router();
    const [pod] = world.executor.pods.get("uid-hello/r1") ?? [];
    expect((await fetch(`${internalUrl}/fission-function/hello`)).status).toBe(401);
    const head = { method: "POST", target: "/fission-function/hello", bodySha256: sha256Hex("a") };
    const send = (headers: Record<string, string>, body = "a") =>
      fetch(`${internalUrl}/fission-function/hello`, { method: "POST", headers, body });
    expect((await send(signer(keys, "executor")(head))).status).toBe(401);
    expect((await send(sign(head), "b")).status).toBe(401);
    expect((await send(referenceSigner(keys, "router-internal")(head), "b")).status).toBe(401);
    expect(pod?.started).toBe(0);
    const once = sign(head);
    expect((await send(once)).status).toBe(200);
    const replay = await send(once);
    expect([replay.status, await reason(replay)]).toEqual([401, "unauthorized"]);
    expect(pod?.started).toBe(1);
  });

  test("a miss is marked, other paths are misses, large bodies 413", async () => {
    world.trigger("t", { relativeurl: "/hello" });
    const { internalUrl } = await world.router({ internalBodyBytes: 1_000 });
    for (const target of [
      "/fission-function/none",
      "/fission-function/team/none",
      "/fission-function/hello:prod",
      "/hello",
      "/fission-function/",
    ]) {
      const reply = await call(internalUrl, target);
      expect([target, reply.status, reply.headers.get("x-fission-route-miss")]).toEqual([target, 404, "1"]);
    }
    expect((await call(internalUrl, "/fission-function/hello", { body: "x".repeat(1_001) })).status).toBe(
      413,
    );
  });
});
