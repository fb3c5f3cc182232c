import { createHash, randomBytes } from "node:crypto";
import http from "node:http";
import type { Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { BodyError } from "../../engine/router/http/body-error.ts";
import type { Exchange, RelayFailure, RelayPlan } from "../../engine/router/http/types.ts";
import { type Core, listenOn, PLAN, RawClient, startCore, startEcho, startScript } from "./raw-exchange.ts";

/** Behaviour of the core that shows only over time: order, keeping alive, aborts, timeouts, pressure, tunnels. */

const closers: Array<() => unknown> = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

type Options = Parameters<typeof startCore>[1];

async function coreOf(onRequest: (exchange: Exchange, core: Core) => void, options?: Options): Promise<Core> {
  const core = await startCore(onRequest, options);
  closers.push(core.stop);
  return core;
}

/** A core in front of a scripted upstream; the script gets each connection. */
async function scripted(
  script: (socket: Socket) => void,
  options: Options & { plan?: Partial<RelayPlan> } = {},
): Promise<Core> {
  const { server, port } = await startScript((socket) => {
    closers.push(() => socket.destroy());
    script(socket);
  });
  closers.push(() => server.close());
  const plan = { ...PLAN, ...options.plan };
  return coreOf(
    (exchange, core) => exchange.relay(core.at(port), exchange.path + exchange.query, "", plan),
    options,
  );
}

/** Answers each head that arrives with the same bytes. */
function answering(response: string | Buffer): (socket: Socket) => void {
  return (socket) => socket.on("data", () => socket.write(response));
}

async function echoing(
  options: Options & { plan?: Partial<RelayPlan> } = {},
): Promise<Core & { seen: Awaited<ReturnType<typeof startEcho>>["seen"] }> {
  const echo = await startEcho();
  closers.push(() => {
    echo.server.close();
    echo.server.closeAllConnections();
  });
  const plan = { ...PLAN, ...options.plan };
  const core = await coreOf((exchange, { at }) => {
    if (exchange.path === "/local") exchange.reply(200, "", "local");
    else exchange.relay(at(echo.port), exchange.path + exchange.query, "", plan);
  }, options);
  return Object.assign(core, { seen: echo.seen });
}

function client(core: Core): RawClient {
  const raw = new RawClient(core.port);
  closers.push(() => raw.socket.destroy());
  return raw;
}

const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const get = (path: string, headers = ""): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n${headers}\r\n`;
const ok = (body: string, headers = ""): string =>
  `HTTP/1.1 200 OK\r\n${headers}Content-Length: ${body.length}\r\n\r\n${body}`;
const until = async (condition: () => boolean, timeoutMs = 30_000): Promise<boolean> => {
  const deadline = performance.now() + timeoutMs;
  while (!condition() && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 5));
  return condition();
};
/** A number once it has stood still for a while. */
const steady = async (value: () => number): Promise<number> => {
  for (;;) {
    const before = value();
    await sleep(300);
    if (value() === before) return before;
  }
};
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe("keeping alive", () => {
  it("serves one request after the other on a connection and upstream", async () => {
    const core = await echoing();
    const raw = client(core);
    for (let turn = 1; turn <= 3; turn++) {
      raw.send(get(`/${turn}`));
      expect(await raw.until(() => raw.statuses().length === turn)).toBe(true);
    }
    expect(core.upstreams.counters).toMatchObject({ connects: 1, requests: 3, reused: 2 });
    expect(core.listener.counters).toMatchObject({ connectionsAccepted: 1, requests: 3, inFlight: 0 });
  });

  it("answers pipelined requests in order, local replies among them", async () => {
    const core = await echoing();
    const raw = client(core);
    raw.send(get("/1") + get("/local") + get("/2") + get("/local") + get("/local") + get("/3"));
    await raw.until(() => raw.statuses().length === 6);
    expect([...raw.text.matchAll(/local|"url":"(\/\d)"/g)].map(([all, url]) => url ?? all)).toEqual([
      "/1",
      "local",
      "/2",
      "local",
      "local",
      "/3",
    ]);
  });

  it("parses what is pipelined behind a body that nobody read", async () => {
    const core = await echoing();
    const raw = client(core);
    raw.send(`POST /local HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n${"x".repeat(50_000)}`);
    await raw.until(() => raw.statuses().length === 1);
    raw.send("x".repeat(50_000) + get("/after"));
    expect(await raw.until(() => raw.text.includes('"/after"'))).toBe(true);
    expect(raw.statuses()).toEqual([200, 200]);
  });

  it("closes HTTP/1.0 connections unless asked to keep them", async () => {
    const core = await echoing();
    const plain = client(core);
    plain.send("GET / HTTP/1.0\r\n\r\n");
    expect(await plain.until(() => plain.closed)).toBe(true);
    expect(plain.text).toContain("connection: close\r\n");
    const kept = client(core);
    kept.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    await kept.until(() => kept.statuses().length === 1);
    expect(kept.text).toContain("connection: keep-alive\r\n");
    kept.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    expect(await kept.until(() => kept.statuses().length === 2)).toBe(true);
  });

  it("closes when the client asks to, and after the last allowed request", async () => {
    const core = await echoing({ limits: { maxRequestsPerConnection: 2 } });
    const asked = client(core);
    asked.send(get("/", "Connection: close\r\n"));
    expect(await asked.until(() => asked.closed)).toBe(true);
    const counted = client(core);
    counted.send(GET + GET + GET);
    expect(await counted.until(() => counted.closed)).toBe(true);
    expect(counted.statuses()).toEqual([200, 200]);
  });

  it("closes idle connections", async () => {
    const core = await echoing({ limits: { keepAliveTimeoutMs: 60 } });
    const raw = client(core);
    raw.send(GET);
    expect(await raw.until(() => raw.closed)).toBe(true);
    expect(raw.statuses()).toEqual([200]);
  });
});

describe("slow and silent clients", () => {
  it("answers 408 to a head that drips, however steadily", async () => {
    const core = await echoing({ limits: { headerTimeoutMs: 100 } });
    const raw = client(core);
    const timer = setInterval(() => raw.send("x"), 10);
    raw.send("GET / HTTP/1.1\r\nHost: a\r\nX-Drip: ");
    await raw.until(() => raw.closed || raw.statuses().length > 0);
    clearInterval(timer);
    expect(raw.statuses()).toEqual([408]);
  });

  it("ends connections that say nothing, and heads that drip on a kept connection", async () => {
    const core = await echoing({ limits: { headerTimeoutMs: 1_000 } });
    const silent = client(core);
    const second = client(core);
    second.send(GET);
    await second.until(() => second.statuses().length === 1);
    second.send("GET");
    expect(await silent.until(() => silent.closed)).toBe(true);
    expect(await second.until(() => second.closed)).toBe(true);
    expect(second.statuses()).toEqual([200, 408]);
  });

  it("answers 408 to a body that stops, and tells the upstream", async () => {
    let broken = false;
    const core = await scripted(
      (socket) => socket.on("data", () => undefined).on("close", () => (broken = true)),
      {
        limits: { bodyIdleTimeoutMs: 60 },
      },
    );
    const raw = client(core);
    raw.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
    await raw.until(() => raw.closed);
    expect(raw.statuses()).toEqual([408]);
    expect(core.ended).toMatchObject([{ outcome: "rejected", status: 408 }]);
    expect(await until(() => broken)).toBe(true);
  });

  it("answers 400 to a chunked body that turns bad while it is relayed", async () => {
    const core = await scripted((socket) => socket.on("data", () => undefined));
    const raw = client(core);
    raw.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    await until(() => core.listener.counters.inFlight === 1);
    raw.send("zz\r\n");
    await raw.until(() => raw.closed);
    expect(raw.statuses()).toEqual([400]);
    expect(core.ended).toMatchObject([{ outcome: "rejected" }]);
  });

  it("refuses connections beyond the limits", async () => {
    const core = await echoing({ limits: { maxConnectionsPerClient: 2 } });
    const [one, two, three] = [client(core), client(core), client(core)];
    expect(await three.until(() => three.closed || one.closed || two.closed)).toBe(true);
    expect(core.listener.counters).toMatchObject({ connectionsRefused: 1, connectionsOpen: 2 });
    for (const raw of [one, two, three]) raw.socket.destroy();
    expect(await until(() => core.listener.counters.connectionsOpen === 0)).toBe(true);
    const next = client(core);
    next.send(GET);
    expect(await next.until(() => next.statuses().length === 1)).toBe(true);
  });

  it("does not go on answering a client that never reads", async () => {
    const big = "y".repeat(20_000);
    const core = await coreOf((exchange) => exchange.reply(200, "", big));
    const raw = client(core);
    raw.socket.pause();
    for (let turn = 0; turn < 4000; turn++) raw.socket.write(GET);
    await sleep(300);
    const { requests } = core.listener.counters;
    expect(requests).toBeLessThan(2000);
    raw.socket.resume();
    expect(await until(() => core.listener.counters.requests === 4000, 60_000)).toBe(true);
  });
});

describe("framing towards the client", () => {
  it("omits bodies of HEAD, 204 and 304", async () => {
    const core = await scripted((socket) =>
      socket.on("data", (data) => {
        const text = data.toString();
        if (text.startsWith("HEAD")) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
        else if (text.includes("/204")) socket.write("HTTP/1.1 204 No Content\r\n\r\n");
        else socket.write("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\nETag: x\r\n\r\n");
      }),
    );
    const raw = client(core);
    raw.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    await raw.until(() => raw.text.includes("\r\n\r\n"));
    expect(raw.text).toContain("content-length: 5\r\n");
    raw.text = "";
    raw.send(get("/204"));
    await raw.until(() => raw.text.includes("\r\n\r\n"));
    expect(raw.text).not.toMatch(/content-length|transfer-encoding/i);
    raw.text = "";
    raw.send(get("/304"));
    await raw.until(() => raw.text.includes("\r\n\r\n"));
    expect(raw.text).toMatch(/304 Not Modified\r\n[^]*content-length: 7\r\n/);
    expect(core.upstreams.counters.connects).toBe(1);
  });

  it("frames chunked bodies anew and drops extensions and trailers", async () => {
    const core = await scripted(
      answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n",
      ),
    );
    const raw = client(core);
    raw.send(GET);
    await raw.until(() => raw.text.endsWith("0\r\n\r\n"));
    expect(raw.text.slice(raw.text.indexOf("\r\n\r\n") + 4)).toBe("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    expect(raw.text).not.toContain("Trailer");
    const old = client(core);
    old.send("GET / HTTP/1.0\r\n\r\n");
    await old.until(() => old.closed);
    expect(old.text.slice(old.text.indexOf("\r\n\r\n") + 4)).toBe("abcde");
  });

  it("turns a body until close into chunks", async () => {
    const core = await scripted((socket) =>
      socket.on("data", () => socket.end("HTTP/1.1 200 OK\r\n\r\nhello")),
    );
    const raw = client(core);
    raw.send(GET + GET);
    await raw.until(() => raw.text.split("0\r\n\r\n").length === 3);
    expect(raw.text.match(/5\r\nhello\r\n0\r\n\r\n/g)).toHaveLength(2);
  });

  it("passes on what a slow upstream sends as it comes", async () => {
    const core = await scripted((socket) =>
      socket.on("data", () => {
        socket.write(
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/event-stream\r\n\r\n",
        );
        setTimeout(() => socket.write("8\r\ndata: 1\n\r\n"), 30);
      }),
    );
    const raw = client(core);
    raw.send(GET);
    expect(await raw.until(() => raw.text.includes("\r\n\r\n"))).toBe(true);
    expect(await raw.until(() => raw.text.endsWith("8\r\ndata: 1\n\r\n"))).toBe(true);
  });

  it("adds a Date only where there is none, and swallows informational responses", async () => {
    const core = await scripted(answering(`HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n${ok("a")}`));
    const raw = client(core);
    raw.send(GET);
    await raw.until(() => raw.statuses().length === 1);
    expect(raw.text).toMatch(/^HTTP\/1\.1 200 OK\r\ndate: /);
    expect(raw.text).not.toContain("103");
    const dated = await scripted(answering(ok("a", "Date: then\r\n")));
    const other = client(dated);
    other.send(GET);
    await other.until(() => other.statuses().length === 1);
    expect(other.text.match(/date:/gi)).toHaveLength(1);
  });

  it("strips hop-by-hop, listed and internal headers both ways", async () => {
    let seen = "";
    const core = await scripted((socket) =>
      socket.on("data", (data) => {
        seen = data.toString("latin1");
        socket.write(
          ok(
            "a",
            "Connection: X-Own, keep-alive\r\nX-Own: 1\r\nKeep-Alive: timeout=5\r\nX-Isotope-Error: x\r\nX-Kept: 1\r\nUpgrade: h2c\r\nProxy-Authenticate: x\r\n",
          ),
        );
      }),
    );
    const raw = client(core);
    raw.send(
      get(
        "/",
        "Connection: close, X-Mine\r\nX-Mine: 1\r\nTE: trailers\r\nKeep-Alive: 1\r\nProxy-Authorization: x\r\nX-ISOTOPE-Pod: spoofed\r\nX-Kept: 1\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nTrailer: x\r\n",
      ),
    );
    await raw.until(() => raw.closed);
    expect(seen).toBe("GET / HTTP/1.1\r\nHost: a\r\nX-Kept: 1\r\n\r\n");
    expect(raw.text).toMatch(
      /^HTTP\/1\.1 200 OK\r\nX-Kept: 1\r\ndate: [^\r]*\r\ncontent-length: 1\r\nconnection: close\r\n\r\na$/,
    );
  });

  it.each([
    ["two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"],
    [
      "length and chunks",
      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
    ["odd length", "HTTP/1.1 200 OK\r\nContent-Length: 1x\r\n\r\na"],
    ["other coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"],
    ["chunks in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
    ["bare LF", "HTTP/1.1 200 OK\nContent-Length: 1\r\n\r\na"],
    ["folded header", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 1\r\n\r\na"],
    ["control character", "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 1\r\n\r\na"],
    ["space before colon", "HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\na"],
    ["no status", "HTTP/1.1 OK\r\n\r\n"],
    ["status of two digits", "HTTP/1.1 20 OK\r\n\r\n"],
    ["HTTP/2", "HTTP/2 200\r\n\r\n"],
    ["no HTTP", "hello\r\n\r\n"],
    ["unasked switch", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"],
    ["head too large", `HTTP/1.1 200 OK\r\nX: ${"y".repeat(70_000)}\r\n\r\n`],
  ])("answers 502 to an upstream's %s", async (_name, response) => {
    const core = await scripted(answering(response));
    const raw = client(core);
    raw.send(GET);
    await raw.until(() => raw.statuses().length === 1);
    expect(raw.statuses()).toEqual([502]);
    expect(core.failures).toEqual(["bad-response"]);
    expect(await until(() => core.upstreams.counters.open === 0)).toBe(true);
  });

  it("does not reuse an upstream connection with bytes left over", async () => {
    const core = await scripted(answering(`${ok("a")}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison`));
    const raw = client(core);
    raw.send(GET + GET);
    await raw.until(() => raw.statuses().length === 2);
    expect(raw.text).not.toContain("poison");
    expect(core.upstreams.counters.connects).toBe(2);
  });
});

describe("failing upstreams", () => {
  it("reports a refused connection as safe to repeat", async () => {
    const failures: RelayFailure[] = [];
    const { server, port } = await startScript(() => undefined);
    await new Promise((resolve) => server.close(resolve));
    const core = await coreOf((exchange, { at }) => exchange.relay(at(port), "/", "", PLAN), {
      handler: {
        onFailed: (exchange, failure) => {
          failures.push(failure);
          exchange.reply(502, "");
        },
      },
    });
    const raw = client(core);
    raw.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
    await raw.until(() => raw.statuses().length === 1);
    expect(failures).toMatchObject([{ kind: "connect", sent: false, reused: false, safeToRepeat: true }]);
  });

  it.each([
    ["GET", true],
    ["POST", false],
  ])("judges a %s whose kept connection was reset", async (method, safe) => {
    const failures: RelayFailure[] = [];
    let requests = 0;
    const { server, port } = await startScript((socket) =>
      socket.on("data", () => (++requests === 2 ? socket.destroy() : socket.write(ok("a")))),
    );
    closers.push(() => server.close());
    const core = await coreOf((exchange, { at }) => exchange.relay(at(port), "/", "", PLAN), {
      handler: {
        onFailed: (exchange, failure) => {
          failures.push(failure);
          if (failure.safeToRepeat) exchange.relay(failure.upstream, "/", "", PLAN);
          else exchange.reply(502, "");
        },
      },
    });
    const raw = client(core);
    const request = `${method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n`;
    raw.send(request);
    await raw.until(() => raw.statuses().length === 1);
    raw.send(request);
    await raw.until(() => raw.statuses().length === 2);
    expect(failures).toMatchObject([{ kind: "reset", sent: true, reused: true, safeToRepeat: safe }]);
    expect(raw.statuses()).toEqual([200, safe ? 200 : 502]);
  });

  it("reports a reset before the head, and cuts the client after it", async () => {
    const early = await scripted((socket) => socket.on("data", () => socket.destroy()));
    const raw = client(early);
    raw.send(GET);
    await raw.until(() => raw.statuses().length === 1);
    expect([raw.statuses(), early.failures]).toEqual([[502], ["reset"]]);
    for (const head of ["Content-Length: 100", "Transfer-Encoding: chunked"]) {
      const late = await scripted((socket) =>
        socket.on("data", () =>
          socket.write(`HTTP/1.1 200 OK\r\n${head}\r\n\r\n5\r\nabcde\r\n`, () => socket.destroy()),
        ),
      );
      const cut = client(late);
      cut.send(GET);
      expect(await cut.until(() => cut.closed)).toBe(true);
      expect(cut.text.endsWith("0\r\n\r\n")).toBe(false);
      expect(late.ended).toMatchObject([{ outcome: "upstream-broken", status: 200 }]);
    }
  });

  it("times out: no head, silence within a body, deadline of the whole", async () => {
    const silent = await scripted(() => undefined, { plan: { responseTimeoutMs: 60 } });
    const raw = client(silent);
    raw.send(GET);
    await raw.until(() => raw.statuses().length === 1);
    expect([raw.statuses(), silent.failures]).toEqual([[504], ["response-timeout"]]);

    const stuck = await scripted(
      (socket) => socket.on("data", () => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na")),
      {
        plan: { idleTimeoutMs: 60 },
      },
    );
    const second = client(stuck);
    second.send(GET);
    expect(await second.until(() => second.closed)).toBe(true);
    expect(stuck.ended).toMatchObject([{ outcome: "timeout", status: 200, bytesOut: 1 }]);

    const { server, port } = await startScript(() => undefined);
    closers.push(() => server.close());
    const dead = await coreOf((exchange, { at }) => {
      exchange.setDeadline(60);
      exchange.relay(at(port), "/", "", PLAN);
    });
    const third = client(dead);
    third.send(GET);
    await third.until(() => third.statuses().length === 1);
    expect(dead.failures).toEqual(["deadline"]);
  });

  it("passes an early response to a large upload on", async () => {
    const core = await scripted(
      (socket) =>
        socket.once("data", () => socket.write(`HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno`)),
      {
        plan: { expectContinue: false },
      },
    );
    const raw = client(core);
    raw.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n", Buffer.alloc(1_000_000));
    await raw.until(() => raw.statuses().length === 1);
    expect(raw.statuses()).toEqual([413]);
    expect(core.ended).toMatchObject([{ outcome: "relayed", status: 413 }]);
  });
});

describe("waiting", () => {
  it("may be kept waiting and answered later", async () => {
    let held: Exchange | undefined;
    const core = await coreOf((exchange) => (held = exchange));
    const raw = client(core);
    raw.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab");
    await until(() => held !== undefined);
    raw.send("c");
    expect(await until(() => held?.canResend === true)).toBe(true);
    held?.reply(202, "", "later");
    expect(await raw.until(() => raw.text.endsWith("later"))).toBe(true);
  });

  it("tells when its deadline passes, and when the client leaves", async () => {
    const core = await coreOf((exchange) => exchange.setDeadline(exchange.path === "/late" ? 50 : 0));
    const late = client(core);
    late.send(get("/late"));
    await late.until(() => late.statuses().length === 1);
    expect(late.statuses()).toEqual([504]);
    const gone = client(core);
    gone.send(get("/gone"));
    await until(() => core.listener.counters.inFlight === 1);
    gone.socket.destroy();
    expect(await until(() => core.ended.length === 2)).toBe(true);
    expect(core.ended[1]).toMatchObject({ outcome: "client-gone", path: "/gone" });
  });

  it("aborts upstream when the client leaves, by FIN or reset", async () => {
    for (const leave of ["end", "resetAndDestroy"] as const) {
      let broken = false;
      let asked = false;
      const core = await scripted((socket) => {
        socket.on("data", () => (asked = true));
        socket.on("close", () => (broken = true));
      });
      const raw = client(core);
      raw.send(GET);
      await until(() => asked);
      raw.socket[leave]();
      expect(await until(() => broken)).toBe(true);
      expect(core.ended).toMatchObject([{ outcome: "client-gone", status: 0 }]);
    }
  });

  it("refuses to reply or relay twice", async () => {
    const messages: string[] = [];
    const core = await coreOf((exchange, { at }) => {
      exchange.reply(200, "");
      for (const act of [() => exchange.reply(200, ""), () => exchange.relay(at(1), "/", "", PLAN)]) {
        try {
          act();
        } catch (error) {
          messages.push(String(error));
        }
      }
      expect(exchange.header("host")).toBeUndefined();
    });
    const raw = client(core);
    raw.send(GET);
    await raw.until(() => raw.statuses().length === 1);
    expect(messages).toHaveLength(2);
    expect(messages[0]).toMatch(/Cannot reply to exchange \d+: it must be open, got ended/);
  });
});

describe("refusals", () => {
  /** An upstream that refuses, and one that serves; the handler goes to the second after the first. */
  async function refusing(
    refuse: (socket: Socket) => void,
  ): Promise<{ core: Core; seen: Awaited<ReturnType<typeof startEcho>>["seen"] }> {
    const { server, port } = await startScript(refuse);
    const echo = await startEcho();
    closers.push(
      () => server.close(),
      () => echo.server.close(),
      () => echo.server.closeAllConnections(),
    );
    const core = await coreOf((exchange, { at }) => exchange.relay(at(port), exchange.path, "", PLAN), {
      handler: {
        onRefused: (exchange, refusal) => {
          expect(refusal).toEqual({ status: 429, reason: "busy", retryAfter: "1" });
          if (exchange.canResend) exchange.relay(core.at(echo.port), exchange.path, "", PLAN);
          else exchange.reply(503, "");
        },
      },
    });
    return { core, seen: echo.seen };
  }
  const REFUSAL =
    "HTTP/1.1 429 Too Many\r\nX-Isotope-Refused: busy\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\nno";

  it("lets a request with a small body go to another pod, unseen by the client", async () => {
    const { core, seen } = await refusing(answering(REFUSAL));
    const raw = client(core);
    raw.send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    await raw.until(() => raw.statuses().length === 1);
    expect(raw.statuses()).toEqual([200]);
    expect(seen).toMatchObject([{ body: "hello", url: "/x" }]);
    expect(core.upstreams.counters).toMatchObject({ refusals: 1, connects: 2, open: 2, idle: 2 });
  });

  it("never sends a large body to a pod that refuses, and all of it to the next", async () => {
    let received = 0;
    const { core, seen } = await refusing((socket) => {
      socket.on("data", (data) => {
        received += data.length;
        socket.write(REFUSAL);
      });
    });
    const body = "0123456789".repeat(100_000);
    const raw = client(core);
    raw.send(`POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n`, body);
    await raw.until(() => raw.statuses().length === 1);
    expect(raw.statuses()).toEqual([200]);
    expect(received).toBeLessThan(300);
    expect(seen[0]?.body === body).toBe(true);
  });

  it("sends the body in time to an upstream that never says 100", async () => {
    const body = Buffer.alloc(300_000, 120);
    let received = 0;
    const core = await scripted((socket) =>
      socket.on("data", (data) => {
        received += data.length;
        if (received >= body.length) socket.write(ok("done"));
      }),
    );
    const raw = client(core);
    raw.send(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n`, body);
    expect(await raw.until(() => raw.text.endsWith("done"))).toBe(true);
  });

  it("passes a 429 on that is no refusal", async () => {
    const core = await scripted(answering("HTTP/1.1 429 Too Many\r\nContent-Length: 2\r\n\r\nno"));
    const raw = client(core);
    raw.send(GET);
    await raw.until(() => raw.statuses().length === 1);
    expect(raw.statuses()).toEqual([429]);
  });
});

