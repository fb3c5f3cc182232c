import type { FunctionConfig } from "@isotope/platform";
import QRCode from "qrcode";

export const config = { route: "/qr", methods: ["GET"] } satisfies FunctionConfig;

const MAX_TEXT = 1000;

/** GET /qr?text=https://example.com&size=256 → a PNG; with `format=svg` an SVG. */
export default async (request: Request): Promise<Response> => {
  const { searchParams } = new URL(request.url);
  const text = searchParams.get("text") ?? "";
  const size = Number(searchParams.get("size") ?? 256);
  if (text === "" || text.length > MAX_TEXT)
    return Response.json(
      { error: `text must have 1..${MAX_TEXT} characters, got ${text.length}` },
      { status: 400 },
    );
  if (!Number.isInteger(size) || size < 32 || size > 2048)
    return Response.json(
      { error: `size must be 32..2048, got ${searchParams.get("size")}` },
      { status: 400 },
    );
  const headers = { "cache-control": "public, max-age=86400" };
  if (searchParams.get("format") === "svg") {
    return new Response(await QRCode.toString(text, { type: "svg", width: size }), {
      headers: { ...headers, "content-type": "image/svg+xml" },
    });
  }
  const png = new Uint8Array(await QRCode.toBuffer(text, { type: "png", width: size }));
  return new Response(png, { headers: { ...headers, "content-type": "image/png" } });
};
