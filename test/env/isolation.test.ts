import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loopbackPorts, METADATA_ADDRESSES } from "../../env-images/deno/flags.ts";
import { cidrsWithout } from "../../localkube/kubelet/addresses.ts";
import {
  call,
  controlCall,
  type DenoPod,
  postSpecialize,
  startFunction,
  startPod,
  stopPods,
} from "./deno-pod.ts";

/** Runs the text of each request inside the function and replies with what it came to. */
const PROBE = `
export default async (request) => {
  const code = await request.text();
  try { return new Response("value " + String(await (0, eval)("(async () => {" + code + "})()"))) }
  catch (error) { return new Response("error " + error.name + " " + error.message) }
}`;

const outside = mkdtempSync(join(tmpdir(), "isotope-outside-"));
let pod: DenoPod;
let other: DenoPod;
let platform: Server;
let open: Server;
let socket: Server;
let platformPort = 0;
let openPort = 0;

const listen = (where: object): Promise<Server> =>
  new Promise((resolve) => {
    const server = createServer((connection) =>
      connection
        .on("error", () => {})
        .once("data", () => connection.end("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")),
    );
    server.listen(where, () => resolve(server));
  });

const portOf = (server: Server): number => (server.address() as AddressInfo).port;

const probe = async (code: string): Promise<string> =>
  (await call(pod, "/", { method: "POST", body: code })).text();

beforeAll(async () => {
  platform = await listen({ port: 0, host: "::" });
  open = await listen({ port: 0, host: "127.0.0.1" });
  platformPort = portOf(platform);
  openPort = portOf(open);
  socket = await listen({ path: join(outside, "redis.sock") });
  writeFileSync(join(outside, "secret"), "other people's");
  const host = "127.64.211.7";
  other = await startPod({ host: "127.64.211.8" });
  pod = await startFunction(
    PROBE,
    { env: { MINE: "yes" } },
    {
      host,
      denyNet: [
        ...loopbackPorts([platformPort]),
        ...cidrsWithout("127.64.0.0/10", host),
        ...METADATA_ADDRESSES,
      ],
      env: { LEAKED: "from the machine" },
    },
  );
});
afterAll(async () => {
  await stopPods();
  for (const server of [platform, open, socket]) server.close();
  rmSync(outside, { recursive: true, force: true });
});