describe("request bodies", () => {
  it("sends 100 Continue when the body is wanted, and not when it is not", async () => {
    const core = await echoing();
    const raw = client(core);
    raw.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    expect(await raw.until(() => raw.text === "HTTP/1.1 100 Continue\r\n\r\n")).toBe(true);
    raw.send("abc");
    expect(await raw.until(() => raw.text.includes('"body":"abc"'))).toBe(true);
    const unwanted = client(core);
    unwanted.send("POST /local HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    expect(await unwanted.until(() => unwanted.closed)).toBe(true);
    expect(unwanted.text).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*connection: close/);
  });

  it("refuses bodies over the limit, declared or not", async () => {
    const core = await echoing({ plan: { maxBodyBytes: 10 } });
    const declared = client(core);
    declared.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n01234567890");
    const chunked = client(core);
    chunked.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n012345\r\n");
    await until(() => core.listener.counters.requests === 2);
    chunked.send("6\r\n012345\r\n0\r\n\r\n");
    await until(() => core.failures.length === 2);
    expect(core.failures).toEqual(["body-too-large", "body-too-large"]);
    expect(core.seen).toEqual([]);
  });

  it("collects a body, and may relay it afterwards", async () => {
    const echo = await startEcho();
    closers.push(
      () => echo.server.close(),
      () => echo.server.closeAllConnections(),
    );
    const core = await coreOf((exchange, { at }) => {
      exchange.readBody(1000).then(
        (body) => exchange.relay(at(echo.port), `/${body.length}`, "", PLAN),
        (error: unknown) => {
          if (error instanceof BodyError && error.code === "too-large")
            exchange.reply(413, "", error.message);
        },
      );
    });
    const raw = client(core);
    raw.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n");
    await raw.until(() => raw.text.includes("100 Continue"));
    raw.send("3\r\nabc\r\n");
    await sleep(20);
    raw.send("3\r\ndef\r\n0\r\n\r\n");
    expect(await raw.until(() => raw.text.includes('"url":"/6","body":"abcdef"'))).toBe(true);
    const large = client(core);
    large.send(
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
      `3e9\r\n${"x".repeat(1001)}\r\n0\r\n\r\n`,
    );
    expect(await large.until(() => large.statuses().length === 1)).toBe(true);
    expect(large.statuses()).toEqual([413]);
    const gone = client(core);
    gone.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab");
    await until(() => core.listener.counters.inFlight === 1);
    gone.socket.destroy();
    expect(await until(() => core.ended.some(({ outcome }) => outcome === "client-gone"))).toBe(true);
  });

  it("streams both ways at once", async () => {
    const server = http.createServer((request, response) => request.pipe(response));
    const port = await listenOn(server);
    closers.push(
      () => server.close(),
      () => server.closeAllConnections(),
    );
    const core = await coreOf((exchange, { at }) =>
      exchange.relay(at(port), "/", "", { ...PLAN, expectContinue: false }),
    );
    const raw = client(core);
    raw.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (const word of ["one", "two", "six"]) {
      raw.send(`3\r\n${word}\r\n`);
      expect(await raw.until(() => raw.text.endsWith(`3\r\n${word}\r\n`))).toBe(true);
    }
    raw.send("0\r\n\r\n");
    expect(await raw.until(() => raw.text.endsWith("\r\n0\r\n\r\n"))).toBe(true);
  });
});

