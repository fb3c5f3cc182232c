import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { hostname } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { LABEL_FUNCTION_NAME } from "../../api/names.ts";
import { POD_ENV } from "../../api/wire/pod.ts";
import { createKubeClient, type KubeClient } from "../../kube/client.ts";
import type { KubeObject } from "../../kube/object.ts";
import { resourceType } from "../../kube/resource.ts";
import { portsFrom } from "../../local/ports.ts";
import { startTestPlatform } from "./platform.ts";
import { deploy } from "./project.ts";
import type { TestPlatform } from "./test-platform.ts";

/** Runs the text of each request inside the function and replies with what it came to. */
const PROBE = `
export const config = { route: "/probe", env: { MINE: "yes" }, timeout: 20 };
export default async (request: Request) => {
  const code = await request.text();
  try { return new Response("value " + String(await (0, eval)("(async () => {" + code + "})()"))); }
  catch (error) { return new Response("error " + (error as Error).name + " " + (error as Error).message); }
};`;

interface Pod extends KubeObject {
  status?: { podIP?: string };
}
const PODS = resourceType<Pod>("v1", "Pod", "pods");

let platform: TestPlatform;
let kube: KubeClient;
let own: Server;
let ownPort = 0;
let pod: Pod;
let other: Pod;

const probe = async (code: string): Promise<string> =>
  (await platform.get("/probe", { method: "POST", body: code })).text();

/** Pods get their labels after the call that they were started for was answered. */
const podOf = (name: string): Promise<Pod> =>
  vi.waitFor(
    async () => {
      const { items } = await kube.list(PODS, {
        namespace: "default",
        labelSelector: `${LABEL_FUNCTION_NAME}=${name}`,
      });
      const [first] = items;
      if (!first?.status?.podIP) throw new Error(`No pod of "${name}"`);
      return first;
    },
    { timeout: 90_000, interval: 100 },
  );

beforeAll(async () => {
  platform = await startTestPlatform();
  kube = await createKubeClient({ kubeconfig: platform.connection.kubeconfig });
  own = createServer((_request, reply) => reply.end("mine"));
  await new Promise<void>((done) => own.listen(0, "127.0.0.1", () => done()));
  const address = own.address();
  ownPort = typeof address === "object" && address ? address.port : 0;
  await deploy(platform, {
    "probe.ts": PROBE,
    "other.ts": `export const config = { route: "/other", env: { SECRET: "other people's" } };
export default () => new Response("other");`,
  });
  expect(await probe("return 1 + 1")).toBe("value 2");
  expect(await (await platform.get("/other")).text()).toBe("other");
  pod = await podOf("probe");
  other = await podOf("other");
}, 300_000);
afterAll(async () => {
  own?.close();
  await kube?.close();
  await platform?.stop();
});

const read = (path: string): string => `return (await Deno.readTextFile(${JSON.stringify(path)})).length`;

