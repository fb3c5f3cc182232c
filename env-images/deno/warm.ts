import { crc32, readZip } from "./zip.ts";

/** Size of the warm-up request's body: large enough to come in more than one piece. */
const BODY_BYTES = 70_000;

/** A zip with one deflated file. */
async function smallZip(): Promise<Uint8Array<ArrayBuffer>> {
  const content = new TextEncoder().encode("export default () => new Response();\n".repeat(50));
  const packed = await new Response(
    new Blob([content]).stream().pipeThrough(new CompressionStream("deflate-raw")),
  ).bytes();
  const bytes = new Uint8Array(30 + 1 + packed.length + 46 + 1 + 22);
  const view = new DataView(bytes.buffer);
  const header = (at: number): void => {
    view.setUint16(at, 20, true);
    view.setUint16(at + 4, 8, true);
    view.setUint32(at + 10, crc32(content), true);
    view.setUint32(at + 14, packed.length, true);
    view.setUint32(at + 18, content.length, true);
    view.setUint16(at + 22, 1, true);
  };
  view.setUint32(0, 0x04034b50, true);
  header(4);
  bytes[30] = 0x61;
  bytes.set(packed, 31);
  const directory = 31 + packed.length;
  view.setUint32(directory, 0x02014b50, true);
  view.setUint16(directory + 4, 20, true);
  header(directory + 6);
  bytes[directory + 46] = 0x61;
  const end = directory + 47;
  view.setUint32(end, 0x06054b50, true);
  view.setUint16(end + 8, 1, true);
  view.setUint16(end + 10, 1, true);
  view.setUint32(end + 12, 47, true);
  view.setUint32(end + 16, directory, true);
  return bytes;
}

/**
 * Uses once what the first specialisation and the first request use, so that they need not pay for first use: request, response and
 * URL, a body, JSON, inflating, hashing, a dynamic import.
 */
export async function warmUp(
  serve: typeof Deno.serve,
  handle: (request: Request, info: Deno.ServeHandlerInfo) => Response | Promise<Response>,
  root: string,
): Promise<void> {
  const server = serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request, info) => {
    new URL(request.url).searchParams.get("x");
    info.completed.catch(() => {});
    await request.text();
    return handle(request, info);
  });
  const address = `http://127.0.0.1:${server.addr.port}`;
  for (let round = 0; round < 3; round += 1) {
    await (await fetch(`${address}/_isotope/healthz`, { headers: { "x-warm": "1" } })).json();
    await (await fetch(`${address}/v2/warm`, { method: "POST", body: new Uint8Array(BODY_BYTES) })).text();
  }
  await readZip(await smallZip());
  await crypto.subtle.digest("SHA-256", new Uint8Array(BODY_BYTES));
  const file = `${root}/tmp/.warm.js`;
  Deno.writeTextFileSync(file, "export default () => new Response('warm');\n");
  const module: { default: () => Response } = await import(`file://${file}`);
  await module.default().text();
  Deno.removeSync(file);
  await server.shutdown();
}