describe("pressure", () => {
  it("stops reading the upstream while the client does not read", async () => {
    let written = 0;
    const part = Buffer.alloc(65_536, 97);
    const core = await scripted((socket) => {
      const pump = (): void => {
        while (written < 300_000_000 && socket.writable) {
          written += part.length;
          if (!socket.write(part)) return;
        }
      };
      socket.on("drain", pump);
      socket.once("data", () => {
        socket.write("HTTP/1.1 200 OK\r\nContent-Length: 300023808\r\n\r\n");
        pump();
      });
    });
    const raw = client(core);
    raw.socket.pause();
    raw.send(GET);
    expect(await steady(() => written)).toBeLessThan(40_000_000);
  });

  it("stops reading the client while the upstream does not read", async () => {
    const core = await scripted((socket) => socket.pause(), { plan: { expectContinue: false } });
    const raw = client(core);
    raw.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n");
    const part = Buffer.alloc(65_536, 97);
    for (let turn = 0; turn < 1500; turn++) raw.socket.write(part);
    const sent = () => raw.socket.bytesWritten - raw.socket.writableLength;
    expect(await steady(sent)).toBeLessThan(40_000_000);
  });

  it("delivers every byte to slow readers side by side", async () => {
    const bodies = Array.from({ length: 12 }, () => randomBytes(3_000_000));
    const server = http.createServer((request, response) => {
      const body = bodies[Number(request.url?.slice(1))] ?? Buffer.alloc(0);
      if (request.headers["x-chunked"] === undefined) response.setHeader("content-length", body.length);
      for (let at = 0; at < body.length; at += 50_001) response.write(body.subarray(at, at + 50_001));
      response.end();
    });
    const port = await listenOn(server);
    closers.push(
      () => server.close(),
      () => server.closeAllConnections(),
    );
    const core = await coreOf((exchange, { at }) => exchange.relay(at(port), exchange.path, "", PLAN));
    const digests = await Promise.all(
      bodies.map(
        (_, index) =>
          new Promise<string>((resolve, reject) => {
            const headers = index % 2 === 0 ? {} : { "x-chunked": "1" };
            http.get(
              { port: core.port, host: "127.0.0.1", path: `/${index}`, agent: false, headers },
              (response) => {
                const hash = createHash("sha256");
                response.on("data", (chunk: Buffer) => {
                  hash.update(chunk);
                  if (Math.random() < 0.3) {
                    response.pause();
                    setTimeout(() => response.resume(), 2);
                  }
                });
                response.on("end", () => resolve(hash.digest("hex")));
                response.on("error", reject);
              },
            );
          }),
      ),
    );
    expect(digests).toEqual(bodies.map((body) => createHash("sha256").update(body).digest("hex")));
  });

  it("keeps what it has read of an upload that nobody takes yet, and stays awake", async () => {
    const server = http.createServer((request, response) => {
      const hash = createHash("sha256");
      request.on("data", (chunk: Buffer) => hash.update(chunk));
      request.on("end", () => response.end(hash.digest("hex")));
    });
    const port = await listenOn(server);
    closers.push(
      () => server.close(),
      () => server.closeAllConnections(),
    );
    const late = { ...PLAN, responseTimeoutMs: 30_000, idleTimeoutMs: 30_000 };
    // The pod comes late: until then only a small part of the body is held.
    const core = await coreOf(
      (exchange, { at }) => {
        if (exchange.path === "/other") exchange.reply(204, "", undefined);
        else setTimeout(() => exchange.relay(at(port), "/", "", late), 100);
      },
      { limits: { retainBodyBytes: 1000 } },
    );
    const body = randomBytes(300_000);
    for (const framing of ["Transfer-Encoding: chunked", `Content-Length: ${body.length}`]) {
      const raw = client(core);
      const chunked = framing.startsWith("Transfer");
      const parts = Array.from({ length: 30 }, (_, at) => body.subarray(at * 10_000, (at + 1) * 10_000));
      const bytes = chunked
        ? Buffer.concat([
            ...parts.flatMap((part) => [
              Buffer.from(`${part.length.toString(16)}\r\n`),
              part,
              Buffer.from("\r\n"),
            ]),
            Buffer.from("0\r\n\r\n"),
          ])
        : body;
      raw.send(`POST / HTTP/1.1\r\nHost: a\r\n${framing}\r\n\r\n`, bytes);
      await sleep(30);
      const other = client(core);
      other.send("GET /other HTTP/1.1\r\nHost: a\r\n\r\n");
      await other.until(() => other.statuses().length === 1, 60_000);
      await raw.until(() => raw.statuses().length === 1, 60_000);
      expect(raw.text).toContain(createHash("sha256").update(body).digest("hex"));
    }
  });

  it("sends every byte of uploads side by side to slow upstreams", async () => {
    const server = http.createServer((request, response) => {
      const hash = createHash("sha256");
      request.on("data", (chunk: Buffer) => {
        hash.update(chunk);
        if (Math.random() < 0.3) {
          request.pause();
          setTimeout(() => request.resume(), 2);
        }
      });
      request.on("end", () => response.end(hash.digest("hex")));
    });
    const port = await listenOn(server);
    closers.push(
      () => server.close(),
      () => server.closeAllConnections(),
    );
    // A small window makes bytes stream on that came in one read with their head.
    const limits = { retainBodyBytes: 1000 };
    const core = await coreOf(
      (exchange, { at }) =>
        exchange.relay(at(port), "/", "", {
          ...PLAN,
          // Time is not what this test is about: on a loaded machine 24 MB take as long as they take.
          responseTimeoutMs: 60_000,
          idleTimeoutMs: 60_000,
          expectContinue: exchange.path === "/wait",
        }),
      { limits },
    );
    const bodies = Array.from({ length: 12 }, () => randomBytes(2_000_000));
    const digests = await Promise.all(
      bodies.map(async (body, index) => {
        const raw = client(core);
        const framing = index % 3 === 0 ? "Transfer-Encoding: chunked" : `Content-Length: ${body.length}`;
        raw.send(`POST ${index % 2 === 0 ? "/wait" : "/"} HTTP/1.1\r\nHost: a\r\n${framing}\r\n\r\n`);
        for (let at = 0; at < body.length; at += 70_001) {
          const part = body.subarray(at, at + 70_001);
          if (index % 3 === 0) raw.send(`${part.length.toString(16)}\r\n`, part, "\r\n");
          else raw.send(part);
        }
        if (index % 3 === 0) raw.send("0\r\n\r\n");
        await raw.until(() => raw.statuses().length === 1, 100_000);
        return raw.text.slice(raw.text.indexOf("\r\n\r\n") + 4).match(/[0-9a-f]{64}/)?.[0];
      }),
    );
    expect(digests).toEqual(bodies.map((body) => createHash("sha256").update(body).digest("hex")));
  });

  it.each([0, 1, 100, 16_383, 16_384, 16_385, 65_000, 65_536, 200_000, 2_000_000])(
    "carries %d bytes up and down unchanged",
    async (length) => {
      const body = randomBytes(length);
      const server = http.createServer((request, response) => {
        const parts: Buffer[] = [];
        request.on("data", (chunk: Buffer) => parts.push(chunk));
        request.on("end", () => response.end(Buffer.concat(parts)));
      });
      const port = await listenOn(server);
      closers.push(
        () => server.close(),
        () => server.closeAllConnections(),
      );
      const core = await coreOf((exchange, { at }) => exchange.relay(at(port), "/", "", PLAN));
      for (let turn = 0; turn < 2; turn++) {
        const response = await fetch(`http://127.0.0.1:${core.port}/`, { method: "POST", body });
        expect(Buffer.from(await response.arrayBuffer()).equals(body)).toBe(true);
      }
    },
  );
});