describe("what a deployed function cannot read, write or run", () => {
  it("answers what packages ask of the machine while they load with nothing of the machine", async () => {
    const facts = await probe(
      "const os = await import('node:os'); return JSON.stringify([Deno.hostname(), os.hostname(), Deno.osRelease(), os.release(), Deno.loadavg(), os.loadavg()])",
    );
    const name = pod.metadata.name;
    expect(facts).toBe(`value ${JSON.stringify([name, name, "", "", [0, 0, 0], [0, 0, 0]])}`);
    expect(name).not.toBe(hostname());
  });

  it("files of the machine, the platform and other pods", async () => {
    const podFolder = (of: Pod): string => join(platform.home, "localkube", "pods", of.metadata.uid ?? "");
    const paths = [
      "/etc/passwd",
      "/etc/hostname",
      "/proc/self/environ",
      "/proc/self/cmdline",
      "/proc/self/maps",
      "/proc/self/mem",
      "/proc/self/fd/0",
      "/proc/1/environ",
      `/proc/${platform.supervisor.pid}/environ`,
      `/proc/${platform.supervisor.pid}/cwd/keys/internal`,
      "/proc/net/tcp",
      "/sys/class/net/lo/address",
      "/dev/shm/x",
      ...["connection.json", "kubeconfig", "keys/internal", "keys/redis", "run/images.json"].map((name) =>
        join(platform.home, name),
      ),
      podFolder(other),
      join(podFolder(pod), "..", other.metadata.uid ?? "", "container.json"),
      join(import.meta.dirname, "../../env-images/deno/main.ts"),
      join(import.meta.dirname, "../../package.json"),
      "../../../../../../../../etc/passwd",
    ];
    for (const path of paths) expect(await probe(read(path)), path).toMatch(/^error /);
    // What is not there would be refused as well: these are there, and hold what must not be read.
    expect(readFileSync(join(platform.home, "keys", "internal"), "utf8").length).toBeGreaterThan(32);
    for (const folder of ["/", "/proc", platform.home, podFolder(other), join(podFolder(pod), "..")])
      expect(await probe(`return [...Deno.readDirSync(${JSON.stringify(folder)})].length`), folder).toMatch(
        /^error /,
      );
  });

  it.each([
    [
      "a link out of its folder",
      "Deno.symlinkSync('/etc/passwd', Deno.env.get('TMPDIR') + '/link'); return Deno.readTextFileSync(Deno.env.get('TMPDIR') + '/link').length",
    ],
    ["a hard link", "Deno.linkSync('/etc/passwd', Deno.env.get('TMPDIR') + '/hard'); return 1"],
    ["node:fs", "return (await import('node:fs')).readFileSync('/etc/passwd').length"],
    ["writing to /tmp", "Deno.writeTextFileSync('/tmp/isotope-escape', 'x'); return 1"],
    [
      "writing its code",
      "Deno.writeTextFileSync(Deno.env.get('TMPDIR') + '/../code/index.js', 'x'); return 1",
    ],
    ["writing to the home", "Deno.writeTextFileSync('HOME/escape', 'x'); return 1"],
    ["removing its folder", "Deno.removeSync(Deno.env.get('TMPDIR') + '/..', { recursive: true }); return 1"],
    ["changing folders", "Deno.chdir('/'); return Deno.cwd()"],
    ["a subprocess", "return new Deno.Command('/bin/true').outputSync().code"],
    ["a subprocess of its own runtime", "return new Deno.Command(Deno.execPath()).outputSync().code"],
    ["node:child_process", "return (await import('node:child_process')).execSync('id')"],
    ["FFI", "return Deno.dlopen('/lib/x86_64-linux-gnu/libc.so.6', {})"],
    ["a native addon", "return (await import('node:module')).createRequire('file:///x.js')('/tmp/x.node')"],
    ["memory of the machine", "return Deno.systemMemoryInfo().total"],
    ["network interfaces", "return Deno.networkInterfaces().length"],
    ["the user's id", "return Deno.uid()"],
    ["the group's id", "return Deno.gid()"],
    ["node:os", "return (await import('node:os')).userInfo().username"],
    ["signals", "return Deno.kill(SUPERVISOR, 'SIGCONT')"],
    ["process.kill", "return (await import('node:process')).default.kill(SUPERVISOR, 0)"],
    ["remote code", "return import('https://deno.land/std/version.ts')"],
    ["remote code of a server of its own", "return import('http://127.0.0.1:OWN/x.js')"],
    ["npm code", "return import('npm:left-pad@1.3.0')"],
    ["jsr code", "return import('jsr:@std/path')"],
    ["code of the platform", "return import('file://ROOT/net/sign.ts')"],
    [
      "more permissions by asking",
      "const { state } = await Deno.permissions.request({ name: 'read', path: '/etc' }); if (state !== 'granted') throw new Error(state); return state",
    ],
    ["the inspector", "(await import('node:inspector')).open(); return 1"],
    ["listening for others", "Deno.listen({ hostname: '0.0.0.0', port: 0 }); return 1"],
    ["listening for others over IPv6", "Deno.listen({ hostname: '::', port: 0 }); return 1"],
    [
      "listening for others by node:net",
      "const net = await import('node:net'); return new Promise((ok, no) => net.createServer().on('error', no).listen(0, () => ok(1)))",
    ],
    ["listening in the platform's place", "Deno.listen({ hostname: '127.0.0.1', port: PORT }); return 1"],
    ["listening in another pod's place", "Deno.listen({ hostname: '127.64.77.77', port: 8888 }); return 1"],
    ["Deno's internals", "return Object.keys(Deno[Deno.internal].core.resources()).length"],
    ["a database of the machine", "return (await Deno.openKv('/tmp/isotope-kv')).close()"],
    ["node:sqlite", "return new (await import('node:sqlite')).DatabaseSync('/tmp/isotope.db').close()"],
  ])("%s", async (_name, code) => {
    const filled = code
      .replaceAll("HOME", platform.home)
      .replaceAll("SUPERVISOR", String(platform.supervisor.pid))
      .replaceAll("ROOT", join(import.meta.dirname, "../.."))
      .replaceAll("PORT", new URL(platform.connection.routerUrl).port)
      .replaceAll("OWN", String(ownPort));
    expect(await probe(filled)).toMatch(/^error /);
  });

  it("shows no variables but the function's own", async () => {
    const names = (await probe("return Object.keys(Deno.env.toObject()).sort().join()")).slice(6).split(",");
    expect(names).toEqual(["HOME", "ISOTOPE_CONFIGS_DIR", "ISOTOPE_SECRETS_DIR", "MINE", "TMPDIR"]);
    expect(await probe("return Object.keys((await import('node:process')).default.env).sort().join()")).toBe(
      `value ${names.join()}`,
    );
    for (const name of [...Object.values(POD_ENV), "PATH", "USER", "DENO_DIR", "HTTP_PROXY"])
      expect(await probe(`return Deno.env.get("${name}")`), name).toBe("value undefined");
  });
});

