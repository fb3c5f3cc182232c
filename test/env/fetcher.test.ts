import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { type IncomingMessage, request } from "node:http";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { writeZip } from "../../net/archive/write-zip.ts";
import { rawZip } from "../archives/hostile-archives.ts";
import { startFetcherPod, stopFetcherPods } from "./fetcher-pod.ts";

afterEach(stopFetcherPods);

const HELLO = "def main(request):\n    return 'hello'\n";
const SLOW = "import time\n\ndef main(request):\n    time.sleep(2.5)\n    return 'done'\n";
const FILES = `
import os

def main(request):
    found = []
    for folder in (request.secrets, request.configs, request.userfunc):
        for base, _, names in os.walk(folder):
            for name in names:
                path = os.path.join(base, name)
                found.append(os.path.relpath(path, os.path.dirname(folder)) + "=" + open(path, errors="replace").read().strip())
    return "\\n".join(sorted(found))
`;
const text = (answer: string) => `def main(request):\n    return '${answer}'\n`;
const base64 = (text: string) => Buffer.from(text).toString("base64");

describe("specialisation through the fetcher", () => {
  it.each([1, 2, 3] as const)(
    "gives version %d its code where the contract has it, and its requests",
    async (envVersion) => {
      const pod = await startFetcherPod({ settings: { envVersion } });
      expect((await pod.specialize(HELLO)).status).toBe(200);
      expect(
        existsSync(join(pod.runtime.root, "userfunc", envVersion === 1 ? "user" : "deployarchive")),
      ).toBe(true);
      const reply = await pod.call("/a?b=c");
      expect([reply.status, await reply.text()]).toEqual([200, "hello"]);
      // The slot is free a moment after the caller has the answer.
      await expect
        .poll(() => pod.status())
        .toMatchObject({ state: "specialised", revision: "rev-1", started: 1, inFlight: 0 });
    },
  );

  it("unpacks a zip and finds the entry point in it", async () => {
    const pod = await startFetcherPod();
    const zip = await writeZip([
      { path: "lib.py", bytes: Buffer.from("import other\n\ndef first(request):\n    return other.NAME\n") },
      { path: "other.py", bytes: Buffer.from("NAME = 'first'\n") },
    ]);
    expect((await pod.specialize(zip, { functionName: "lib.first" })).status).toBe(200);
    expect(await (await pod.call()).text()).toBe("first");
  });

  it("hands a zip over as it is when archives are kept", async () => {
    const pod = await startFetcherPod({ settings: { keepArchive: true } });
    const zip = await writeZip([{ path: "main.py", bytes: Buffer.from(text("from a zip")) }]);
    expect((await pod.specialize(zip)).status).toBe(200);
    expect(readFileSync(join(pod.runtime.root, "userfunc/deployarchive")).equals(zip)).toBe(true);
    expect(await (await pod.call()).text()).toBe("from a zip");
  });

  it("puts secrets and config maps where the contract has them, for the pod's own user alone", async () => {
    const pod = await startFetcherPod();
    const secret = { namespace: "default", name: "db", data: { password: base64("s3cret") } };
    const elsewhere = {
      namespace: "default",
      name: "tls",
      mountPath: "certs/main",
      data: { "tls.crt": base64("cert") },
    };
    const config = { namespace: "default", name: "app", data: { "app.ini": base64("x=1") } };
    const reply = await pod.specialize(FILES, { secrets: [secret, elsewhere], configMaps: [config] });
    expect(reply.status).toBe(200);
    const lines = (await (await pod.call()).text()).split("\n");
    expect(lines).toContain("secrets/default/db/password=s3cret");
    expect(lines).toContain("secrets/certs/main/tls.crt=cert");
    expect(lines).toContain("configs/default/app/app.ini=x=1");
    const mode = (name: string) => statSync(join(pod.runtime.root, name)).mode & 0o777;
    expect(mode("secrets/default/db/password").toString(8)).toBe("400");
    expect(mode("configs/default/app/app.ini").toString(8)).toBe("440");
    expect(readdirSync(join(pod.runtime.root, "secrets")).toSorted()).toEqual(["certs", "default"]);
  });

  it("says why code does not load, and is spent then", async () => {
    const pod = await startFetcherPod();
    const reply = await pod.specialize("def main(request:\n");
    expect(reply.status).toBe(422);
    const error: unknown = await reply.json();
    expect(error).toMatchObject({ code: "load_failed", message: expect.stringContaining("SyntaxError") });
    expect((await pod.status()).state).toBe("failed");
    expect((await pod.specialize(HELLO)).status).toBe(409);
    const refused = await pod.call();
    expect([refused.status, refused.headers.get("x-isotope-refused")]).toEqual([503, "retired"]);
  });

  it("takes only its own token, its own UID, one function and a whole message", async () => {
    const pod = await startFetcherPod();
    expect((await pod.control("POST /v2/specialize", {}, "wrong")).status).toBe(401);
    expect((await pod.control("GET /_isotope/status", undefined, "")).status).toBe(401);
    expect((await pod.control("POST /v2/specialize", {})).status).toBe(400);
    expect((await pod.specialize(HELLO, { podUid: "another" })).status).toBe(409);
    expect((await pod.specialize(HELLO, { env: { A: "b" } })).status).toBe(400);
    const outside = { namespace: "..", name: "x", data: {} };
    expect((await pod.specialize(HELLO, { secrets: [outside] })).status).toBe(400);
    expect((await pod.status()).state).toBe("generic");
    expect((await pod.specialize(HELLO)).status).toBe(200);
    expect((await pod.specialize(HELLO)).status).toBe(409);
  });

  it("refuses an archive that is not the one that was meant", async () => {
    const pod = await startFetcherPod();
    const archive = { sha256: "0".repeat(64), sizeBytes: HELLO.length };
    const reply = await pod.specialize(HELLO, { archive });
    expect([reply.status, await reply.json()]).toMatchObject([422, { code: "archive_digest" }]);
    expect(readdirSync(join(pod.runtime.root, "userfunc"))).toEqual([]);
  });

  it.each([
    ["a path out of the folder", rawZip([{ name: "../out.py", content: "x" }])],
    ["an absolute path", rawZip([{ name: "/tmp/out.py", content: "x" }])],
    ["a link", rawZip([{ name: "link", content: "/etc/passwd", mode: 0o120777 }])],
    [
      "a name twice",
      rawZip([
        { name: "a", content: "1" },
        { name: "a", content: "2" },
      ]),
    ],
    ["a bomb", rawZip([{ name: "bomb", content: Buffer.alloc(64 * 2 ** 20), method: 8 }])],
    ["another name in its local header", rawZip([{ name: "a", content: "1", local: { name: "b" } }])],
  ])("unpacks nothing of an archive with %s", async (_, bytes) => {
    const pod = await startFetcherPod();
    const reply = await pod.specialize(bytes);
    expect([reply.status, await reply.json()]).toMatchObject([422, { code: "archive_unsafe" }]);
    expect(readdirSync(join(pod.runtime.root, "userfunc"))).toEqual([]);
  });
});

