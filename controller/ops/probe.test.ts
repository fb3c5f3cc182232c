import { createServer, type RequestListener } from "node:http";
import { afterEach, expect, test } from "vitest";
import { probeComponents } from "./probe.ts";

const servers: ReturnType<typeof createServer>[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

async function component(name: string, listener: RequestListener) {
  const server = createServer(listener);
  servers.push(server);
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  const address = server.address();
  const port = typeof address === "object" ? (address?.port ?? 0) : 0;
  return { name, healthUrl: `http://127.0.0.1:${port}/healthz` };
}

test("a component that answers is up, even if late; others are down, with the reason", async () => {
  const components = [
    await component("well", (_, reply) => reply.end("ok")),
    await component("late", (_, reply) => setTimeout(() => reply.end("ok"), 1_200)),
    await component("ill", (_, reply) => reply.writeHead(503).end("the disk is full\n")),
    { name: "gone", healthUrl: "http://127.0.0.1:1/healthz" },
  ];
  const found = await probeComponents(components, "1.2.3");
  expect(found.map(({ name, status, version }) => [name, status, version])).toEqual([
    ["well", "up", "1.2.3"],
    ["late", "up", "1.2.3"],
    ["ill", "down", "1.2.3"],
    ["gone", "down", ""],
  ]);
  expect(found[2]?.message).toBe("the disk is full");
  expect(found[3]?.message).toMatch(/^http:\/\/127.0.0.1:1\/healthz does not answer: .*ECONNREFUSED/);
});

test("one that never answers is down when its time is over", async () => {
  const silent = await component("silent", () => undefined);
  expect(await probeComponents([silent], "1.2.3", 50)).toEqual([
    {
      name: "silent",
      status: "down",
      version: "",
      message: `${silent.healthUrl} does not answer: no answer within 50 ms`,
    },
  ]);
});