const LOOPBACK = [
  "127.0.0.1",
  "localhost",
  "LOCALHOST",
  "localhost.",
  "ip6-localhost",
  "[::1]",
  "[0:0:0:0:0:0:0:1]",
  "0.0.0.0",
  "[::]",
  "127.1",
  "127.0.1",
  "0x7f.1",
  "0177.0.0.1",
  "2130706433",
  "0x7f000001",
  "[::ffff:127.0.0.1]",
  "[::ffff:7f00:1]",
  "[::ffff:0:127.0.0.1]",
  "[64:ff9b::7f00:1]",
  "[::127.0.0.1]",
  "①②⑦.0.0.1",
];

describe("what a deployed function cannot reach", () => {
  it("any port of the platform, however its address is spelt", async () => {
    const base = Number(new URL(platform.connection.routerUrl).port);
    const ports = Object.entries(portsFrom(base)).filter(([name]) => name !== "redis");
    for (const [name, port] of ports) {
      // The probe is sent once per port: it tries every spelling by fetch and by a plain connection.
      const reached = await probe(`
        const reached = [];
        await Promise.all(${JSON.stringify(LOOPBACK)}.flatMap((host) => [
          fetch("http://" + host + ":${port}/", { signal: AbortSignal.timeout(5000) }).then((r) => { reached.push("fetch " + host + " " + r.status); return r.body?.cancel() }, () => {}),
          Deno.connect({ hostname: host.replace(/^\\[|\\]$/g, ""), port: ${port} }).then((c) => { reached.push("connect " + host); c.close() }, () => {}),
        ]));
        return reached.join()`);
      expect(reached, `${name} ${port}`).toBe("value ");
    }
  });

  it.each([
    [
      "node:net",
      "const net = await import('node:net'); return new Promise((ok, no) => net.connect(PORT, '127.0.0.1').on('connect', () => ok(1)).on('error', no))",
    ],
    [
      "node:http",
      "const http = await import('node:http'); return new Promise((ok, no) => http.get('http://localhost:PORT/', (r) => ok(r.statusCode)).on('error', no))",
    ],
    [
      "a WebSocket",
      "return new Promise((ok, no) => { const s = new WebSocket('ws://127.0.0.1:PORT/'); s.onopen = () => ok(1); s.onerror = (e) => no(e.error ?? new Error(e.message)) })",
    ],
    ["TLS", "return (await Deno.connectTls({ hostname: '127.0.0.1', port: PORT + 3 })).localAddr.port"],
    [
      "UDP",
      "const s = Deno.listenDatagram({ transport: 'udp', hostname: '127.0.0.1', port: 0 }); return s.send(new Uint8Array(1), { transport: 'udp', hostname: '127.0.0.1', port: PORT })",
    ],
    [
      "a redirect of a server of its own",
      "const server = Deno.serve({ port: 0, hostname: '127.0.0.1', onListen() {} }, () => Response.redirect('http://127.0.0.1:PORT/')); try { return (await fetch('http://127.0.0.1:' + server.addr.port)).status } finally { await server.shutdown() }",
    ],
    [
      "a proxy setting",
      "const client = Deno.createHttpClient({ proxy: { url: 'http://127.0.0.1:PORT' } }); return (await fetch('http://example.com/', { client })).status",
    ],
    [
      "a worker",
      "const w = new Worker(URL.createObjectURL(new Blob(['fetch(\"http://127.0.0.1:PORT/\").then(() => postMessage(\"value\"), (e) => postMessage(e.message))'])), { type: 'module' }); const m = await new Promise((ok) => w.onmessage = (e) => ok(e.data)); w.terminate(); if (m !== 'value') throw new Error(m); return m",
    ],
  ])("the platform over %s", async (_name, code) => {
    const base = new URL(platform.connection.routerUrl).port;
    expect(await probe(code.replaceAll("PORT", base))).toMatch(/^error /);
  });

  it("another pod, with or without its token, and its own control calls", async () => {
    const address = other.status?.podIP ?? "";
    for (const host of [address, `[::ffff:${address}]`]) {
      for (const path of ["/", "/_isotope/healthz", "/v2/specialize"])
        expect(await probe(`return (await fetch("http://${host}:8888${path}")).status`), host + path).toMatch(
          /^error /,
        );
    }
    const self = pod.status?.podIP ?? "";
    const call = (path: string, method: string) =>
      probe(
        `return (await fetch("http://${self}:8888${path}", { method: "${method}", headers: { authorization: "Bearer guess" }, body: "${method}" === "POST" ? "{}" : undefined })).status`,
      );
    for (const [path, method] of [
      ["/_isotope/status", "GET"],
      ["/_isotope/retire", "POST"],
      ["/_isotope/drain", "POST"],
      ["/v2/specialize", "POST"],
    ] as const)
      expect(await call(path, method), path).toMatch(/^(error |value 4(01|09|21)$)/);
    expect(await probe("return 1")).toBe("value 1");
    expect(await (await platform.get("/other")).text()).toBe("other");
  });

  it.each([
    "169.254.169.254",
    "[fd00:ec2::254]",
    "2852039166",
    "0xa9fea9fe",
    "[::ffff:169.254.169.254]",
    "169.254.170.2",
    "100.100.100.200",
  ])("the metadata service at %s", async (host) => {
    const said = await probe(
      `return (await fetch("http://${host}/", { signal: AbortSignal.timeout(1500) })).status`,
    );
    // Refused by permission, not merely absent here.
    expect(said).toMatch(/^error (NotCapable|PermissionDenied)|Requires net access|denied/i);
  });

  it("but it reaches a server of the user's own", async () => {
    expect(await probe(`return (await fetch("http://127.0.0.1:${ownPort}/")).text()`)).toBe("value mine");
    expect(await probe(`return (await fetch("http://localhost:${ownPort}/")).text()`)).toBe("value mine");
  });
});

