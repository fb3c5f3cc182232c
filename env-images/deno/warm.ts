import { HEADER_POD, HEADER_REVISION } from "../../api/headers.ts";
import type { SpecializeRequest } from "../../api/wire/specialize.ts";
import { sha256Hex } from "./archive.ts";
import { loadBundle } from "./bundle-module.ts";
import { crc32 } from "./crc32.ts";
import type { Log } from "./log.ts";
import { genericPod } from "./pod.ts";
import { createPodServer } from "./server.ts";
import type { Settings } from "./settings.ts";
import { CONTENT_TYPE } from "./specialize.ts";

/**
 * What a rehearsal runs stays in memory for as long as the pod lives, so it runs every step of the way to the first reply once or twice,
 * with as little data as that takes: a loop over many bytes would wake the optimising compiler, which takes 3 MiB by itself.
 */
const CALLS = 2;
/** Comes in more than one piece. */
const BODY_BYTES = 20_000;

const LOCAL_BYTES = 30;
const CENTRAL_BYTES = 46;
const END_BYTES = 22;
const TOKEN = "warm";
const POD_UID = "warm";
const REVISION = "warm";

const CODE = `export default async (request, ctx) => new Response((await request.text()) + new URL(request.url).searchParams.get("x") + ctx.requestId);\n`;

/** The syntax that people and bundlers write, once each: the parser and the code generator come from disk at their first use. */
const SYNTAX = `
import { inherits } from "node:util";
var __defProp = Object.defineProperty, __export = (target, all) => { for (var name in all) __defProp(target, name, { get: all[name], enumerable: true }); };
let counter = 0, flags = 0x1f, big = 10n, half = .5e1;
const pattern = /^[a-z]+(?:-[a-z]+)*$/giu, { log = 1, ...others } = { a: 1, "b": [1, , 3], [\`c\${counter}\`]: null };
class Base { static #made = 0; #value = 1; static { this.kind = "base"; } constructor(value) { this.#value = value; Base.#made++; } get value() { return this.#value; } set value(v) { this.#value ??= v; } *[Symbol.iterator]() { yield this.#value; yield* [1, 2]; } static async of(...values) { return new this(values); } }
class Derived extends Base { field = super.value; method(a = 1, { b, c: [d] = [2] } = {}) { return super.value + a + (b?.c?.[d]?.() ?? d) ** 2; } }
function* steps(limit) { for (let i = 0; i < limit; i++) { if (i % 2) continue; yield i; } }
async function* pages() { for await (const page of [1]) yield page; }
export const compute = (value, options = {}) => { const found = [value, options.x ?? 1].map((item) => item * 2); return found.length > 1 ? found : { found, name: "compute" }; };
export function decide(kind) { label: for (const key in { a: 1 }) { do { switch (kind) { case "a": break label; case typeof kind: case void 0: return !kind; default: flags ^= kind << 2; } } while (--counter > 0 && key !== "z"); } try { if (kind instanceof Base || "a" in others) throw new TypeError(\`no \${kind}\`, { cause: kind }); } catch ({ message }) { return message; } finally { counter += 1; } while (counter-- > 9) {} delete others.a; return (big, half, log, ~flags >>> 1); }
export const gather = async (list) => { const parts = await Promise.all(list.map(async ([a, b]) => ({ ...a, b }))); for (const [index, part] of parts.entries()) await part?.[index]; return new Map(parts.map((p) => [p, new Set()])); };
var exported = {}; __export(exported, { Derived: () => Derived, pattern: () => pattern });
export const ran = [decide("b"), new Derived(2).method(), [...steps(3), ...new Derived(1)], compute(1), import.meta.url, String.raw\`x\${1}\`, exported.Derived, inherits];
export { Derived as Other, pages as default };
`;

const SILENT: Log = { write: () => {}, identify: () => {}, hide: () => {} };

/** A zip with one stored file. */
function smallZip(name: string, text: string): Uint8Array<ArrayBuffer> {
  const content = new TextEncoder().encode(text);
  const nameBytes = new TextEncoder().encode(name);
  const directory = LOCAL_BYTES + nameBytes.length + content.length;
  const end = directory + CENTRAL_BYTES + nameBytes.length;
  const bytes = new Uint8Array(end + END_BYTES);
  const view = new DataView(bytes.buffer);
  const header = (at: number): void => {
    view.setUint16(at, 20, true);
    view.setUint32(at + 10, crc32(content), true);
    view.setUint32(at + 14, content.length, true);
    view.setUint32(at + 18, content.length, true);
    view.setUint16(at + 22, nameBytes.length, true);
  };
  view.setUint32(0, 0x04034b50, true);
  header(4);
  bytes.set(nameBytes, LOCAL_BYTES);
  bytes.set(content, LOCAL_BYTES + nameBytes.length);
  view.setUint32(directory, 0x02014b50, true);
  view.setUint16(directory + 4, 20, true);
  header(directory + 6);
  bytes.set(nameBytes, directory + CENTRAL_BYTES);
  view.setUint32(end, 0x06054b50, true);
  view.setUint16(end + 8, 1, true);
  view.setUint16(end + 10, 1, true);
  view.setUint32(end + 12, end - directory, true);
  view.setUint32(end + 16, directory, true);
  return bytes;
}

