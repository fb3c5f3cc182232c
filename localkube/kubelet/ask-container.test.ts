import { createServer, type Server } from "node:http";
import { afterEach, describe, expect, it } from "vitest";
import { askContainer, type ContainerDoor } from "./ask-container.ts";
import type { Handler } from "./pod.ts";

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

async function serve(
  status: number,
  body = "",
  seen: { headers?: Record<string, unknown>; url?: string } = {},
): Promise<number> {
  const server = createServer((request, response) => {
    seen.headers = request.headers;
    seen.url = request.url ?? "";
    if (status === 0) return;
    response.writeHead(status).end(body);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

const door = (port: number): ContainerDoor => ({
  container: { name: "main", image: "a", ports: [{ name: "web", containerPort: port }] },
  address: "127.0.0.1",
  dialPort: (one) => one,
  exec: (command) =>
    Promise.resolve(
      command[0] === "true" ? { exitCode: 0, output: "" } : { exitCode: 1, output: "it said no\n" },
    ),
});

describe("asking a container", () => {
  it.each([
    [200, true],
    [204, true],
    [302, true],
    [399, true],
    [400, false],
    [503, false],
  ])("takes HTTP status %d as %s", async (status, ok) => {
    const port = await serve(status, "busy");
    expect((await askContainer({ httpGet: { port } }, door(port), 60_000)).ok).toBe(ok);
  });

  it("sends path, headers and the name of a probe, to a named port", async () => {
    const seen: { headers?: Record<string, unknown>; url?: string } = {};
    const port = await serve(200, "", seen);
    const httpGet = { port: "web", path: "healthz?full=1", httpHeaders: [{ name: "X-A", value: "b" }] };
    expect(await askContainer({ httpGet }, door(port), 60_000)).toEqual({ ok: true });
    expect(seen.url).toBe("/healthz?full=1");
    expect(seen.headers).toMatchObject({ "x-a": "b", "user-agent": "kube-probe/1.34" });
  });

  it("tells the status and the start of the answer", async () => {
    const port = await serve(500, "database is down");
    expect(await askContainer({ httpGet: { port } }, door(port), 60_000)).toEqual({
      ok: false,
      message: "HTTP probe failed with statuscode: 500: database is down",
    });
  });

  it("gives up in time", async () => {
    const port = await serve(0);
    const answer = await askContainer({ httpGet: { port } }, door(port), 50);
    expect(answer).toMatchObject({ ok: false, message: expect.stringContaining("no answer within 0.05 s") });
  });

  it.each<[string, Handler, boolean]>([
    ["a closed port", { httpGet: { port: 1 } }, false],
    ["a closed TCP port", { tcpSocket: { port: 1 } }, false],
    ["a port without that name", { tcpSocket: { port: "nope" } }, false],
    ["a command that succeeds", { exec: { command: ["true"] } }, true],
    ["a command that fails", { exec: { command: ["false"] } }, false],
    ["an empty command", { exec: { command: [] } }, false],
    ["nothing", {}, false],
  ])("with %s", async (_what, handler, ok) => {
    expect((await askContainer(handler, door(1), 60_000)).ok).toBe(ok);
  });

  it("connects to an open TCP port", async () => {
    const port = await serve(200);
    expect(await askContainer({ tcpSocket: { port } }, door(port), 60_000)).toEqual({ ok: true });
  });
});
