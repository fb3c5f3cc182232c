import { PodStatus } from "../../api/wire/pod.ts";
import { afterEach, describe, expect, it } from "vitest";
import { call, controlCall, type DenoPod, startFunction, startPod, stopPods } from "./deno-pod.ts";
import { until } from "../until.ts";

afterEach(stopPods);

/** Each request waits until `/go?<its name>` comes; so the test decides when it ends. */
const GATED = `
const gates = new Map();
export default async (request) => {
  const { pathname, searchParams } = new URL(request.url);
  const name = searchParams.get("n");
  if (pathname === "/go") { gates.get(name)?.(); return new Response("went") }
  await new Promise((go) => gates.set(name, go));
  return new Response("done " + name);
}`;

const status = async (pod: DenoPod) =>
  PodStatus.parse(await (await controlCall(pod, "GET /_isotope/status")).json());

const inFlight = (pod: DenoPod, count: number) =>
  until(`${count} in flight`, async () => (await status(pod)).inFlight === count);
const pause = (ms: number) => new Promise((go) => setTimeout(go, ms));

describe("admission", () => {
  it("never runs more than requestsPerPod at once, and gives every slot back", async () => {
    const pod = await startFunction(
      "let now = 0; globalThis.most = 0; export default async () => { now += 1; most = Math.max(most, now); await new Promise((r) => setTimeout(r, 3)); now -= 1; return new Response(String(most)) }",
      { limits: { requestsPerPod: 3 } },
    );
    const seen: number[] = [];
    const most: number[] = [];
    for (let round = 0; round < 10; round += 1) {
      await Promise.all(
        Array.from({ length: 12 }, async () => {
          const reply = await call(pod);
          seen.push(reply.status);
          if (reply.status === 200) most.push(Number(await reply.text()));
          else
            expect([reply.status, reply.headers.get("x-isotope-refused"), await reply.text()]).toEqual([
              429,
              "busy",
              "",
            ]);
        }),
      );
    }
    expect(Math.max(...most)).toBe(3);
    expect(seen.filter((code) => code === 200).length).toBeGreaterThanOrEqual(30);
    expect(await status(pod)).toMatchObject({ inFlight: 0, started: most.length });
  });

  it("with requestsPerPod 1 takes the next request as soon as the reply before is read", async () => {
    const pod = await startFunction("export default () => new Response('x'.repeat(200000))", {
      limits: { requestsPerPod: 1 },
    });
    for (let index = 0; index < 100; index += 1) {
      const reply = await call(pod);
      await reply.text();
      expect(reply.status).toBe(200);
    }
  });

  it("with onceOnly runs one request ever", async () => {
    const pod = await startFunction(
      "globalThis.runs = 0; export default () => new Response(String(++runs))",
      { limits: { onceOnly: true } },
    );
    const replies = await Promise.all(Array.from({ length: 20 }, () => call(pod)));
    expect(replies.filter((reply) => reply.status === 200)).toHaveLength(1);
    expect(
      replies.filter((reply) => reply.status === 503 && reply.headers.get("x-isotope-refused") === "retired"),
    ).toHaveLength(19);
    expect((await call(pod)).status).toBe(503);
    expect(await status(pod)).toMatchObject({ started: 1 });
  });

  it.each([
    ["another pod", { "x-isotope-pod": "other" }, 421, "wrong-pod"],
    ["another revision", { "x-isotope-revision": "rev-2" }, 421, "wrong-revision"],
  ])("refuses a request for %s before it runs anything", async (_name, headers, code, reason) => {
    const pod = await startFunction("globalThis.runs = 0; export default () => new Response(String(++runs))");
    const reply = await call(pod, "/", { headers });
    expect([reply.status, reply.headers.get("x-isotope-refused")]).toEqual([code, reason]);
    expect(await (await call(pod)).text()).toBe("1");
  });

  it("refuses a request that names no pod, and one for a pod that is not specialised", async () => {
    const pod = await startFunction("export default () => new Response('x')");
    const bare = await fetch(`${pod.address}/`);
    expect([bare.status, bare.headers.get("x-isotope-refused")]).toEqual([421, "wrong-pod"]);
    const generic = await startPod();
    const early = await call(generic);
    expect([early.status, early.headers.get("x-isotope-refused")]).toEqual([421, "not-specialised"]);
    expect((await fetch(`${generic.address}/`)).status).toBe(500);
  });

  it("takes every path of a request that names the pod, also those of control calls", async () => {
    const pod = await startFunction("export default (r) => new Response(new URL(r.url).pathname)");
    for (const path of ["/_isotope/status", "/_isotope/drain", "/v2/specialize", "/specialize"]) {
      expect(await (await call(pod, path, { method: "POST" })).text()).toBe(path);
    }
  });
});