describe("requests through the fetcher", () => {
  it("lets in as many as requestsPerPod says", async () => {
    const pod = await startFetcherPod();
    await pod.specialize(SLOW, { limits: { requestsPerPod: 2 } });
    const replies = await Promise.all(Array.from({ length: 5 }, () => pod.call()));
    expect(replies.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 200, 429, 429, 429]);
    expect(replies.find(({ status }) => status === 429)?.headers.get("x-isotope-refused")).toBe("busy");
    await expect.poll(() => pod.status()).toMatchObject({ inFlight: 0, started: 2 });
  });

  it("lets one in for good where a pod serves once", async () => {
    const pod = await startFetcherPod();
    await pod.specialize(SLOW, { limits: { requestsPerPod: 1, onceOnly: true } });
    const replies = await Promise.all(Array.from({ length: 3 }, () => pod.call()));
    expect(replies.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 503, 503]);
    expect((await pod.call()).headers.get("x-isotope-refused")).toBe("retired");
  });

  it("refuses what is meant for another pod or revision, and what comes too early", async () => {
    const pod = await startFetcherPod();
    const early = await pod.call();
    expect([early.status, early.headers.get("x-isotope-refused")]).toEqual([421, "not-specialised"]);
    await pod.specialize(HELLO);
    const other = await pod.call("/", { revision: "rev-2" });
    expect([other.status, other.headers.get("x-isotope-refused")]).toEqual([421, "wrong-revision"]);
    const stray = await fetch(`${pod.origin}/`, { headers: { "x-isotope-pod": "another" } });
    expect([stray.status, stray.headers.get("x-isotope-refused")]).toEqual([421, "wrong-pod"]);
    expect((await fetch(`${pod.origin}/`)).status).toBe(401);
  });

  it("shows the runtime no header of the platform's own, and lets it say none", async () => {
    const pod = await startFetcherPod();
    await pod.specialize(
      "def main(request):\n    return 503, {'x-isotope-refused': 'busy', 'x-mine': '1'}, ','.join(sorted(k.lower() for k in request.headers))\n",
    );
    const reply = await pod.call();
    expect([reply.status, reply.headers.get("x-isotope-refused"), reply.headers.get("x-mine")]).toEqual([
      503,
      null,
      "1",
    ]);
    const names = (await reply.text()).split(",");
    expect(names).toContain("x-fission-function-uid");
    expect(names.filter((name) => name.startsWith("x-isotope-"))).toEqual([]);
  });

  it("gives up at the deadline", async () => {
    const pod = await startFetcherPod();
    await pod.specialize(SLOW);
    const reply = await pod.call("/", { headers: { "x-isotope-timeout-ms": "100" } });
    expect([reply.status, reply.headers.get("x-isotope-error")]).toEqual([504, "function_timeout"]);
  });

  it("passes large bodies both ways", async () => {
    const pod = await startFetcherPod();
    await pod.specialize("def main(request):\n    return request.body\n");
    const body = Buffer.alloc(3_000_000, "x");
    const reply = await pod.call("/", { method: "POST", body });
    expect((await reply.arrayBuffer()).byteLength).toBe(body.length);
  });

  it("answers a request that waits for its word before its body, and refuses one without reading it", async () => {
    const pod = await startFetcherPod();
    const post = async () => {
      const headers = { "x-isotope-pod": pod.uid, expect: "100-continue", "content-length": "2000000" };
      const sent = request(`${pod.origin}/`, { method: "POST", headers });
      let asked = false;
      sent.once("continue", () => {
        asked = true;
        sent.end(Buffer.alloc(2_000_000, "x"));
      });
      sent.flushHeaders();
      const [reply]: IncomingMessage[] = await once(sent, "response");
      let sizeBytes = 0;
      for await (const chunk of reply ?? []) sizeBytes += Buffer.from(chunk).length;
      sent.destroy();
      return { status: reply?.statusCode, asked, sizeBytes };
    };
    expect(await post()).toEqual({ status: 421, asked: false, sizeBytes: 0 });
    await pod.specialize("def main(request):\n    return request.body\n");
    expect(await post()).toEqual({ status: 200, asked: true, sizeBytes: 2_000_000 });
  });

  it("is retired once it was idle, and not while connections of the runtime's own are open", async () => {
    const pod = await startFetcherPod();
    await pod.specialize(HELLO);
    expect((await pod.control("POST /_isotope/retire", { ifIdleForMs: 60_000 })).status).toBe(409);
    await fetch(`${pod.origin}/wsevent/start`);
    expect((await pod.control("POST /_isotope/retire", { ifIdleForMs: 1 })).status).toBe(409);
    await fetch(`${pod.origin}/wsevent/end`);
    expect((await pod.control("POST /_isotope/retire", { ifIdleForMs: 0 })).status).toBe(200);
    expect((await pod.call()).headers.get("x-isotope-refused")).toBe("retired");
  });

  it("finds out that its runtime has died, and sends nothing there any more", async () => {
    const pod = await startFetcherPod();
    await pod.specialize(HELLO);
    await pod.call();
    pod.runtime.process.kill("SIGKILL");
    await new Promise((resolve) => pod.runtime.process.once("exit", resolve));
    // `fetch` repeats a request that was answered with 421.
    expect((await pod.call()).headers.get("x-isotope-refused")).toMatch(/^(?:not-specialised|retired)$/);
    expect((await pod.status()).state).toBe("failed");
  });

  it("passes WebSockets on, and is in use while one is open", async () => {
    const runtime = createServer((socket) => {
      let head = "";
      socket.on("data", (bytes) => {
        if (head.endsWith("\r\n\r\n")) {
          socket.write(bytes);
          return;
        }
        head += bytes.toString("latin1");
        if (head.startsWith("POST")) socket.end("HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n");
        else if (head.endsWith("\r\n\r\n"))
          socket.write(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\n",
          );
      });
      socket.on("error", () => undefined);
    });
    await once(runtime.listen(0, "127.0.0.1"), "listening");
    const address = runtime.address();
    if (address === null || typeof address === "string") throw new Error("a port is expected");
    const pod = await startFetcherPod({ settings: { neighbour: { host: "127.0.0.1", port: address.port } } });
    expect((await pod.specialize("")).status).toBe(200);
    const client = connect(pod.fetcher.port, "127.0.0.1");
    const lines = [
      "GET / HTTP/1.1",
      "host: x",
      `x-isotope-pod: ${pod.uid}`,
      "connection: Upgrade",
      "upgrade: websocket",
    ];
    const key = ["sec-websocket-version: 13", "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="];
    client.write(`${[...lines, ...key].join("\r\n")}\r\n\r\n`);
    const [answer] = await once(client, "data");
    expect(String(answer)).toMatch(/^HTTP\/1\.1 101 /);
    client.write("hello");
    expect(String((await once(client, "data"))[0])).toBe("hello");
    expect(await pod.status()).toMatchObject({ inFlight: 1, idleMs: 0 });
    expect((await pod.control("POST /_isotope/retire", { ifIdleForMs: 0 })).status).toBe(409);
    client.destroy();
    await expect.poll(async () => (await pod.status()).inFlight).toBe(0);
    runtime.close();
  });

  it("lets running requests finish when it drains", async () => {
    const pod = await startFetcherPod();
    await pod.specialize(SLOW);
    const slow = pod.call();
    while ((await pod.status()).inFlight === 0) await new Promise((go) => setTimeout(go, 5));
    expect((await pod.control("POST /_isotope/drain", {})).status).toBe(200);
    expect((await pod.call()).headers.get("x-isotope-refused")).toBe("retired");
    expect((await slow).status).toBe(200);
    await pod.fetcher.drained;
  });
});

