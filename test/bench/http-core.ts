/**
 * CPU and throughput of the router's HTTP core, beside the same proxy made of node:http and undici, in the same run.
 *
 *   node test/bench/http-core.ts [seconds per measurement, default 5]
 *
 * Roles run as child processes of this file; the load comes from wrk. The proxies do the same work: find one of the routes, strip
 * internal headers, add eight headers, relay through a keep-alive pool, add a request id to the response.
 */
import { type ChildProcess, execFileSync, fork, spawnSync } from "node:child_process";
import http from "node:http";
import net from "node:net";
import os from "node:os";
import { fileURLToPath } from "node:url";
import { Agent } from "undici";
import { compileHeaderFilter } from "../../engine/router/http/header-filter.ts";
import { createListener } from "../../engine/router/http/listener.ts";
import { createRouteTable } from "../../engine/router/http/routes.ts";
import type { RelayPlan, Route } from "../../engine/router/http/types.ts";
import { createUpstreams } from "../../engine/router/http/upstream.ts";

const SELF = fileURLToPath(import.meta.url);
const GIB = 1024 ** 3;
const ADDED: Record<string, string> = {
  "x-isotope-pod": "0b6c0e7e-8f3e-4a55-9f0c-0d9b6b1f2c11",
  "x-isotope-revision": "sha256-4b227777d4dd1fc61c6f884f48641d02b4d121d3fd328cb08b5531fcacdabf8a",
  "x-fission-function-name": "hello",
  "x-fission-function-namespace": "default",
  "x-fission-function-uid": "5f4a1bd2-3b61-4a0e-9a52-7b6a0a3d9d10",
  "x-fission-function-resourceversion": "4711",
  "x-forwarded-proto": "http",
};
const BLOCK = Object.entries(ADDED)
  .map(([name, value]) => `${name}: ${value}\r\n`)
  .join("");

interface Message {
  readonly port?: number;
  readonly cpu?: number;
  readonly rss?: number;
}

const [role = "main", first = "", second = "", third = ""] = process.argv.slice(2);
if (role === "upstream") serveUpstream();
else if (role === "core") void serveCore(Number(first), Number(second), third === "log");
else if (role === "undici") serveUndici(Number(first), Number(second));
else await main(role === "main" ? 5 : Number(role));