/** A specialise message for a rehearsal, with a secret, a config map and a variable. */
async function rehearsalMessage(): Promise<Uint8Array<ArrayBuffer>> {
  const archive = smallZip("index.js", CODE);
  const mount = { namespace: "warm", name: "warm", data: { key: "d2FybQ==" } };
  const request: SpecializeRequest = {
    podUid: POD_UID,
    revision: REVISION,
    function: { namespace: "warm", name: "warm", uid: "warm", resourceVersion: "1" },
    functionName: "",
    archive: { sha256: await sha256Hex(archive), sizeBytes: archive.length },
    env: { ISOTOPE_WARM: "1" },
    secrets: [mount],
    configMaps: [mount],
    limits: { requestsPerPod: 100, onceOnly: false, timeoutMs: 60_000, maxBodyBytes: 1 << 20 },
    debug: false,
  };
  const head = new TextEncoder().encode(JSON.stringify(request));
  const bytes = new Uint8Array(4 + head.length + archive.length);
  new DataView(bytes.buffer).setUint32(0, head.length);
  bytes.set(head, 4);
  bytes.set(archive, 4 + head.length);
  return bytes;
}

/**
 * Rehearses what will happen once: a pod of its own in a folder of its own is specialised over HTTP and called. So the first
 * specialisation and the first request meet code that has run before, which is several times faster.
 */
export async function warmUp(serve: typeof Deno.serve, settings: Settings): Promise<void> {
  const root = `${settings.root}/tmp/.warm`;
  Deno.mkdirSync(`${root}/tmp`, { recursive: true });
  const pod = genericPod(POD_UID);
  const folders = { root, secrets: `${root}/secrets`, configs: `${root}/configs` };
  const own = { ...settings, ...folders, token: TOKEN, podUid: POD_UID };
  // As near to the real thing as can be taken back.
  const seal = (): void => void Deno.permissions.querySync({ name: "write", path: settings.root });
  const { handle, onError } = createPodServer({
    pod,
    token: TOKEN,
    log: SILENT,
    drain: () => {},
    ready: () => true,
    specialization: { pod, settings: own, log: SILENT, served: () => null, seal },
  });
  const server = serve({ hostname: "127.0.0.1", port: 0, onListen: () => {}, onError }, handle);
  const address = `http://127.0.0.1:${server.addr.port}`;
  const post = (path: string, headers: Record<string, string>, body: Uint8Array<ArrayBuffer>) =>
    fetch(address + path, { method: "POST", headers, body });
  await (await fetch(`${address}/_isotope/healthz`)).json();
  const headers = { authorization: `Bearer ${TOKEN}`, "content-type": CONTENT_TYPE };
  const specialised = await (await post("/v2/specialize", headers, await rehearsalMessage())).text();
  if (pod.state !== "specialised")
    throw new Error(`Cannot start the pod: its rehearsal ended with ${specialised}`);
  const call = { [HEADER_POD]: POD_UID, [HEADER_REVISION]: REVISION };
  for (let round = 0; round < CALLS; round += 1) {
    await (await fetch(`${address}/warm?x=1`, { headers: call })).text();
    await (await post("/warm", call, new Uint8Array(BODY_BYTES))).text();
  }
  // A module with more syntax, and the way of those that the usual import loads.
  const bundle = `${root}/code/bundle.js`;
  const loaded = await loadBundle(SYNTAX, bundle, `file://${bundle}`, () => "");
  if (loaded === undefined) throw new Error("Cannot start the pod: its rehearsal did not load a bundle");
  const usual = `${root}/code/usual.js`;
  Deno.writeTextFileSync(usual, "export default () => new Error().stack;\n");
  await import(`file://${usual}`);
  await server.shutdown();
  Deno.removeSync(root, { recursive: true });
  for (const name of Object.keys(Deno.env.toObject())) Deno.env.delete(name);
}
