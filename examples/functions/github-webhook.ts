import type { FunctionConfig } from "@isotope/platform";

export const config = {
  route: "/hooks/github",
  methods: ["POST"],
  // kubectl create secret generic github-webhook --from-literal=secret=…
  env: { WEBHOOK_SECRET: { secret: "github-webhook", key: "secret", optional: true } },
} satisfies FunctionConfig;

const bytesOf = (hex: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));

/** Accepts a delivery only when its signature is right; `verify` compares in constant time. */
export default {
  async fetch(request: Request, env: Record<string, string | undefined>): Promise<Response> {
    const secret = env.WEBHOOK_SECRET;
    if (!secret)
      return Response.json(
        { error: 'create the secret "github-webhook" with the key "secret" first' },
        { status: 503 },
      );
    const signature = /^sha256=([0-9a-f]{64})$/.exec(request.headers.get("x-hub-signature-256") ?? "")?.[1];
    if (!signature)
      return Response.json(
        { error: "the X-Hub-Signature-256 header is missing or malformed" },
        { status: 401 },
      );
    const body = await request.arrayBuffer();
    const key = await crypto.subtle.importKey(
      "raw",
      new TextEncoder().encode(secret),
      { name: "HMAC", hash: "SHA-256" },
      false,
      ["verify"],
    );
    if (!(await crypto.subtle.verify("HMAC", key, bytesOf(signature), body)))
      return Response.json({ error: "the signature is wrong" }, { status: 401 });
    const event = request.headers.get("x-github-event") ?? "unknown";
    const delivery = JSON.parse(new TextDecoder().decode(body)) as { repository?: { full_name?: string } };
    console.log(`delivery of ${event} for ${delivery.repository?.full_name ?? "no repository"}`);
    return Response.json({ accepted: event });
  },
};