it("the heap is as large as the variable says where the flags say nothing", async () => {
  const pod = await startFunction(
    "import v8 from 'node:v8'; export default () => new Response(String(v8.getHeapStatistics().heap_size_limit / 2 ** 20))",
    {},
    { memoryMb: null, env: { DENO_V8_FLAGS: "--max-old-space-size=96" } },
  );
  expect(Number(await (await call(pod)).text())).toBeLessThan(128);
});

describe("control calls", () => {
  it("tell health without a token, and nothing else", async () => {
    const pod = await startPod();
    expect(await (await fetch(`${pod.address}/_isotope/healthz`)).json()).toEqual({
      podUid: pod.uid,
      state: "generic",
    });
    for (const path of [
      "GET /_isotope/status",
      "POST /_isotope/retire",
      "POST /_isotope/drain",
      "GET /_isotope/other",
    ]) {
      for (const token of ["", "x", `${pod.token}x`, pod.token.slice(1)]) {
        expect((await controlCall(pod, path, path.startsWith("POST") ? {} : undefined, token)).status).toBe(
          401,
        );
      }
    }
    expect((await controlCall(pod, "GET /_isotope/other")).status).toBe(404);
    expect((await controlCall(pod, "DELETE /_isotope/status")).status).toBe(404);
  });

  it("retire an idle pod for good, never a busy one", async () => {
    const pod = await startFunction(GATED);
    expect((await controlCall(pod, "POST /_isotope/retire", { ifIdleForMs: 60_000 })).status).toBe(409);
    const running = call(pod, "/?n=a");
    await inFlight(pod, 1);
    const busy = await controlCall(pod, "POST /_isotope/retire", { ifIdleForMs: 0 });
    expect([busy.status, await busy.json()]).toMatchObject([
      409,
      { state: "specialised", inFlight: 1, idleMs: 0 },
    ]);
    await call(pod, "/go?n=a");
    expect(await (await running).text()).toBe("done a");
    await inFlight(pod, 0);
    const retired = await controlCall(pod, "POST /_isotope/retire", { ifIdleForMs: 0 });
    expect([retired.status, await retired.json()]).toMatchObject([200, { state: "retired" }]);
    const refused = await call(pod);
    expect([refused.status, refused.headers.get("x-isotope-refused")]).toEqual([503, "retired"]);
    expect((await controlCall(pod, "POST /_isotope/retire", { ifIdleForMs: 60_000 })).status).toBe(200);
  });

  it.each([
    "{",
    "{}",
    '{"ifIdleForMs":"1"}',
    '{"ifIdleForMs":-1}',
    "null",
    `{"ifIdleForMs":0,"x":"${"x".repeat(5000)}"}`,
  ])("refuse to retire for %s", async (body) => {
    const pod = await startPod();
    const reply = await fetch(`${pod.address}/_isotope/retire`, {
      method: "POST",
      headers: { authorization: `Bearer ${pod.token}` },
      body,
    });
    expect(reply.status).toBe(400);
    expect(await status(pod)).toMatchObject({ state: "generic" });
  });

  it.each([
    ["SIGTERM", (pod: DenoPod) => void pod.process.kill("SIGTERM")],
    ["the drain call", async (pod: DenoPod) => void (await controlCall(pod, "POST /_isotope/drain"))],
  ])("on %s running requests finish, new ones are refused, the process ends with 0", async (_name, begin) => {
    const pod = await startFunction("export default async (r) => new Response('done ' + (await r.text()))");
    let send: ReadableStreamDefaultController<Uint8Array> | undefined;
    const body = new ReadableStream<Uint8Array>({ start: (controller) => void (send = controller) });
    const running = call(pod, "/", { method: "POST", body, duplex: "half" });
    send?.enqueue(Buffer.from("a"));
    await inFlight(pod, 1);
    await begin(pod);
    await until("retired", async () => (await status(pod)).state === "retired");
    expect((await call(pod)).headers.get("x-isotope-refused")).toBe("retired");
    send?.close();
    expect(await (await running).text()).toBe("done a");
    expect(await pod.exited).toBe(0);
    expect(pod.lines().filter((line) => line.level === "error")).toEqual([]);
  });

  it("goes on refusing for a moment, so that no request meets a process that is just ending", async () => {
    const pod = await startFunction("export default async (r) => new Response('done ' + (await r.text()))");
    let send: ReadableStreamDefaultController<Uint8Array> | undefined;
    const body = new ReadableStream<Uint8Array>({ start: (controller) => void (send = controller) });
    const running = call(pod, "/", { method: "POST", body, duplex: "half" });
    send?.enqueue(Buffer.from("a"));
    await inFlight(pod, 1);
    pod.process.kill("SIGTERM");
    await until("retired", async () => (await status(pod)).state === "retired");
    // It does not end while a request runs; from then on the moment counts, which a busy machine only makes longer.
    const refusedAt = performance.now();
    const ended = pod.exited.then(() => performance.now());
    expect((await call(pod, "/", { method: "POST" })).headers.get("x-isotope-refused")).toBe("retired");
    send?.close();
    expect(await (await running).text()).toBe("done a");
    try {
      for (let again = 0; again < 20; again += 1)
        expect((await call(pod, "/", { method: "POST" })).headers.get("x-isotope-refused")).toBe("retired");
    } catch (error) {
      // On a busy machine the moment may be over before twenty have asked.
      expect(error).toMatchObject({ cause: { code: "ECONNREFUSED" } });
    }
    expect((await ended) - refusedAt).toBeGreaterThan(400);
    expect(await pod.exited).toBe(0);
  });

  it("aborts what does not finish in the drain time", async () => {
    const pod = await startFunction(
      "addEventListener('beforeunload', (e) => console.log('unloading ' + e.detail.reason)); export default (r) => new Promise((_, no) => r.signal.addEventListener('abort', () => { console.log('aborted'); no(r.signal.reason) }))",
      {},
      { env: { ISOTOPE_DRAIN_MS: "100" } },
    );
    const running = call(pod).catch(() => null);
    await inFlight(pod, 1);
    pod.process.kill("SIGTERM");
    expect(await pod.exited).toBe(0);
    await running;
    expect(pod.lines().map((line) => line.msg)).toEqual(
      expect.arrayContaining(["unloading drain", "aborted"]),
    );
  });
});