describe("pools", () => {
  it("makes requests wait for a connection in order, bounded in number and time", async () => {
    const order: string[] = [];
    let answer = (): unknown => undefined;
    const core = await scripted(
      (socket) =>
        socket.on("data", (data) => {
          order.push(/ (\/\d)/.exec(data.toString())?.[1] ?? "");
          answer = () => socket.write(ok("a"));
        }),
      { pool: { maxConnections: 1, maxWaiting: 2 }, plan: { connectTimeoutMs: 3_000 } },
    );
    const raws = [0, 1, 2].map(() => client(core));
    for (const [index, raw] of raws.entries()) {
      raw.send(get(`/${index}`));
      await until(() => core.listener.counters.requests === index + 1 && order.length === 1);
    }
    const full = client(core);
    full.send(get("/9"));
    await full.until(() => full.statuses().length === 1);
    answer();
    await until(() => order.length === 2);
    await raws[2]?.until((raw) => raw.statuses().length === 1);
    answer();
    await Promise.all(raws.map((raw) => raw.until(() => raw.statuses().length === 1)));
    expect(order).toEqual(["/0", "/1"]);
    expect(core.failures).toEqual(["queue-full", "queue-timeout"]);
    expect(raws.map((raw) => raw.statuses()[0])).toEqual([200, 200, 504]);
    expect(core.upstreams.counters.connects).toBe(1);
  });

  it("closes idle connections after their time, sooner when the upstream says so", async () => {
    const core = await scripted(answering(ok("a")), { pool: { idleTimeoutMs: 1_000 } });
    const raw = client(core);
    raw.send(GET);
    await raw.until(() => raw.statuses().length === 1);
    expect(core.upstreams.counters.idle).toBe(1);
    expect(await until(() => core.upstreams.counters.open === 0)).toBe(true);
    const hinted = await scripted(answering(ok("a", "Keep-Alive: timeout=1\r\n")));
    const other = client(hinted);
    other.send(GET);
    await other.until(() => other.statuses().length === 1);
    expect(await until(() => hinted.upstreams.counters.open === 0)).toBe(true);
  });

  it("gives waiting requests back when an address is given up, and lets running ones finish", async () => {
    let answer: (() => unknown) | undefined;
    const { server, port } = await startScript((socket) =>
      socket.on("data", () => (answer = () => socket.write(ok("a")))),
    );
    closers.push(() => server.close());
    const core = await coreOf((exchange, { at }) => exchange.relay(at(port), "/", "", PLAN), {
      pool: { maxConnections: 1 },
    });
    const [one, two] = [client(core), client(core)];
    one.send(GET);
    await until(() => core.upstreams.counters.requests === 1);
    two.send(GET);
    await until(() => core.at(port).waiting === 1 && answer !== undefined);
    expect(core.at(port).active).toBe(2);
    core.at(port).close();
    answer?.();
    await Promise.all([one, two].map((raw) => raw.until(() => raw.statuses().length === 1)));
    expect([one.statuses(), two.statuses(), core.failures]).toEqual([[200], [502], ["closed"]]);
    expect(await until(() => core.upstreams.counters.open === 0)).toBe(true);
  });
});

