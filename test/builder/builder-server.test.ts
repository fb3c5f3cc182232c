import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { FastifyInstance } from "fastify";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { BUILD_CONTENT_TYPE, BUILD_FRAME } from "../../api/wire/builder.ts";
import { messageHead, readFrames } from "../../api/wire/frames.ts";
import { type BuildWorkers, buildWorkers } from "../../env-images/builder/build-workers.ts";
import { builderServer } from "../../env-images/builder/builder-server.ts";
import { openBuildsFolder } from "../../env-images/builder/builds-folder.ts";
import { testSettings } from "./build-source.ts";

const TOKEN = "0123456789abcdef-token";
const HELLO = Buffer.from(`export default () => new Response("hello");`);
let folder: string;
let shared: string;
let buildsFolder: string;
let workers: BuildWorkers;
let app: FastifyInstance;
let origin: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "isotope-builder-server-"));
  shared = join(folder, "shared");
  await mkdir(shared);
  const settings = { ...testSettings(join(folder, "state")), concurrency: 1, maxSourceBytes: 100_000 };
  buildsFolder = await openBuildsFolder(settings.stateFolder);
  workers = buildWorkers(settings);
  app = builderServer({
    settings,
    buildsFolder,
    workers,
    token: TOKEN,
    version: "test",
    sharedFolder: shared,
  });
  origin = await app.listen({ host: "127.0.0.1", port: 0 });
});
afterAll(async () => {
  await app.close();
  workers.close();
  await rm(folder, { recursive: true, force: true });
});