describe("a pod for any number of functions", () => {
  const fn = (uid: string) => ({ namespace: "default", name: uid, uid, resourceVersion: "1" });
  const shared = () => startFetcherPod({ settings: { shared: true }, runtimeArgs: ["--infinite"] });

  it("serves each under its UID, with its own limits and state", async () => {
    const pod = await shared();
    for (const uid of ["fn-a", "fn-b"])
      expect((await pod.specialize(text(uid), { function: fn(uid), revision: `${uid}-1` })).status).toBe(200);
    expect(readdirSync(join(pod.runtime.root, "userfunc")).toSorted()).toEqual(["fn-a", "fn-b"]);
    for (const uid of ["fn-a", "fn-b"])
      expect(await (await pod.call("/", { function: uid, revision: `${uid}-1` })).text()).toBe(uid);
    const { functions } = await pod.status();
    expect(functions?.map((one) => [one.function?.uid, one.revision, one.started])).toEqual([
      ["fn-a", "fn-a-1", 1],
      ["fn-b", "fn-b-1", 1],
    ]);
    expect(await pod.status("fn-b")).toMatchObject({ state: "specialised", revision: "fn-b-1" });
  });

  it("loses only the function that does not load or is retired", async () => {
    const pod = await shared();
    await pod.specialize(text("a"), { function: fn("fn-a") });
    expect((await pod.specialize("def main(", { function: fn("fn-bad") })).status).toBe(422);
    await pod.specialize(text("b"), { function: fn("fn-b") });
    expect((await pod.specialize(text("b"), { function: fn("fn-b") })).status).toBe(409);
    expect((await pod.control("POST /_isotope/retire?function=fn-b", { ifIdleForMs: 0 })).status).toBe(200);
    expect((await pod.call("/", { function: "fn-b" })).headers.get("x-isotope-refused")).toBe(
      "not-specialised",
    );
    expect(await (await pod.call("/", { function: "fn-a" })).text()).toBe("a");
    await pod.specialize(text("b2"), { function: fn("fn-b"), revision: "rev-2" });
    expect(await (await pod.call("/", { function: "fn-b", revision: "rev-2" })).text()).toBe("b2");
  });
});