describe("what a function is denied", () => {
  it.each([
    ["a file of the machine", "return Deno.readTextFile('/etc/passwd')"],
    ["a file beside the pod", "return Deno.readTextFile('OUTSIDE/secret')"],
    ["a path out of its folder", "return Deno.readTextFile('../../etc/hostname')"],
    [
      "a link out of its folder",
      "Deno.symlinkSync('/etc/passwd', Deno.env.get('TMPDIR') + '/link'); return Deno.readTextFile(Deno.env.get('TMPDIR') + '/link')",
    ],
    [
      "a hard link out of its folder",
      "Deno.linkSync('/etc/passwd', Deno.env.get('TMPDIR') + '/hard'); return 1",
    ],
    ["node:fs", "return (await import('node:fs')).readFileSync('/etc/passwd', 'utf8')"],
    ["its process's start environment", "return Deno.readTextFile('/proc/self/environ')"],
    ["its process's memory map", "return Deno.readTextFile('/proc/self/maps')"],
    ["the folder of the machine", "return [...Deno.readDirSync('/')].length"],
    ["the runtime's own files", "return Deno.readTextFile('RUNTIME/main.ts')"],
    [
      "writing its code",
      "Deno.writeTextFileSync(Deno.env.get('TMPDIR') + '/../code/index.js', 'x'); return 1",
    ],
    ["writing to /tmp", "Deno.writeTextFileSync('/tmp/x-isotope-test', 'x'); return 1"],
    ["a subprocess", "return new Deno.Command('/bin/true').outputSync().code"],
    ["node:child_process", "return (await import('node:child_process')).execSync('true')"],
    ["a native library", "return Deno.dlopen('/lib/x86_64-linux-gnu/libc.so.6', {})"],
    ["the host's memory", "return Deno.systemMemoryInfo()"],
    ["network interfaces", "return Deno.networkInterfaces()"],
    ["the user's id", "return Deno.uid()"],
    ["signals to other processes", "return Deno.kill(1, 'SIGCONT')"],
    ["process.kill", "return (await import('node:process')).default.kill(1, 0)"],
    ["remote code", "return import('https://deno.land/std/version.ts')"],
    ["npm code", "return import('npm:left-pad')"],
    ["code outside its folder", "return import('file://OUTSIDE/secret')"],
    [
      "more permissions",
      "const s = await Deno.permissions.request({ name: 'run' }); if (s.state !== 'granted') throw new Error('not granted'); return 1",
    ],
    [
      "a subprocess of a worker",
      "const url = URL.createObjectURL(new Blob(['let m; try { new Deno.Command(\"/bin/true\").outputSync(); m = \"value\" } catch (e) { m = e.name } postMessage(m)'])); const w = new Worker(url, { type: 'module' }); const m = await new Promise((ok) => w.onmessage = (e) => ok(e.data)); w.terminate(); if (m !== 'value') throw new Error(m); return m",
    ],
    [
      "the platform on 127.0.0.1",
      "return (await Deno.connect({ hostname: '127.0.0.1', port: PLATFORM })).localAddr.port",
    ],
    [
      "the platform on localhost",
      "return (await Deno.connect({ hostname: 'localhost', port: PLATFORM })).localAddr.port",
    ],
    [
      "the platform on LOCALHOST",
      "return (await Deno.connect({ hostname: 'LOCALHOST', port: PLATFORM })).localAddr.port",
    ],
    [
      "the platform on localhost.",
      "return (await Deno.connect({ hostname: 'localhost.', port: PLATFORM })).localAddr.port",
    ],
    [
      "the platform on ip6-localhost",
      "return (await Deno.connect({ hostname: 'ip6-localhost', port: PLATFORM })).localAddr.port",
    ],
    [
      "the platform on ::1",
      "return (await Deno.connect({ hostname: '::1', port: PLATFORM })).localAddr.port",
    ],
    [
      "the platform on 0:0:0:0:0:0:0:1",
      "return (await Deno.connect({ hostname: '0:0:0:0:0:0:0:1', port: PLATFORM })).localAddr.port",
    ],
    [
      "the platform on ::ffff:127.0.0.1",
      "return (await Deno.connect({ hostname: '::ffff:127.0.0.1', port: PLATFORM })).localAddr.port",
    ],
    [
      "the platform on ::ffff:7f00:1",
      "return (await Deno.connect({ hostname: '::ffff:7f00:1', port: PLATFORM })).localAddr.port",
    ],
    [
      "the platform on 0.0.0.0",
      "return (await Deno.connect({ hostname: '0.0.0.0', port: PLATFORM })).localAddr.port",
    ],
    ["the platform on ::", "return (await Deno.connect({ hostname: '::', port: PLATFORM })).localAddr.port"],
    [
      "the platform on 127.1",
      "return (await Deno.connect({ hostname: '127.1', port: PLATFORM })).localAddr.port",
    ],
    [
      "the platform on 0x7f000001",
      "return (await Deno.connect({ hostname: '0x7f000001', port: PLATFORM })).localAddr.port",
    ],
    [
      "the platform on 2130706433",
      "return (await Deno.connect({ hostname: '2130706433', port: PLATFORM })).localAddr.port",
    ],
    ["the platform by fetch", "return (await fetch('http://127.0.0.1:PLATFORM/')).status"],
    ["the platform by fetch of ::1", "return (await fetch('http://[::1]:PLATFORM/')).status"],
    ["the platform by fetch of 0.0.0.0", "return (await fetch('http://0.0.0.0:PLATFORM/')).status"],
    [
      "the platform by fetch of [::ffff:127.0.0.1]",
      "return (await fetch('http://[::ffff:127.0.0.1]:PLATFORM/')).status",
    ],
    [
      "the platform by node:net",
      "const net = await import('node:net'); return new Promise((ok, no) => net.connect(PLATFORM, '127.0.0.1').on('connect', () => ok(1)).on('error', no))",
    ],
    [
      "the platform by node:http",
      "const http = await import('node:http'); return new Promise((ok, no) => http.get('http://localhost:PLATFORM/', (r) => ok(r.statusCode)).on('error', no))",
    ],
    [
      "the platform by WebSocket",
      "return new Promise((ok, no) => { const s = new WebSocket('ws://127.0.0.1:PLATFORM/'); s.onopen = () => ok(1); s.onerror = (e) => no(e.error ?? new Error(e.message)) })",
    ],
    [
      "the platform over a worker",
      "const url = URL.createObjectURL(new Blob(['fetch(\"http://127.0.0.1:PLATFORM/\").then((r) => postMessage(\"value\"), (e) => postMessage(e.message))'])); const w = new Worker(url, { type: 'module' }); const m = await new Promise((ok) => w.onmessage = (e) => ok(e.data)); w.terminate(); if (m !== 'value') throw new Error(m); return m",
    ],
    ["another pod", "return (await fetch('http://127.64.211.8:OTHER/_isotope/healthz')).status"],
    [
      "another pod as ::ffff:",
      "return (await fetch('http://[::ffff:127.64.211.8]:OTHER/_isotope/healthz')).status",
    ],
    ["the metadata service", "return (await fetch('http://169.254.169.254/latest/meta-data/')).status"],
    ["the metadata service over IPv6", "return (await fetch('http://[fd00:ec2::254]/')).status"],
    ["the metadata service by number", "return (await fetch('http://2852039166/')).status"],
    [
      "a unix socket of the machine",
      "return (await Deno.connect({ transport: 'unix', path: 'OUTSIDE/redis.sock' })).localAddr",
    ],
    [
      "a unix socket by node:net",
      "const net = await import('node:net'); return new Promise((ok, no) => net.connect('OUTSIDE/redis.sock').on('connect', () => ok(1)).on('error', no))",
    ],
    [
      "a unix socket by fetch",
      "const client = Deno.createHttpClient({ proxy: { transport: 'unix', path: 'OUTSIDE/redis.sock' } }); return (await fetch('http://x/', { client })).status",
    ],
    [
      "the platform through a proxy setting",
      "const client = Deno.createHttpClient({ proxy: { url: 'http://127.0.0.1:PLATFORM' } }); return (await fetch('http://example.com/', { client })).status",
    ],
    [
      "the platform as a proxy of the environment",
      "Deno.env.set('HTTP_PROXY', 'http://127.0.0.1:PLATFORM'); const client = Deno.createHttpClient({}); try { return (await fetch('http://example.invalid/', { client })).status } finally { Deno.env.delete('HTTP_PROXY') }",
    ],
    ["listening for others", "Deno.listen({ hostname: '127.64.211.9', port: 0 }); return 1"],
    ["stored data that others could read", "localStorage.setItem('a', 'b'); return 1"],
    ["a key-value store", "return (await Deno.openKv('OUTSIDE/kv')).close()"],
    ["Deno's internals", "const c = Deno[Deno.internal].core; return Object.keys(c.resources()).length"],
  ])("%s", async (_name, code) => {
    const filled = code
      .replaceAll("OUTSIDE", outside)
      .replaceAll("RUNTIME", join(import.meta.dirname, "../../env-images/deno"))
      .replaceAll("PLATFORM", String(platformPort))
      .replaceAll("OTHER", String(other.port));
    expect(await probe(filled)).toMatch(/^error /);
  });
});

