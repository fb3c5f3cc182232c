import { randomBytes } from "node:crypto";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fastify, { type FastifyInstance } from "fastify";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { PlatformError } from "../../api/errors.ts";
import { archiveRoutes, requestedRange } from "../../engine/storage/archive-routes.ts";
import type { ArchiveStore } from "../../engine/storage/archive-store.ts";
import { openLocalArchiveStore } from "../../engine/storage/local-archive-store.ts";
import { fastifyErrorHandler } from "../../net/error-reply.ts";
import { chunksOf, sha256 } from "./archive-store-conformance.ts";

const MAX = 50_000;
let root: string;
let app: FastifyInstance;
let origin: string;
let store: ArchiveStore;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "isotope-archive-routes-"));
  store = await openLocalArchiveStore({ root, maxArchiveBytes: MAX });
  // Some tests leave in the middle of an upload: their connections must not hold the close up.
  app = fastify({ forceCloseConnections: true });
  app.setErrorHandler(
    fastifyErrorHandler({ onUnexpected: () => undefined, debug: true, badRequest: "archive_invalid" }),
  );
  await app.register(async (inner) => {
    inner.addHook("onRequest", async (request) => {
      if (request.headers.authorization !== "Bearer right") throw new PlatformError("unauthorized");
    });
    archiveRoutes(inner, { store, maxArchiveBytes: MAX });
  });
  origin = await app.listen({ host: "127.0.0.1", port: 0 });
});
afterAll(async () => {
  await app.close();
  await rm(root, { recursive: true, force: true });
});

const auth = { authorization: "Bearer right" };
const call = (path: string, init: RequestInit = {}): Promise<Response> =>
  fetch(`${origin}/v1/archive${path}`, {
    ...init,
    headers: { ...auth, ...Object.fromEntries(new Headers(init.headers)) },
  });
const form = (field: string, bytes: Uint8Array<ArrayBuffer>): FormData => {
  const data = new FormData();
  data.set(field, new Blob([bytes]), "archive.zip");
  return data;
};
const idOf = (reply: unknown): string => z.object({ id: z.string() }).parse(reply).id;
const bytesOf = (length: number): Buffer<ArrayBuffer> => Buffer.from(randomBytes(length));

