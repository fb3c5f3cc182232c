import { Redis } from "ioredis";
import type { FunctionConfig } from "@isotope/platform";

export const config = {
  route: [
    { path: "/s", methods: ["POST"] },
    { path: "/s/{code:[a-zA-Z0-9]{7}}", methods: ["GET"] },
  ],
  // A local platform with Redis makes this secret; on a cluster: kubectl create secret generic redis --from-literal=url=redis://…
  env: { REDIS_URL: { secret: "redis", key: "url", optional: true } },
} satisfies FunctionConfig;

const ALPHABET = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
const CODE_LENGTH = 7;
const YEAR_S = 365 * 24 * 3600;
const url = Deno.env.get("REDIS_URL");
const redis = url ? new Redis(url, { maxRetriesPerRequest: 1 }) : undefined;
redis?.on("error", (error: Error) => console.warn(`redis: ${error.message}`));

const newCode = (): string =>
  Array.from(
    crypto.getRandomValues(new Uint8Array(CODE_LENGTH)),
    (byte) => ALPHABET[byte % ALPHABET.length],
  ).join("");

async function shorten(target: string, origin: string): Promise<Response> {
  if (!URL.canParse(target) || !/^https?:$/.test(new URL(target).protocol))
    return Response.json({ error: `url must be an http or https URL, got "${target}"` }, { status: 400 });
  for (;;) {
    const code = newCode();
    // NX: a code that is taken is never given away again.
    if (await redis?.set(`app:short:${code}`, target, "EX", YEAR_S, "NX"))
      return Response.json({ code, short: `${origin}/s/${code}` }, { status: 201 });
  }
}

/** POST /s {"url": "https://…"} → {"code", "short"}; GET /s/{code} → 302. State is kept in Redis. */
export default async (request: Request): Promise<Response> => {
  if (!redis)
    return Response.json({ error: 'create the secret "redis" with the key "url" first' }, { status: 503 });
  if (request.method === "POST") {
    const body = (await request.json().catch(() => ({}))) as { url?: unknown };
    return shorten(
      String(body.url ?? ""),
      `http://${request.headers.get("x-forwarded-host") ?? "127.0.0.1"}`,
    );
  }
  const code = request.headers.get("x-fission-params-code") ?? "";
  const target = await redis.get(`app:short:${code}`);
  return target
    ? new Response(null, { status: 302, headers: { location: target } })
    : Response.json({ error: `no such code: ${code}` }, { status: 404 });
};
