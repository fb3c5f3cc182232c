import { HEADER_POD, HEADER_REVISION } from "../../api/headers.ts";
import type { SpecializeRequest } from "../../api/wire/specialize.ts";
import { sha256Hex } from "./archive.ts";
import type { Log } from "./log.ts";
import { genericPod } from "./pod.ts";
import { createPodServer } from "./server.ts";
import type { Settings } from "./settings.ts";
import { CONTENT_TYPE } from "./specialize.ts";
import { crc32 } from "./zip.ts";

/** Size of the warm-up request's body: large enough to come in more than one piece. */
const BODY_BYTES = 70_000;

/** A zip with one deflated file. */
async function smallZip(name: string, text: string): Promise<Uint8Array<ArrayBuffer>> {
  const content = new TextEncoder().encode(text);
  const nameBytes = new TextEncoder().encode(name);
  const packed = await new Response(
    new Blob([content]).stream().pipeThrough(new CompressionStream("deflate-raw")),
  ).bytes();
  const directory = LOCAL_BYTES + nameBytes.length + packed.length;
  const end = directory + CENTRAL_BYTES + nameBytes.length;
  const bytes = new Uint8Array(end + END_BYTES);
  const view = new DataView(bytes.buffer);
  const header = (at: number): void => {
    view.setUint16(at, 20, true);
    view.setUint16(at + 4, 8, true);
    view.setUint32(at + 10, crc32(content), true);
    view.setUint32(at + 14, packed.length, true);
    view.setUint32(at + 18, content.length, true);
    view.setUint16(at + 22, nameBytes.length, true);
  };
  view.setUint32(0, 0x04034b50, true);
  header(4);
  bytes.set(nameBytes, LOCAL_BYTES);
  bytes.set(packed, LOCAL_BYTES + nameBytes.length);
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

const LOCAL_BYTES = 30;
const CENTRAL_BYTES = 46;
const END_BYTES = 22;
const TOKEN = "warm";
const POD_UID = "warm";
const REVISION = "warm";
const USER_CALLS = 4;

/** So long that it is loaded as a bundle. */
const CODE = `export default async (request, ctx) => new Response((await request.text()) + new URL(request.url).searchParams.get("x") + ctx.requestId);\n${"// warm\\n".repeat(1_200)}`;

const SILENT: Log = { write: () => {}, identify: () => {}, hide: () => {} };

/** A specialise message for a rehearsal, with a secret, a config map and a variable. */
async function rehearsalMessage(): Promise<Uint8Array<ArrayBuffer>> {
  const archive = await smallZip("index.js", CODE);
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
  const own = { ...settings, root, token: TOKEN, podUid: POD_UID };
  const { handle, onError } = createPodServer({
    pod,
    token: TOKEN,
    log: SILENT,
    drain: () => {},
    ready: () => true,
    specialization: { pod, settings: own, log: SILENT, served: () => null, seal: () => {} },
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
  for (let round = 0; round < USER_CALLS; round += 1) {
    await (await fetch(`${address}/warm?x=1`, { headers: call })).text();
    await (await post("/warm", call, new Uint8Array(BODY_BYTES))).text();
  }
  // The way of small modules.
  const file = `${root}/small.js`;
  Deno.writeTextFileSync(file, "export default () => new Response('warm');\n");
  await import(`file://${file}`);
  await server.shutdown();
  Deno.removeSync(root, { recursive: true });
  for (const name of Object.keys(Deno.env.toObject())) Deno.env.delete(name);
}