describe("deadlines", () => {
  const SLOW = `export default async (r) => { r.signal.addEventListener("abort", () => console.log("aborted " + r.signal.reason.name)); await new Promise((go) => setTimeout(go, 300)); return new Response("late") }`;

  it.each([
    ["of the function", { timeoutMs: 50 }, {}],
    ["of the request", { timeoutMs: 0 }, { "x-isotope-timeout-ms": "50" }],
    ["of the request, when it is shorter", { timeoutMs: 10_000 }, { "x-isotope-timeout-ms": "50" }],
  ])("%s: the caller gets 504, the signal aborts, the slot comes back", async (_name, limits, headers) => {
    const pod = await startFunction(SLOW, { limits });
    const reply = await call(pod, "/", { headers: { ...headers, "x-fission-request-id": "r-1" } });
    expect([reply.status, reply.headers.get("x-isotope-error")]).toEqual([504, "function_timeout"]);
    expect(await reply.json()).toMatchObject({
      component: "function",
      reason: "function_timeout",
      requestId: "r-1",
    });
    await pod.line((line) => line.msg === "aborted TimeoutError");
    await inFlight(pod, 0);
  });

  it("does not touch requests that end in time", async () => {
    const pod = await startFunction(
      "export default async (r) => { await new Promise((go) => setTimeout(go, 20)); return new Response(String(r.signal.aborted)) }",
      { limits: { timeoutMs: 30_000 } },
    );
    const replies = await Promise.all(Array.from({ length: 30 }, async () => (await call(pod)).text()));
    expect(replies).toEqual(Array(30).fill("false"));
  });

  it("aborts the signal when the client leaves, and the slot comes back", async () => {
    const pod = await startFunction(
      "export default (r) => new Promise((_, no) => r.signal.addEventListener('abort', () => { console.log('left'); no(new DOMException('x', 'AbortError')) }))",
      { limits: { requestsPerPod: 1 } },
    );
    const leaving = new AbortController();
    const gone = call(pod, "/", { signal: leaving.signal }).catch(() => "gone");
    await inFlight(pod, 1);
    leaving.abort();
    expect(await gone).toBe("gone");
    await pod.line((line) => line.msg === "left");
    await inFlight(pod, 0);
  });

  it("signals asked for after the deadline are aborted at once", async () => {
    const pod = await startFunction(
      "export default async (r) => { await new Promise((go) => setTimeout(go, 100)); console.log('late ' + r.signal.aborted); return 'x' }",
      { limits: { timeoutMs: 30 } },
    );
    expect((await call(pod)).status).toBe(504);
    await pod.line((line) => line.msg === "late true");
  });
});