const SABOTAGE = `
export const config = { route: "/sabotage", requestsPerPod: 1 };
const native = Response;
const seen: string[] = [];
const spy = (owner: any, name: string) => { const f = owner[name]; owner[name] = function (...args: any[]) { for (const a of args) if (typeof a === "string") seen.push(a); const r = Reflect.apply(f, this, args); if (typeof r === "string") seen.push(r); return r; }; };
spy(Headers.prototype, "get"); spy(String.prototype, "startsWith"); spy(JSON, "parse"); spy(JSON, "stringify"); spy(TextDecoder.prototype, "decode");
(globalThis as any).Response = class extends native { constructor() { super("forged") } };
Headers.prototype.has = () => false; Headers.prototype.get = () => "forged";
Map.prototype.get = Set.prototype.has = () => { throw new Error("sabotage") };
globalThis.setTimeout = (() => 0) as any; Date.now = () => 0; performance.now = () => 0;
Deno.serve = (() => {}) as any; crypto.randomUUID = (() => "0") as any;
export default () => new native(seen.filter((text) => text.includes("Bearer")).join() || "nothing seen", { headers: { "x-isotope-refused": "busy", "x-isotope-error": "internal", "x-isotope-pod": "p", "x-fission-component": "router", "x-fission-route-miss": "1", "x-mine": "1" } });
`;

describe("a deployed function that overwrites the globals", () => {
  it("sees no token, forges no control reply, and its pod still obeys the platform", async () => {
    await deploy(platform, { "sabotage.ts": SABOTAGE });
    for (let call = 0; call < 3; call++) {
      const reply = await platform.get("/sabotage");
      expect([reply.status, await reply.text()]).toEqual([200, "nothing seen"]);
      expect(
        [
          "x-isotope-refused",
          "x-isotope-error",
          "x-isotope-pod",
          "x-fission-component",
          "x-fission-route-miss",
        ].map((name) => reply.headers.get(name)),
      ).toEqual([null, null, null, null, null]);
      expect(reply.headers.get("x-mine")).toBe("1");
    }
    const { status } = await podOf("sabotage");
    const control = (path: string, init: RequestInit) => fetch(`http://${status?.podIP}:8888${path}`, init);
    expect((await control("/_isotope/status", { headers: { authorization: "Bearer forged" } })).status).toBe(
      401,
    );
    expect((await control("/v2/specialize", { method: "POST", body: "x" })).status).toBe(401);
    expect((await control("/", {})).status).toBe(421);
    expect((await platform.cli(["fn", "delete", "--name", "sabotage"])).code).toBe(0);
  });
});