const head = (source: Buffer, more: object = {}): object => ({
  namespace: "default",
  package: "p",
  source: {
    sha256: createHash("sha256").update(source).digest("hex"),
    sizeBytes: source.length,
    filename: "hello.ts",
  },
  command: "",
  entry: "",
  typeCheck: false,
  timeoutMs: 20_000,
  ...more,
});
const post = (body: Uint8Array<ArrayBuffer>, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(`${origin}/v1/build`, {
    method: "POST",
    body,
    headers: { authorization: `Bearer ${TOKEN}`, "content-type": BUILD_CONTENT_TYPE, ...headers },
  });
const message = (source: Buffer, more: object = {}): Buffer<ArrayBuffer> =>
  Buffer.concat([messageHead(head(source, more)), source]);

describe("/v1/build", () => {
  test("streams log, result and artifact", async () => {
    const reply = await post(message(HELLO));
    const types: number[] = [];
    let result: unknown;
    if (reply.body) {
      for await (const { type, content } of readFrames(reply.body, 2 ** 20)) {
        types.push(type);
        if (type === BUILD_FRAME.result) result = JSON.parse(Buffer.from(content).toString());
      }
    }
    expect([types, result]).toMatchObject([[1, 2, 3], { outcome: "succeeded" }]);
    await expect.poll(() => readdir(buildsFolder)).toEqual([]);
  });
  const wrongDigest = { source: { sha256: "0".repeat(64), sizeBytes: HELLO.length, filename: "x.ts" } };
  test.each<[string, () => Promise<Response>, number]>([
    ["no token", () => post(message(HELLO), { authorization: "" }), 401],
    ["wrong token", () => post(message(HELLO), { authorization: "Bearer nearly" }), 401],
    ["another content type", () => post(message(HELLO), { "content-type": "application/octet-stream" }), 415],
    ["no JSON", () => post(Buffer.concat([Buffer.from([0, 0, 0, 3]), Buffer.from("{{{")])), 400],
    ["a head that is too large", () => post(Buffer.from([0xff, 0xff, 0xff, 0xff, 1])), 400],
    ["a head that ends early", () => post(Buffer.from([0, 0, 0, 9, 1])), 400],
    ["an empty message", () => post(Buffer.alloc(2)), 400],
    ["a missing field", () => post(message(HELLO, { entry: undefined })), 400],
    ["another digest", () => post(message(HELLO, wrongDigest)), 400],
    ["a shorter source", () => post(message(HELLO).subarray(0, -3)), 400],
    ["a longer source", () => post(Buffer.concat([message(HELLO), Buffer.from("x")])), 400],
    ["a source over the limit", () => post(message(Buffer.alloc(100_001))), 400],
  ])("refused: %s", async (_what, call, status) => {
    const reply = await call();
    expect([reply.status, await reply.json()]).toMatchObject([status, { component: "builder" }]);
    expect(await readdir(buildsFolder)).toEqual([]);
  });
  test("a second build at once is told to wait", async () => {
    const replies = await Promise.all([post(message(HELLO)), post(message(HELLO)), post(message(HELLO))]);
    const codes = replies.map(({ status }) => status).sort((a, b) => a - b);
    expect(codes[0]).toBe(200);
    expect(codes.at(-1)).toBe(429);
    for (const reply of replies) await reply.arrayBuffer();
  });
});

describe("the reference system's contract", () => {
  const build = (body: unknown): Promise<Response> =>
    fetch(`${origin}/`, {
      method: "POST",
      body: JSON.stringify(body),
      headers: { "content-type": "application/json" },
    });
  test("builds from the shared folder into it, and cleans up", async () => {
    await writeFile(join(shared, "src"), HELLO);
    const reply = await build({ srcPkgFilename: "src", command: "build" });
    const { artifactFilename, buildLogs } = Object(await reply.json());
    expect([reply.status, buildLogs]).toEqual([200, expect.stringContaining("built 1 modules")]);
    expect(await readFile(join(shared, artifactFilename, "index.js"), "utf8")).toContain("hello");
    expect((await fetch(`${origin}/clean?name=${artifactFilename}`, { method: "DELETE" })).status).toBe(200);
    expect(existsSync(join(shared, artifactFilename))).toBe(false);
  });
  test("a failing build answers 500 with its log", async () => {
    await writeFile(join(shared, "bad"), "export default (");
    const reply = await build({ srcPkgFilename: "bad", command: "" });
    expect([reply.status, await reply.json()]).toMatchObject([
      500,
      { buildLogs: expect.stringContaining("index.ts:1:17") },
    ]);
  });
  test.each([";", "|", "&", "`", "$", "(", ")", "<", ">", "\n", "\r"])(
    "command with %j is refused",
    async (character) => {
      const reply = await build({ srcPkgFilename: "src", command: `build ${character} x` });
      expect(reply.status).toBe(400);
    },
  );
  test.each(["../etc", "a/b", "/etc/passwd", "..", "", "a\\b"])("name %j is refused", async (name) => {
    expect((await build({ srcPkgFilename: name, command: "" })).status).toBe(400);
    expect(
      (await fetch(`${origin}/clean?name=${encodeURIComponent(name)}`, { method: "DELETE" })).status,
    ).toBe(400);
  });
  test("healthz and version", async () => {
    expect(await (await fetch(`${origin}/healthz`)).json()).toEqual({ status: "ok" });
    expect(await (await fetch(`${origin}/version`)).json()).toEqual({ version: "test" });
  });
});

test("a build that takes too much memory is stopped, the server lives on", async () => {
  const settings = { ...testSettings(join(folder, "small")), concurrency: 1, maxMemoryBytes: 20 * 2 ** 20 };
  const builds = await openBuildsFolder(settings.stateFolder);
  const few = buildWorkers(settings);
  const slot = few.reserve();
  const lines: string[] = [];
  const job = join(builds, "job");
  await mkdir(job);
  const sourcePath = join(job, "source");
  // Large enough to be at work when memory is looked at.
  await writeFile(
    sourcePath,
    Array.from({ length: 400_000 }, (_, at) => `export const v${at} = { a: ${at} };`).join("\n"),
  );
  const finished = await slot?.run({
    request: {
      namespace: "d",
      package: "p",
      source: { sha256: "", sizeBytes: 1, filename: "x.ts" },
      command: "",
      entry: "",
      typeCheck: false,
      timeoutMs: 20_000,
    },
    sourcePath,
    folder: job,
    log: (line) => void lines.push(line),
    signal: AbortSignal.any([]),
  });
  expect(finished?.result).toEqual({
    outcome: "failed",
    fault: "user",
    message: "The build needs more than 20 MiB of memory and was stopped",
  });
  expect(few.reserve()).toBeDefined();
  few.close();
});