describe("bodies", () => {
  const READ =
    "globalThis.runs = 0; export default async (r) => { runs += 1; if (new URL(r.url).pathname === '/runs') return new Response(String(runs)); let n = 0; for await (const c of r.body ?? []) n += c.length; return new Response(String(n)) }";

  it("refuses an announced body above the limit before anything runs", async () => {
    const pod = await startFunction(READ, { limits: { maxBodyBytes: 1000 } });
    const reply = await call(pod, "/", { method: "POST", body: "x".repeat(1001) });
    expect([reply.status, reply.headers.get("x-isotope-error")]).toEqual([413, "body_too_large"]);
    expect(await (await call(pod, "/", { method: "POST", body: "x".repeat(1000) })).text()).toBe("1000");
    expect(await (await call(pod, "/runs")).text()).toBe("2");
    await inFlight(pod, 0);
  });

  it("stops a chunked body at the limit", async () => {
    const pod = await startFunction(READ, { limits: { maxBodyBytes: 1000 } });
    const body = (size: number) => new Blob(["x".repeat(size)]).stream();
    const fits = await call(pod, "/", { method: "POST", body: body(1000), duplex: "half" });
    expect(await fits.text()).toBe("1000");
    const reply = await call(pod, "/", { method: "POST", body: body(1001), duplex: "half" });
    expect([reply.status, reply.headers.get("x-isotope-error")]).toEqual([413, "body_too_large"]);
    await inFlight(pod, 0);
  });
});

describe("ctx.waitUntil", () => {
  it("holds the slot after the reply until the work is done, and logs a failure", async () => {
    const pod = await startFunction(
      `let finish; const work = new Promise((resolve) => { finish = resolve; });
       export default async (request, { waitUntil }) => {
         if (request.method === "POST") { await request.text(); finish(); return new Response("last"); }
         waitUntil(work.then(() => console.log("after")));
         waitUntil(Promise.reject(new Error("background")));
         return new Response("now");
       }`,
      { limits: { requestsPerPod: 2 } },
    );
    expect(await (await call(pod)).text()).toBe("now");
    expect(await status(pod)).toMatchObject({ inFlight: 1, idleMs: 0 });
    let send: ReadableStreamDefaultController<Uint8Array> | undefined;
    const body = new ReadableStream<Uint8Array>({ start: (controller) => void (send = controller) });
    const second = call(pod, "/", { method: "POST", body, duplex: "half" });
    send?.enqueue(Buffer.from("a"));
    await inFlight(pod, 2);
    expect((await call(pod)).headers.get("x-isotope-refused")).toBe("busy");
    send?.close();
    expect(await (await second).text()).toBe("last");
    await pod.line((line) => line.msg === "after");
    await inFlight(pod, 0);
    await pause(5);
    expect((await status(pod)).idleMs).toBeGreaterThan(0);
    expect((await pod.line((line) => line.msg.includes("background"))).level).toBe("error");
  });
});
