import fastify from "fastify";
import { expect, test } from "vitest";
import { keyRing } from "./keys.ts";
import { sha256Hex, signer, verifier } from "./sign.ts";
import { requireSignedCalls } from "./signed-hook.ts";

test("an altered body that no handler reads does not end the process", async () => {
  const keys = keyRing(["k".repeat(64)]);
  const app = fastify();
  requireSignedCalls(app, { verifier: verifier(keys, "here") });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", (_request, payload, done) => done(null, payload));
  app.post("/refuses", (_request, reply) => reply.code(400).send("no"));
  const origin = await app.listen({ host: "127.0.0.1", port: 0 });
  try {
    const call = async (body: string): Promise<number> => {
      const headers = signer(
        keys,
        "here",
      )({ method: "POST", target: "/refuses", bodySha256: sha256Hex("a") });
      const type = { "content-type": "application/octet-stream" };
      const reply = await fetch(`${origin}/refuses`, {
        method: "POST",
        headers: { ...headers, ...type },
        body,
      });
      return reply.status;
    };
    expect(await call("b")).toBe(400);
    expect(await call("a")).toBe(400);
  } finally {
    await app.close();
  }
});