describe("what a function may", () => {
  it.each([
    [
      "its own files",
      "return (await Deno.readTextFile(Deno.env.get('TMPDIR') + '/../code/index.js')).length > 10",
      "true",
    ],
    [
      "temporary files",
      "const f = Deno.makeTempFileSync(); Deno.writeTextFileSync(f, 'x'); return Deno.readTextFileSync(f)",
      "x",
    ],
    [
      "temporary folders by node:os",
      "const os = await import('node:os'); return os.tmpdir() === Deno.env.get('TMPDIR')",
      "true",
    ],
    [
      "what packages ask of the system while they load, without learning anything of it",
      "const os = await import('node:os'); const { default: all } = os; return [os.hostname(), Deno.hostname(), os.loadavg(), os.release(), all.cpus().length > 0, all.cpus()[0].model, all.homedir() === Deno.env.get('HOME')].join('|')",
      "pod-1|pod-1|0,0,0||true||true",
    ],
    [
      "services of the machine beside the platform",
      "return (await fetch('http://127.0.0.1:OPEN/')).text()",
      "ok",
    ],
    [
      "its variables",
      "return Deno.env.get('MINE') + (await import('node:process')).default.env.MINE",
      "yesyes",
    ],
    [
      "importing code of its own",
      "Deno.writeTextFileSync(Deno.env.get('TMPDIR') + '/m.js', 'export default 7'); return (await import('file://' + Deno.env.get('TMPDIR') + '/m.js')).default",
      "7",
    ],
  ])("%s", async (_name, code, value) => {
    expect(await probe(code.replaceAll("OPEN", String(openPort)))).toBe(`value ${value}`);
  });

  it("no variables but its own", async () => {
    expect(await probe("return Object.keys(Deno.env.toObject()).sort().join()")).toBe(
      "value HOME,ISOTOPE_CONFIGS_DIR,ISOTOPE_SECRETS_DIR,MINE,TMPDIR",
    );
  });
});