/** A raw server that answers every request of a read with a fixed response; /down and /up stream a GiB. */
function serveUpstream(): void {
  const reply = Buffer.from(
    "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 13\r\n\r\nHello, world\n",
  );
  const part = Buffer.alloc(65_536, 97);
  const server = net.createServer({ noDelay: true }, (socket) => {
    socket.on("error", () => undefined);
    let awaited = 0;
    socket.on("data", (chunk: Buffer) => {
      if (awaited > 0) {
        awaited -= chunk.length;
        if (awaited <= 0) socket.write(reply);
        return;
      }
      const head = chunk.toString("latin1", 0, 12);
      if (head.startsWith("GET /down")) {
        socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${GIB}\r\n\r\n`);
        let left = GIB;
        const pump = (): void => {
          while (left > 0) {
            left -= part.length;
            if (!socket.write(part)) return;
          }
          socket.off("drain", pump);
        };
        socket.on("drain", pump);
        pump();
      } else if (head.startsWith("POST /up")) {
        socket.write("HTTP/1.1 100 Continue\r\n\r\n");
        awaited = GIB - (chunk.length - chunk.indexOf("\r\n\r\n") - 4);
      } else socket.write(reply);
    });
  });
  server.listen(0, "127.0.0.1", 4096, () => ready(server.address()));
}

function ready(address: string | net.AddressInfo | null): void {
  if (typeof address === "object" && address !== null) process.send?.({ port: address.port });
  report();
}

function report(): void {
  process.on("message", () => {
    const { user, system } = process.cpuUsage();
    process.send?.({ cpu: user + system, rss: process.memoryUsage.rss() });
  });
  process.on("disconnect", () => process.exit());
}

function makeRoutes(count: number): Route<string>[] {
  return Array.from({ length: count }, (_, index) => ({
    id: `r${index}`,
    host: undefined,
    methods: ["GET", "POST"],
    path: index % 10 === 9 ? `/api/v${index}/items/{id}` : `/api/v${index}/items`,
    prefix: false,
    order: index,
    payload: BLOCK,
  }));
}

async function serveCore(upstreamPort: number, routeCount: number, log: boolean): Promise<void> {
  const upstreams = createUpstreams();
  const upstream = upstreams.at("127.0.0.1", upstreamPort);
  const routes = createRouteTable<string>();
  routes.replace(makeRoutes(routeCount));
  const plan: RelayPlan = {
    requestFilter: compileHeaderFilter({
      strip: ["forwarded"],
      stripPrefixes: ["x-isotope-", "x-fission-", "x-forwarded-"],
    }),
    responseFilter: compileHeaderFilter({ strip: [], stripPrefixes: ["x-isotope-", "x-fission-"] }),
    refusalHeader: "x-isotope-refused",
    expectContinue: true,
    connectTimeoutMs: 2000,
    responseTimeoutMs: 60_000,
    idleTimeoutMs: 60_000,
    maxBodyBytes: 2 * GIB,
    allowUpgrade: true,
  };
  const listener = createListener(
    {
      onRequest(exchange) {
        const match = routes.match(exchange.method, exchange.hostname, exchange.path);
        if (match.kind === "route") {
          exchange.context = exchange.id.toString(36);
          exchange.setDeadline(60_000);
          const added = `${match.route.payload}x-fission-request-id: ${exchange.id.toString(36)}\r\n`;
          exchange.relay(upstream, exchange.path + exchange.query, added, plan);
        } else if (exchange.path === "/down" || exchange.path === "/up")
          exchange.relay(upstream, exchange.path, "", plan);
        else exchange.reply(404, "", "not found\n");
      },
      onRefused: (exchange) => exchange.reply(503, ""),
      onFailed: (exchange, failure) => exchange.reply(502, "", failure.message),
      onResponse: (exchange) => `x-fission-request-id: ${exchange.id.toString(36)}\r\n`,
      onDeadline: (exchange) => exchange.reply(504, ""),
      onEnd: (exchange) => {
        if (log && exchange.outcome !== "relayed" && exchange.outcome !== "client-gone")
          console.log(exchange.outcome, exchange.status);
      },
    },
    { upstreams },
  );
  process.send?.({ port: await listener.listen("127.0.0.1", 0) });
  report();
}

function serveUndici(upstreamPort: number, routeCount: number): void {
  const routes = createRouteTable<string>();
  routes.replace(makeRoutes(routeCount));
  const agent = new Agent({ connections: 1024, pipelining: 1 });
  const origin = `http://127.0.0.1:${upstreamPort}`;
  const server = http.createServer((request, response) => {
    const path = request.url ?? "/";
    const match = routes.match(request.method ?? "", "", path);
    if (match.kind !== "route") {
      response.writeHead(404).end();
      return;
    }
    const headers: Record<string, string> = {
      ...ADDED,
      "x-fission-request-id": "1",
      host: request.headers.host ?? "",
    };
    for (let index = 0; index < request.rawHeaders.length; index += 2) {
      const name = (request.rawHeaders[index] ?? "").toLowerCase();
      if (name === "host" || name === "connection" || name === "forwarded" || name.startsWith("x-")) continue;
      headers[name] = request.rawHeaders[index + 1] ?? "";
    }
    agent.dispatch(
      { origin, path, method: "GET", headers },
      {
        onRequestStart: () => undefined,
        onResponseStart: (_controller, status, upstreamHeaders) => {
          response.writeHead(status, { ...upstreamHeaders, "x-fission-request-id": "1" });
        },
        onResponseData: (_controller, chunk) => void response.write(chunk),
        onResponseEnd: () => void response.end(),
        onResponseError: () => void response.destroy(),
      },
    );
  });
  server.listen(0, "127.0.0.1", 4096, () => ready(server.address()));
}

function start(...args: string[]): Promise<{ child: ChildProcess; port: number }> {
  const child = fork(SELF, args, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  return new Promise((resolve) => {
    child.once("message", (message: Message) => resolve({ child, port: message.port ?? 0 }));
  });
}

function ask(child: ChildProcess): Promise<{ cpu: number; rss: number }> {
  return new Promise((resolve) => {
    child.once("message", (message: Message) => resolve({ cpu: message.cpu ?? 0, rss: message.rss ?? 0 }));
    child.send("report");
  });
}

interface Load {
  readonly rps: number;
  readonly requests: number;
  readonly p50: string;
  readonly p99: string;
  readonly errors: string;
}

async function wrk(url: string, connections: number, seconds: number): Promise<Load> {
  const { spawn } = await import("node:child_process");
  const args = [
    "-t1",
    `-c${connections}`,
    `-d${seconds}s`,
    "--latency",
    "-H",
    "Accept: application/json",
    "-H",
    `User-Agent: ${"bench".repeat(8)}`,
    "-H",
    "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark",
    "-H",
    "Accept-Encoding: gzip, deflate, br",
    url,
  ];
  const child = spawn("wrk", args);
  let out = "";
  child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
  await new Promise((resolve) => child.on("close", resolve));
  const take = (pattern: RegExp): string => pattern.exec(out)?.[1] ?? "-";
  return {
    rps: Number(take(/Requests\/sec:\s+([\d.]+)/)),
    requests: Number(take(/(\d+) requests in/)),
    p50: take(/^\s+50%\s+(\S+)/m),
    p99: take(/^\s+99%\s+(\S+)/m),
    errors: /Socket errors.*|Non-2xx.*/.exec(out)?.[0] ?? "",
  };
}

async function measure(
  child: ChildProcess,
  url: string,
  connections: number,
  seconds: number,
): Promise<{ load: Load; cpu: number; rss: number }> {
  await wrk(url, connections, 1);
  const before = await ask(child);
  const load = await wrk(url, connections, seconds);
  const after = await ask(child);
  return { load, cpu: (after.cpu - before.cpu) / load.requests, rss: after.rss };
}

async function stream(child: ChildProcess, port: number, up: boolean): Promise<string> {
  const socket = net.connect(port, "127.0.0.1");
  const started = performance.now();
  let peak = 0;
  const timer = setInterval(() => void ask(child).then(({ rss }) => (peak = Math.max(peak, rss))), 100);
  let received = 0;
  await new Promise<void>((resolve, reject) => {
    socket.on("error", reject);
    socket.on("data", (chunk: Buffer) => {
      received += chunk.length;
      if (received >= GIB || (up && chunk.includes("Hello"))) resolve();
    });
    if (up) {
      socket.write(`POST /up HTTP/1.1\r\nHost: bench\r\nContent-Length: ${GIB}\r\n\r\n`);
      const part = Buffer.alloc(65_536, 98);
      let left = GIB;
      const pump = (): void => {
        while (left > 0) {
          left -= part.length;
          if (!socket.write(part)) return;
        }
      };
      socket.on("drain", pump);
      pump();
    } else socket.write("GET /down HTTP/1.1\r\nHost: bench\r\n\r\n");
  });
  clearInterval(timer);
  socket.destroy();
  const seconds = (performance.now() - started) / 1000;
  return `${(GIB / 1e9 / seconds).toFixed(2)} GB/s, peak RSS ${(peak / 2 ** 20).toFixed(0)} MiB`;
}

async function main(seconds: number): Promise<void> {
  if (spawnSync("wrk", ["-v"]).error !== undefined) {
    console.error("Cannot run the benchmark: wrk must be on PATH (https://github.com/wg/wrk)");
    process.exitCode = 1;
    return;
  }
  const cpus = os.cpus();
  const kernel = execFileSync("uname", ["-r"]).toString().trim();
  console.log(
    `HTTP core: ${cpus.length} x ${cpus[0]?.model ?? "?"}, Linux ${kernel}, Node ${process.versions.node}, load ${os.loadavg()[0]?.toFixed(1)} at start`,
  );
  console.log(
    `wrk -t1, raw upstream, all on loopback and the same CPUs; ${seconds} s each after 1 s of warm-up; CPU = user + system of the proxy process\n`,
  );
  const upstream = await start("upstream");
  const core = await start("core", String(upstream.port), "1000", "log");
  const plain = await start("undici", String(upstream.port), "1000");
  const many = await start("core", String(upstream.port), "10000", "log");
  const few = await start("core", String(upstream.port), "10", "log");
  const path = "/api/v7/items";
  const url = (port: number, at = path): string => `http://127.0.0.1:${port}${at}`;
  console.log(
    "connections | variant            | CPU us/request |    rps |     p50 |     p99 | ratio of CPU, errors",
  );
  const row = (
    connections: number,
    name: string,
    result: Awaited<ReturnType<typeof measure>>,
    note: string,
  ): void => {
    const { load, cpu } = result;
    console.log(
      `${String(connections).padStart(11)} | ${name.padEnd(18)} | ${cpu.toFixed(1).padStart(14)} | ${load.rps.toFixed(0).padStart(6)} | ${load.p50.padStart(7)} | ${load.p99.padStart(7)} | ${note} ${load.errors}`,
    );
  };
  for (const connections of [1, 50, 500]) {
    const own = await measure(core.child, url(core.port), connections, seconds);
    const other = await measure(plain.child, url(plain.port), connections, seconds);
    row(connections, "core", own, connections === 50 ? "target: CPU <= 25, rps >= 15000" : "");
    row(connections, "node:http + undici", other, `x ${(other.cpu / own.cpu).toFixed(1)}`);
  }
  row(50, "core, 10 routes", await measure(few.child, url(few.port), 50, seconds), "");
  row(
    50,
    "core, 10000 routes",
    await measure(many.child, url(many.port, "/api/v9998/items"), 50, seconds),
    "target: as 10 routes",
  );
  row(50, "10000, {id}", await measure(many.child, url(many.port, "/api/v9999/items/4711"), 50, seconds), "");
  console.log(`\n1 GiB down: ${await stream(core.child, core.port, false)} (target: flat memory)`);
  console.log(`1 GiB up:   ${await stream(core.child, core.port, true)}`);
  for (const { child } of [upstream, core, plain, many, few]) child.disconnect();
}