describe("tunnels", () => {
  const UPGRADE = get(
    "/chat",
    "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n",
  );

  it("carries bytes both ways, ends in order and counts", async () => {
    let head = "";
    const core = await scripted((socket) => {
      socket.once("data", (data) => {
        head = data.toString();
        socket.write(
          "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: y\r\n\r\nhi",
        );
        socket.on("data", (chunk) => socket.write(chunk));
        socket.on("end", () => socket.end("bye"));
      });
    });
    const raw = client(core);
    raw.send(UPGRADE);
    expect(await raw.until(() => raw.text.endsWith("\r\n\r\nhi"))).toBe(true);
    expect(head).toMatch(/Sec-WebSocket-Key: x\r\n[^]*connection: Upgrade\r\nupgrade: websocket\r\n/);
    expect(raw.text).toMatch(
      /^HTTP\/1\.1 101 Switching Protocols\r\nSec-WebSocket-Accept: y\r\n[^]*connection: Upgrade\r\nupgrade: websocket/,
    );
    expect(core.listener.counters.tunnelsOpen).toBe(1);
    raw.send("frame");
    expect(await raw.until(() => raw.text.endsWith("frame"))).toBe(true);
    raw.socket.end();
    expect(await raw.until(() => raw.closed)).toBe(true);
    expect(raw.text.endsWith("bye")).toBe(true);
    expect(core.ended).toMatchObject([{ outcome: "tunnel", status: 101, bytesIn: 5, bytesOut: 10 }]);
    expect(core.listener.counters.tunnelsOpen).toBe(0);
  });

  it("ends when the upstream dies and when nothing is said", async () => {
    const core = await scripted((socket) =>
      socket.once("data", () =>
        socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", () =>
          setTimeout(() => socket.destroy(), 30),
        ),
      ),
    );
    const raw = client(core);
    raw.send(UPGRADE);
    expect(await raw.until(() => raw.closed)).toBe(true);
    const silent = await scripted(
      (socket) =>
        socket.once("data", () =>
          socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"),
        ),
      {
        plan: { idleTimeoutMs: 60 },
      },
    );
    const other = client(silent);
    other.send(UPGRADE);
    expect(await other.until(() => other.closed)).toBe(true);
    expect(await until(() => silent.ended.length === 1 && core.ended.length === 1)).toBe(true);
    expect([core.ended[0]?.outcome, silent.ended[0]?.outcome]).toEqual(["tunnel", "tunnel"]);
  });

  it("passes a refusal to switch on as an ordinary response", async () => {
    const core = await scripted(answering("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"));
    const raw = client(core);
    raw.send(UPGRADE + GET);
    await raw.until(() => raw.statuses().length === 2);
    expect(raw.statuses()).toEqual([403, 403]);
  });

  it.each([
    [
      "h2c",
      get(
        "/",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
      ),
      true,
    ],
    ["a list", get("/", "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n"), true],
    [
      "a POST",
      "POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n",
      true,
    ],
    ["an unlisted one", get("/", "Upgrade: websocket\r\n"), true],
    ["one not allowed", UPGRADE, false],
  ])("treats the upgrade of %s as no upgrade", async (_name, request, allowUpgrade) => {
    let head = "";
    const core = await scripted(
      (socket) =>
        socket.on("data", (data) => {
          head = data.toString();
          socket.write(ok("a"));
        }),
      { plan: { allowUpgrade } },
    );
    const raw = client(core);
    raw.send(request);
    await raw.until(() => raw.statuses().length === 1);
    expect(raw.statuses()).toEqual([200]);
    expect(head).not.toMatch(/upgrade|settings/i);
  });
});