const SABOTAGE = `
const seen = globalThis.seen = [];
const spy = (owner, name) => { const f = owner[name]; owner[name] = function (...args) { for (const a of args) if (typeof a === "string") seen.push(a); const r = Reflect.apply(f, this, args); if (typeof r === "string") seen.push(r); return r } };
spy(Headers.prototype, "get"); spy(String.prototype, "startsWith"); spy(String.prototype, "charCodeAt"); spy(JSON, "parse"); spy(JSON, "stringify"); spy(TextDecoder.prototype, "decode");
const native = Response;
globalThis.Response = class extends native { constructor() { super("forged") } };
Headers.prototype.has = () => false; Headers.prototype.delete = () => {}; Headers.prototype.get = () => "forged";
Map.prototype.get = Map.prototype.set = Set.prototype.has = WeakMap.prototype.get = () => { throw new Error("sabotage") };
Promise.prototype.then = new Proxy(Promise.prototype.then, {}); Array.prototype.push = Array.prototype.push;
globalThis.setTimeout = () => 0; Date.now = () => 0; performance.now = () => 0; Object.keys = () => []; Math.min = Math.max = () => NaN;
Function.prototype.call = Function.prototype.apply = () => { throw new Error("sabotage") };
Function.prototype.bind = () => { throw new Error("sabotage") };
Object.defineProperty(Request.prototype, "headers", { get: () => new Map() });
Object.defineProperty(Request.prototype, "url", { get: () => "http://forged/_isotope/none" });
Object.defineProperty(Response.prototype, "status", { get: () => 200 });
Deno.serve = () => {}; crypto.randomUUID = () => "0"; globalThis.AbortController = null; globalThis.URL = null; Array.isArray = () => true;
export default () => new native(seen.filter((text) => text.includes("Bearer")).join() || "nothing seen", { status: 429, headers: { "x-isotope-refused": "busy", "x-isotope-error": "x", "x-mine": "1" } });
`;

describe("a function that overwrites the globals", () => {
  it("reads no control message, forges no control reply and lifts no limit", async () => {
    const sabotaged = await startFunction(SABOTAGE, { limits: { requestsPerPod: 1, maxBodyBytes: 10 } });
    const status = await controlCall(sabotaged, "GET /_isotope/status");
    expect([status.status, await status.json()]).toMatchObject([200, { state: "specialised", inFlight: 0 }]);
    expect((await controlCall(sabotaged, "GET /_isotope/status", undefined, "guess")).status).toBe(401);
    const reply = await call(sabotaged);
    expect([reply.status, await reply.text()]).toEqual([429, "nothing seen"]);
    expect([
      reply.headers.get("x-isotope-refused"),
      reply.headers.get("x-isotope-error"),
      reply.headers.get("x-mine"),
    ]).toEqual([null, null, "1"]);
    expect((await call(sabotaged, "/", { headers: { "x-isotope-pod": "other" } })).status).toBe(421);
    expect((await call(sabotaged, "/", { method: "POST", body: "x".repeat(11) })).status).toBe(413);
    expect((await postSpecialize(sabotaged, Buffer.from("x"))).status).toBe(409);
    expect((await controlCall(sabotaged, "POST /_isotope/retire", { ifIdleForMs: 0 })).status).toBe(200);
    expect((await call(sabotaged)).headers.get("x-isotope-refused")).toBe("retired");
  });

  it("finds nothing in the runtime's main module", async () => {
    const path = join(import.meta.dirname, "../../env-images/deno/main.ts");
    const literal = await startFunction(
      `export default async () => { try { return Object.keys(await import("file://${path}")) } catch { return [] } }`,
    );
    expect(await (await call(literal)).json()).toEqual([]);
  });
});