describe("/v1/archive", () => {
  test("the reference system's upload, download, head, list and delete", async () => {
    const bytes = bytesOf(3000);
    const posted = await call("", {
      method: "POST",
      body: form("uploadfile", bytes),
      headers: { "x-file-size": "3000" },
    });
    expect(posted.status).toBe(200);
    const id = idOf(await posted.json());
    expect(id).toBe(`sha256:${sha256(bytes)}`);
    const got = await call(`?id=${encodeURIComponent(id)}`);
    expect(Buffer.from(await got.arrayBuffer()).equals(bytes)).toBe(true);
    expect(got.headers.get("content-length")).toBe("3000");
    const head = await call(`?id=${id}`, { method: "HEAD" });
    expect([
      head.headers.get("x-fission-storagetype"),
      head.headers.get("x-fission-bucket"),
      head.headers.get("content-length"),
    ]).toEqual(["local", "", "3000"]);
    expect(await (await call("")).json()).toEqual([id]);
    expect(await (await call("?details=true")).json()).toMatchObject([{ id, sizeBytes: 3000 }]);
    expect((await call(`?id=${id}`, { method: "DELETE" })).status).toBe(200);
    expect((await call(`?id=${id}`)).status).toBe(404);
  });
  test("raw upload: 201 when new, 200 when there", async () => {
    const body = bytesOf(2000);
    const path = `?sha256=${sha256(body)}`;
    expect((await call(path, { method: "PUT", body })).status).toBe(201);
    const again = await call(path, { method: "PUT", body });
    expect([again.status, await again.json()]).toEqual([
      200,
      { id: `sha256:${sha256(body)}`, sizeBytes: 2000 },
    ]);
  });
  test("ranges", async () => {
    const body = bytesOf(1000);
    const id = idOf(await (await call("", { method: "PUT", body })).json());
    const part = await call(`?id=${id}`, { headers: { range: "bytes=990-" } });
    expect([part.status, part.headers.get("content-range")]).toEqual([206, "bytes 990-999/1000"]);
    expect(Buffer.from(await part.arrayBuffer()).equals(body.subarray(990))).toBe(true);
    const beyond = await call(`?id=${id}`, { headers: { range: "bytes=1000-" } });
    expect([beyond.status, beyond.headers.get("content-range")]).toEqual([416, "bytes */1000"]);
    expect(requestedRange("bytes=-5", 100)).toEqual({ start: 95, end: 99 });
    expect(requestedRange("bytes=-500", 100)).toEqual({ start: 0, end: 99 });
    expect(requestedRange("bytes=-0", 100)).toBe("unsatisfiable");
    for (const header of ["bytes=5-2", "items=0-1", "bytes=0-1,3-4", "bytes=-", "bytes=a-b"])
      expect(requestedRange(header, 100)).toBeUndefined();
  });

  const body = bytesOf(100);
  const tooMuch = bytesOf(MAX + 1);
  const bad: [string, string, RequestInit, number, string][] = [
    ["no credentials", "", { headers: { authorization: "" } }, 401, "unauthorized"],
    [
      "upload without credentials",
      "",
      { method: "PUT", body, headers: { authorization: "" } },
      401,
      "unauthorized",
    ],
    [
      "deletion without credentials",
      "?id=x",
      { method: "DELETE", headers: { authorization: "" } },
      401,
      "unauthorized",
    ],
    [
      "digest of another content",
      `?sha256=${"0".repeat(64)}`,
      { method: "PUT", body },
      400,
      "archive_invalid",
    ],
    ["digest that is none", "?sha256=abc", { method: "PUT", body }, 400, "archive_invalid"],
    ["digest in capitals", `?sha256=${"A".repeat(64)}`, { method: "PUT", body }, 400, "archive_invalid"],
    [
      "digest twice",
      `?sha256=${"0".repeat(64)}&sha256=${"1".repeat(64)}`,
      { method: "PUT", body },
      400,
      "archive_invalid",
    ],
    [
      "wrong X-File-Size",
      "",
      { method: "PUT", body, headers: { "x-file-size": "99" } },
      400,
      "archive_invalid",
    ],
    [
      "X-File-Size that is no number",
      "",
      { method: "PUT", body, headers: { "x-file-size": "many" } },
      400,
      "archive_invalid",
    ],
    ["too large", "", { method: "PUT", body: tooMuch }, 413, "archive_too_large"],
    ["form too large", "", { method: "POST", body: form("uploadfile", tooMuch) }, 413, "archive_too_large"],
    ["form with another field", "", { method: "POST", body: form("file", body) }, 400, "archive_invalid"],
    [
      "form without a file",
      "",
      { method: "POST", body: new URLSearchParams({ uploadfile: "x" }) },
      400,
      "archive_invalid",
    ],
    [
      "form with the wrong size",
      "",
      { method: "POST", body: form("uploadfile", body), headers: { "x-file-size": "7" } },
      400,
      "archive_invalid",
    ],
    [
      "form that is no form",
      "",
      { method: "POST", body: "x", headers: { "content-type": "multipart/form-data; boundary=b" } },
      400,
      "archive_invalid",
    ],
    [
      "form without a boundary",
      "",
      { method: "POST", body: "x", headers: { "content-type": "multipart/form-data" } },
      400,
      "archive_invalid",
    ],
    [
      "form that ends inside its file",
      "",
      {
        method: "POST",
        body: '--b\r\ncontent-disposition: form-data; name="uploadfile"; filename="a"\r\n\r\nhalf',
        headers: { "content-type": "multipart/form-data; boundary=b" },
      },
      400,
      "archive_invalid",
    ],
    ["nothing", "", { method: "PUT", body: "" }, 400, "archive_invalid"],
    ["no id to delete", "", { method: "DELETE" }, 400, "archive_invalid"],
    ["no id for HEAD", "?id=", { method: "GET" }, 400, "archive_invalid"],
    ["unknown id", `?id=sha256:${"0".repeat(64)}`, {}, 404, "archive_not_found"],
    ["path instead of an id", "?id=../../../etc/passwd", {}, 404, "archive_not_found"],
    ["id of another tenant's form", "?id=_tenant_/ns/x", { method: "DELETE" }, 404, "archive_not_found"],
  ];
  test.each(bad)("refused: %s", async (_what, path, init, status, reason) => {
    const before = await (await call("?details=true")).text();
    const reply = await call(path, init);
    expect([reply.status, await reply.json()]).toMatchObject([status, { reason }]);
    expect(await (await call("?details=true")).text()).toBe(before);
    expect(await readdir(join(root, "tmp"))).toEqual([]);
  });

  test("an upload that is cut off stores nothing", async () => {
    const before = await store.list();
    for (const head of [
      `PUT /v1/archive HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer right\r\nContent-Length: 9000\r\n\r\n`,
      `PUT /v1/archive HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer right\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n`,
      `POST /v1/archive HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer right\r\nContent-Length: 9000\r\nContent-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\nContent-Disposition: form-data; name="uploadfile"; filename="a"\r\n\r\n`,
    ]) {
      const socket = connect(Number(new URL(origin).port), "127.0.0.1");
      socket.write(`${head}hello`);
      await new Promise((resolve) => setTimeout(resolve, 60));
      socket.destroy();
    }
    await expect.poll(() => readdir(join(root, "tmp"))).toEqual([]);
    expect(await store.list()).toEqual(before);
  });
  test("an archive larger than memory buffers streams through", async () => {
    const bytes = bytesOf(40_000);
    await store.put(chunksOf(bytes));
    const reply = await call(`?id=${sha256(bytes)}`);
    expect(sha256(Buffer.from(await reply.arrayBuffer()))).toBe(sha256(bytes));
  });
});
