import { connect } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { PlatformError } from "../../api/errors.ts";
import { createWorld, type World } from "./world.ts";

let world: World;
beforeEach(async () => {
  world = await createWorld();
});
afterEach(() => world.close());

interface Echo {
  pod: string;
  name: string;
  revision: string;
  method: string;
  url: string;
  headers: Record<string, string>;
  bodyBytes: number;
}
const echo = async (reply: Response): Promise<Echo> => reply.json() as Promise<Echo>;
const reason = async (reply: Response): Promise<unknown> =>
  ((await reply.json()) as { reason: string }).reason;

describe("a call", () => {
  test("cold: one acquire, then warm calls without any", async () => {
    world.deploy();
    world.trigger("t", { relativeurl: "/hello" });
    const { url } = await world.router();
    const first = await fetch(`${url}/hello?x=1`);
    expect(first.status).toBe(200);
    expect(await echo(first)).toMatchObject({ name: "hello", revision: "r1", url: "/hello?x=1" });
    for (let i = 0; i < 5; i += 1) expect((await fetch(`${url}/hello`)).status).toBe(200);
    expect(world.executor.acquires).toHaveLength(1);
    expect(world.executor.acquires[0]).toMatchObject({
      namespace: "default",
      name: "hello",
      known: [],
      waiting: 1,
    });
  });

  test("a burst of first calls shares one acquire and one pod", async () => {
    world.deploy({ requestsPerPod: 100 });
    world.trigger("t", { relativeurl: "/hello" });
    world.executor.before = () => new Promise((resolve) => setTimeout(resolve, 60));
    const { url } = await world.router();
    const replies = await Promise.all(Array.from({ length: 50 }, () => fetch(`${url}/hello`)));
    expect(replies.map((reply) => reply.status)).toEqual(Array.from({ length: 50 }, () => 200));
    expect(world.executor.acquires).toHaveLength(1);
    expect(world.executor.pods.get("uid-hello/r1")).toHaveLength(1);
  });

  test("carries the function's, the request's and the forwarding headers, and none that the caller forged", async () => {
    await world.pod();
    world.deploy();
    world.trigger("t", { relativeurl: "/users/{id}/{rest:.*}" });
    const { url, port } = await world.router();
    const reply = await fetch(`${url}/users/a%20b/x/y?q=1`, {
      headers: {
        "x-fission-function-name": "forged",
        "x-fission-params-id": "forged",
        "x-fission-params-other": "forged",
        "x-isotope-pod": "forged",
        "x-isotope-anything": "forged",
        "x-forwarded-for": "6.6.6.6",
        "x-forwarded-proto": "https",
        "x-real-ip": "6.6.6.6",
        forwarded: "for=6.6.6.6",
        "x-fission-request-id": "my-id",
        "x-custom": "kept",
      },
    });
    const { headers } = await echo(reply);
    const slot = world.kube.get("functions", "default", "hello");
    expect(headers).toMatchObject({
      "x-fission-function-name": "hello",
      "x-fission-function-namespace": "default",
      "x-fission-function-uid": "uid-hello",
      "x-fission-function-resourceversion": slot?.metadata.resourceVersion,
      "x-isotope-revision": "r1",
      "x-isotope-timeout-ms": "60000",
      "x-fission-params-id": "a b",
      "x-fission-params-rest": "x/y",
      "x-fission-full-url": "/users/a%20b/x/y?q=1",
      "x-fission-request-id": "my-id",
      "x-forwarded-for": "127.0.0.1",
      "x-forwarded-proto": "http",
      "x-forwarded-host": `127.0.0.1:${port}`,
      forwarded: `for=127.0.0.1;host="127.0.0.1:${port}";proto=http`,
      "x-custom": "kept",
    });
    expect(headers["x-isotope-pod"]).toMatch(/^pod-/);
    expect(headers["x-isotope-anything"]).toBeUndefined();
    expect(headers["x-fission-params-other"]).toBeUndefined();
    expect(headers["x-real-ip"]).toBeUndefined();
    expect(headers["traceparent"]).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
    expect(reply.headers.get("x-fission-request-id")).toBe("my-id");
  });

  test("request ids that are too long or odd are replaced, valid traces kept, broken ones restarted", async () => {
    await world.pod();
    world.deploy();
    world.trigger("t", { relativeurl: "/hello" });
    const { url } = await world.router();
    const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const kept = await echo(
      await fetch(`${url}/hello`, { headers: { traceparent: trace, tracestate: "a=1" } }),
    );
    expect(kept.headers).toMatchObject({ traceparent: trace, tracestate: "a=1" });
    const long = await fetch(`${url}/hello`, {
      headers: { "x-fission-request-id": "x".repeat(193), traceparent: "00-zz-1-01" },
    });
    expect(long.headers.get("x-fission-request-id")).toMatch(/^[0-9a-f]{8}-[0-9a-f-]{27}$/);
    expect((await echo(long)).headers["traceparent"]).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
  });

  test("a trusted proxy's word is kept and added to", async () => {
    await world.pod();
    world.deploy();
    world.trigger("t", { relativeurl: "/hello" });
    const { url } = await world.router({ trustedProxies: ["127.0.0.0/8"] });
    const { headers } = await echo(
      await fetch(`${url}/hello`, {
        headers: {
          "x-forwarded-for": "9.9.9.9",
          "x-forwarded-proto": "https",
          "x-forwarded-host": "example.com",
          forwarded: "for=9.9.9.9",
        },
      }),
    );
    expect(headers).toMatchObject({
      "x-forwarded-for": "9.9.9.9, 127.0.0.1",
      "x-forwarded-proto": "https",
      "x-forwarded-host": "example.com",
    });
    expect(headers["forwarded"]).toMatch(/^for=9\.9\.9\.9, for=127\.0\.0\.1;/);
  });

  test("the function's answer cannot pose as the platform's", async () => {
    await world.pod();
    world.deploy();
    world.trigger("t", { prefix: "/p" });
    const { url } = await world.router();
    const reply = await fetch(`${url}/p/status?code=503`);
    expect(reply.status).toBe(503);
    expect(reply.headers.get("x-fission-route-miss")).toBeNull();
    expect(reply.headers.get("x-isotope-error")).toBeNull();
    expect(reply.headers.get("x-fission-component")).toBe("function");
    expect(await reply.text()).toBe("status\n");
  });

  test.each([
    [{ prefix: "/api" }, "/api/echo/x?q=1", "/echo/x?q=1"],
    [{ prefix: "/api" }, "/api", "/"],
    [{ prefix: "/api/" }, "/api/a", "/a"],
    [{ prefix: "/api", keepPrefix: true }, "/api/echo", "/api/echo"],
    [{ prefix: "/{tenant}/api" }, "/t1/api/x", "/x"],
    [{ relativeurl: "/a/b" }, "/a/b?x=/y", "/a/b?x=/y"],
  ])("a trigger with %j and a call of %s: the function sees %s", async (spec, path, seen) => {
    await world.pod();
    world.deploy();
    world.trigger("t", spec);
    const { url } = await world.router();
    expect((await echo(await fetch(url + path))).url).toBe(seen);
  });

  test("a pod of the reference system's contract sees / and no internal headers", async () => {
    const pod = await world.pod({ requestsPerPod: 1 });
    world.deploy();
    const name = `hello-r1-${pod.uid}`;
    const slice = world.kube.get("endpointslices", "default", name);
    if (!slice) throw new Error("no slice");
    slice.metadata.annotations = { ...slice.metadata.annotations, "isotope.dev/contract": "reference" };
    world.kube.put("endpointslices", slice);
    world.trigger("t", { relativeurl: "/hello" });
    const { url } = await world.router();
    world.trigger("p", { prefix: "/p" });
    pod.reference = true;
    const seen = await echo(await fetch(`${url}/hello?q=1`));
    expect(seen.url).toBe("/?q=1");
    expect(seen.headers["x-fission-full-url"]).toBe("/hello?q=1");
    expect(seen.headers["x-fission-function-name"]).toBe("hello");
    expect(Object.keys(seen.headers).filter((name) => name.startsWith("x-isotope-"))).toEqual([]);
    await world.until(async () => (await fetch(`${url}/p/x`)).status === 200);
    expect((await echo(await fetch(`${url}/p/x?y=1`))).url).toBe("/x?y=1");
  });

  test("methods, hosts, misses and the router's own paths", async () => {
    await world.pod();
    world.deploy();
    world.trigger("post", { relativeurl: "/only-post", methods: ["POST", "PUT"] });
    world.trigger("host", { relativeurl: "/hosted", host: "a.example" });
    const { url, port } = await world.router();
    const get = await fetch(`${url}/only-post`);
    expect(get.status).toBe(405);
    expect(get.headers.get("allow")).toMatch(/POST/);
    expect(await reason(get)).toBe("method_not_allowed");
    const miss = await fetch(`${url}/nowhere`);
    expect([miss.status, miss.headers.get("x-fission-route-miss"), await reason(miss)]).toEqual([
      404,
      "1",
      "route_miss",
    ]);
    expect((await fetch(`${url}/hosted`)).status).toBe(404);
    expect(await rawStatus(port, "GET /hosted HTTP/1.1\r\nHost: A.example:99\r\n\r\n")).toBe(200);
    expect((await fetch(`${url}/fission-function/hello`)).status).toBe(404);
    expect((await fetch(`${url}/fission-function/default/hello/x`)).status).toBe(404);
    for (const path of ["/router-healthz", "/readyz", "/_version", "/"]) {
      const reply = await fetch(url + path);
      expect([path, reply.status]).toEqual([path, 200]);
      expect(reply.headers.get("x-content-type-options")).toBe("nosniff");
      expect(reply.headers.get("vary")).toBe("Origin");
    }
    expect((await fetch(`${url}/_version`)).headers.get("content-type")).toBe("application/json");
    expect(
      (await fetch(`${url}/router-healthz`, { method: "OPTIONS", headers: { origin: "https://x.example" } }))
        .status,
    ).toBe(403);
    world.trigger("root", { relativeurl: "/" });
    await world.until(async () => (await fetch(`${url}/`)).headers.get("x-fission-request-id") !== null);
  });

  test("bad triggers claim nothing", async () => {
    world.deploy();
    world.trigger("own", { relativeurl: "/readyz" });
    world.trigger("internal", { prefix: "/fission-function/x" });
    world.trigger("open", { relativeurl: "/a/{b" });
    const { url } = await world.router();
    expect(await (await fetch(`${url}/readyz`)).text()).toBe("ok\n");
    expect((await fetch(`${url}/fission-function/x`)).status).toBe(404);
    expect(world.log.filter((line) => line.includes("Cannot route as the trigger says"))).toHaveLength(3);
  });

  test("functions that are missing or not built answer 404 and 503 with Retry-After", async () => {
    world.trigger("t", { relativeurl: "/hello" });
    const { url } = await world.router({ unreadyWaitMs: 30 });
    const missing = await fetch(`${url}/hello`);
    expect([missing.status, await reason(missing)]).toEqual([404, "function_not_found"]);
    world.kube.put("functions", { metadata: { name: "hello", namespace: "default", uid: "u" }, status: {} });
    await world.until(async () => (await fetch(`${url}/hello`)).status === 503);
    const unready = await fetch(`${url}/hello`);
    expect(await reason(unready)).toBe("function_not_ready");
    expect(unready.headers.get("retry-after")).toBe("1");
    world.deploy();
    await world.until(async () => (await fetch(`${url}/hello`)).status === 200);
    world.undeploy("default", "hello");
    await world.until(async () => (await fetch(`${url}/hello`)).status === 404);
  });

  test("a call of a function that does not serve yet goes on as soon as it does, body and all", async () => {
    world.kube.put("functions", {
      metadata: { name: "hello", namespace: "default", uid: "uid-hello" },
      status: {},
    });
    world.trigger("t", { prefix: "/p" });
    const { url } = await world.router({ unreadyWaitMs: 60_000 });
    const post = () => fetch(`${url}/p/echo`, { method: "POST", body: Buffer.alloc(250_000, 1) });
    const held = [post(), post(), post()];
    const refusedEarly = await Promise.race([...held, new Promise((go) => setTimeout(go, 100))]);
    expect(refusedEarly).toBeUndefined();
    world.deploy();
    for (const reply of await Promise.all(held))
      expect(await echo(reply)).toMatchObject({ method: "POST", bodyBytes: 250_000 });
  });

  test("no more calls are held than may wait", async () => {
    world.kube.put("functions", {
      metadata: { name: "hello", namespace: "default", uid: "uid-hello" },
      status: {},
    });
    world.trigger("t", { relativeurl: "/hello" });
    const { url } = await world.router({ unreadyWaitMs: 60_000, queueLength: 2 });
    const calls = [1, 2, 3].map(async () => (await fetch(`${url}/hello`)).status);
    expect(await Promise.race(calls)).toBe(503);
    world.deploy();
    expect((await Promise.all(calls)).toSorted((a, b) => a - b)).toEqual([200, 200, 503]);
  });

  test("a held call whose client leaves makes room for another", async () => {
    world.kube.put("functions", {
      metadata: { name: "hello", namespace: "default", uid: "uid-hello" },
      status: {},
    });
    world.trigger("t", { relativeurl: "/hello" });
    const { url, port } = await world.router({ unreadyWaitMs: 60_000, queueLength: 1 });
    const client = connect(port, "127.0.0.1");
    const ask = () => client.write("GET /hello HTTP/1.1\r\nhost: x\r\n\r\n");
    // Asked again when another was first.
    client.on("data", ask);
    ask();
    await world.until(async () => {
      const patience = new AbortController();
      const timer = setTimeout(() => patience.abort(), 200);
      const status = await fetch(`${url}/hello`, { signal: patience.signal }).then(
        (reply) => reply.status,
        () => 0,
      );
      clearTimeout(timer);
      return status === 503;
    }, "the place to be taken");
    client.destroy();
    let served: Promise<number> | undefined;
    await world.until(async () => {
      served = fetch(`${url}/hello`).then((reply) => reply.status);
      const patience = new AbortController();
      const next = fetch(`${url}/hello`, { signal: patience.signal }).then(
        (reply) => reply.status,
        () => 0,
      );
      // The next one is refused while this one waits: the place is its own.
      const refused = await Promise.race([next, served.then(() => 0)]);
      patience.abort();
      await next;
      if (refused !== 503) return false;
      return (await Promise.race([served, new Promise((go) => setTimeout(go, 1_000))])) === undefined;
    }, "the place to be free");
    world.deploy();
    expect(await served).toBe(200);
  });

  test("a held call ends with its function, and after its time", async () => {
    world.kube.put("functions", {
      metadata: { name: "hello", namespace: "default", uid: "uid-hello" },
      status: {},
    });
    world.trigger("t", { relativeurl: "/hello" });
    const { url, router } = await world.router({ unreadyWaitMs: 60_000 });
    const held = fetch(`${url}/hello`);
    const impatient = await world.router({ unreadyWaitMs: 20 });
    const late = await fetch(`${impatient.url}/hello`);
    expect([late.status, await reason(late)]).toEqual([503, "function_not_ready"]);
    expect(world.log.some((line) => line.includes('"function_not_ready"'))).toBe(true);
    world.undeploy("default", "hello");
    const reply = await held;
    expect([reply.status, await reason(reply)]).toEqual([404, "function_not_found"]);
    expect(router.notReady()).toBeUndefined();
  });

  test("bodies pass both ways; one that is too large is 413", async () => {
    await world.pod({ maxBodyBytes: 300_000 });
    world.deploy({ maxBodyBytes: 300_000 });
    world.trigger("t", { prefix: "/p" });
    const { url } = await world.router();
    const sent = await echo(await fetch(`${url}/p/echo`, { method: "POST", body: Buffer.alloc(250_000, 1) }));
    expect(sent).toMatchObject({ method: "POST", bodyBytes: 250_000 });
    expect((await (await fetch(`${url}/p/big?bytes=700000`)).arrayBuffer()).byteLength).toBe(700_000);
    const large = await fetch(`${url}/p/echo`, { method: "POST", body: Buffer.alloc(300_001) });
    expect([large.status, await reason(large)]).toEqual([413, "body_too_large"]);
    const stream = new ReadableStream({
      pull: (controller) => {
        for (let i = 0; i < 5; i += 1) controller.enqueue(Buffer.alloc(100_000));
        controller.close();
      },
    });
    const chunked = await fetch(`${url}/p/echo`, {
      method: "POST",
      body: stream,
      duplex: "half",
    });
    expect(chunked.status).toBe(413);
  });

  test("server-sent events arrive one by one", async () => {
    await world.pod();
    world.deploy({ streaming: { idleTimeoutMs: 30_000, maxDurationMs: 0 } });
    world.trigger("t", { prefix: "/p" });
    const { url } = await world.router();
    const reply = await fetch(`${url}/p/sse?n=4&ms=100`);
    const arrivals: number[] = [];
    let text = "";
    for await (const chunk of reply.body ?? []) {
      arrivals.push(Date.now());
      text += Buffer.from(chunk).toString();
    }
    expect(text).toBe("data: 0\n\ndata: 1\n\ndata: 2\n\ndata: 3\n\n");
    // Those that come while this machine is busy elsewhere are read at once.
    expect(arrivals.length).toBeGreaterThanOrEqual(2);
  });

  test("a WebSocket passes, holds its slot and gives it back", async () => {
    const pod = await world.pod();
    world.deploy();
    world.trigger("t", { prefix: "/ws" });
    const { port } = await world.router();
    const socket = new WebSocket(`ws://127.0.0.1:${port}/ws/chat`);
    await new Promise((resolve, reject) => {
      socket.addEventListener("open", resolve);
      socket.addEventListener("error", reject);
    });
    expect(pod.inFlight).toBe(1);
    socket.close();
    // The far side echoes raw frames, which a client may take for a protocol error: what matters is that the tunnel ends.
    await world.until(() => pod.inFlight === 0, "the pod's slot");
  });

  test("timeouts, resets and garbage from pods are 504 and 502, never 500, and are reported", async () => {
    await world.pod({ timeoutMs: 150 });
    world.deploy({ timeoutMs: 150 });
    world.trigger("t", { prefix: "/p" });
    // What answers has time to, on a busy machine too.
    await world.pod({ name: "patient", timeoutMs: 60_000 });
    world.deploy({ name: "patient", timeoutMs: 60_000 });
    world.trigger("patient", { prefix: "/patient", functionref: { type: "name", name: "patient" } });
    const { url } = await world.router();
    const outcome = async (path: string) => {
      const reply = await fetch(url + path);
      return [reply.status, await reason(reply), reply.headers.get("x-fission-component")];
    };
    expect(await outcome("/p/hang")).toEqual([504, "function_timeout", "timeout"]);
    expect(await outcome("/patient/reset")).toEqual([502, "upstream_reset", "router"]);
    expect(await outcome("/patient/garbage")).toEqual([502, "bad_upstream", "router"]);
    await expect(fetch(`${url}/patient/half`).then((reply) => reply.text())).rejects.toThrow();
    await world.until(() => world.executor.suspects.length > 0);
    expect(world.executor.suspects[0]).toMatchObject({ reason: "timeout" });
  });

  test("errors name component, reason and request id; the platform's own words only in debug mode", async () => {
    world.deploy();
    world.trigger("t", { relativeurl: "/hello" });
    world.executor.before = () => {
      throw new PlatformError("specialization_failed", "SyntaxError in index.ts:3 on 10.1.2.3");
    };
    const { url } = await world.router({ debugErrors: true });
    const plain = await fetch(`${url}/hello`, { headers: { "x-fission-request-id": "r-1" } });
    expect(plain.status).toBe(502);
    expect(plain.headers.get("x-fission-component")).toBe("executor");
    const body = (await plain.json()) as Record<string, string>;
    expect(body).toMatchObject({ component: "executor", reason: "specialization_failed", requestId: "r-1" });
    expect(body["message"]).not.toContain("10.1.2.3");
    expect(body["traceId"]).toMatch(/^[0-9a-f]{32}$/);
    const debug = await fetch(`${url}/hello`, { headers: { "x-fission-debug": "true" } });
    expect(((await debug.json()) as Record<string, string>)["message"]).toContain("index.ts:3");
  });

  test("a client that leaves frees its place in the queue and in the pod", async () => {
    const pod = await world.pod({ requestsPerPod: 1 });
    world.deploy({ requestsPerPod: 1, concurrency: 1 });
    world.trigger("t", { prefix: "/p" });
    const router = await world.router();
    const leave = new AbortController();
    const running = fetch(`${router.url}/p/hang`, { signal: leave.signal }).catch(() => "gone");
    await world.until(() => pod.inFlight === 1);
    const waiting = fetch(`${router.url}/p/hang`, { signal: leave.signal }).catch(() => "gone");
    await world.until(() =>
      router.metrics().includes('waiting_requests{namespace="default",function="hello",revision="r1"} 1'),
    );
    leave.abort();
    await Promise.all([running, waiting]);
    await world.until(() => pod.inFlight === 0);
    expect((await fetch(`${router.url}/p/echo`)).status).toBe(200);
    await world.until(
      () => /requests_total\{[^}]*status="499"\} 2/.test(router.metrics()),
      "both to be counted",
    );
    expect(pod.aborted).toBe(1);
  });
});

/** Status of one raw request. */
function rawStatus(port: number, text: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(text));
    socket.once("data", (data) => {
      resolve(Number(data.toString("latin1").slice(9, 12)));
      socket.destroy();
    });
    socket.once("error", reject);
  });
}