describe("drain", () => {
  it("finishes what runs, tells clients to go, accepts nothing new", async () => {
    let answer: (() => unknown) | undefined;
    const core = await scripted((socket) => socket.on("data", () => (answer = () => socket.write(ok("a")))));
    const [busy, idle] = [client(core), client(core)];
    busy.send(GET);
    await until(() => answer !== undefined && core.listener.counters.connectionsOpen === 2);
    const closed = core.listener.close(60_000);
    expect(await idle.until(() => idle.closed)).toBe(true);
    const late = client(core);
    expect(await late.until(() => late.closed)).toBe(true);
    answer?.();
    expect(await closed).toBe(0);
    expect(busy.statuses()).toEqual([200]);
    expect(busy.text).toContain("connection: close");
  });

  it("ends each connection with its next response before it stops listening", async () => {
    const core = await scripted((socket) => socket.on("data", () => socket.write(ok("a"))));
    const [kept, idle] = [client(core), client(core)];
    kept.send(GET);
    await kept.until(() => kept.statuses().length === 1);
    expect(kept.text).not.toContain("connection: close");
    core.listener.drain();
    kept.send(GET);
    expect(await kept.until(() => kept.closed)).toBe(true);
    expect(kept.statuses()).toEqual([200, 200]);
    expect(kept.text).toContain("connection: close");
    const late = client(core);
    late.send(GET);
    expect(await late.until(() => late.closed)).toBe(true);
    expect(late.statuses()).toEqual([200]);
    idle.send(GET);
    expect(await idle.until(() => idle.closed)).toBe(true);
    expect(idle.statuses()).toEqual([200]);
    expect(await core.listener.close(1000)).toBe(0);
  });

  it("cuts what does not finish in time, and counts it", async () => {
    const core = await scripted(() => undefined);
    const raw = client(core);
    raw.send(GET);
    await until(() => core.listener.counters.inFlight === 1);
    expect(await core.listener.close(60)).toBe(1);
    expect(await raw.until(() => raw.closed)).toBe(true);
    expect(core.listener.counters).toMatchObject({ inFlight: 0, connectionsOpen: 0 });
  });

  it("shares a port between listeners", async () => {
    if (process.platform !== "linux") return;
    const one = await coreOf((exchange) => exchange.reply(200, ""));
    const two = await coreOf((exchange) => exchange.reply(200, ""));
    const port = await one.listener.listen("127.0.0.1", 0, { reusePort: true }).catch(() => 0);
    expect(port === 0 || (await two.listener.listen("127.0.0.1", port, { reusePort: true })) === port).toBe(
      true,
    );
  });
});
