/**
 * How long builds take in a warm builder process, over HTTP as the manager calls it. Prints a table. Target: one small TypeScript file
 * rebuilt in at most 60 ms. Needs the registry, or npm's cache, for the rows with packages.
 */
import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { BUILD_CONTENT_TYPE, BUILD_FRAME, BuildResult } from "../../api/wire/builder.ts";
import { messageHead, readFrames } from "../../api/wire/frames.ts";
import { buildWorkers } from "../../env-images/builder/build-workers.ts";
import { builderServer } from "../../env-images/builder/builder-server.ts";
import { openBuildsFolder } from "../../env-images/builder/builds-folder.ts";
import { writeZip } from "../../net/archive/write-zip.ts";
import { testSettings } from "../builder/build-source.ts";

const ROUNDS = 20;
const token = "benchmark-token-0123456789";
const folder = await mkdtemp(join(tmpdir(), "isotope-bench-builder-"));
const settings = testSettings(join(folder, "state"));
const buildsFolder = await openBuildsFolder(settings.stateFolder);
const workers = buildWorkers(settings);
const app = builderServer({
  settings,
  buildsFolder,
  workers,
  token,
  version: "bench",
  sharedFolder: undefined,
});
const origin = await app.listen({ host: "127.0.0.1", port: 0 });

async function buildOnce(source: Buffer, filename: string): Promise<{ ms: number; artifactBytes: number }> {
  const head = {
    namespace: "default",
    package: "bench",
    source: { sha256: createHash("sha256").update(source).digest("hex"), sizeBytes: source.length, filename },
    command: "",
    entry: "",
    typeCheck: false,
    timeoutMs: 120_000,
  };
  const startedAt = performance.now();
  const reply = await fetch(`${origin}/v1/build`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": BUILD_CONTENT_TYPE },
    body: Buffer.concat([messageHead(head), source]),
  });
  let artifactBytes = 0;
  if (!reply.body) throw new Error(`the builder answered ${reply.status}`);
  for await (const { type, content } of readFrames(reply.body, 2 ** 28)) {
    if (type === BUILD_FRAME.artifact) artifactBytes = content.length;
    if (type !== BUILD_FRAME.result) continue;
    const result = BuildResult.parse(JSON.parse(Buffer.from(content).toString("utf8")));
    if (result.outcome === "failed") throw new Error(result.message);
  }
  return { ms: performance.now() - startedAt, artifactBytes };
}

const small = (round: number): Buffer =>
  Buffer.from(`export default (_: Request): Response => new Response("hello ${round}");`);
const withPackages = (round: number): Buffer =>
  Buffer.from(
    `import { Hono } from "npm:hono@4"; import { nanoid } from "npm:nanoid@5"; const app = new Hono(); app.get("/", (c) => c.text(nanoid() + ${round})); export default app;`,
  );
const folderOf =
  (count: number) =>
  async (round: number): Promise<Buffer> =>
    await writeZip([
      {
        path: "index.ts",
        bytes: Buffer.from(
          Array.from({ length: count }, (_, at) => `export * from "./lib/m${at}.ts";`).join("\n"),
        ),
      },
      ...Array.from({ length: count }, (_, at) => ({
        path: `lib/m${at}.ts`,
        bytes: Buffer.from(`export const v${at}: number = ${at + round};`),
      })),
    ]);

const rows: {
  what: string;
  filename: string;
  source: (round: number) => Buffer | Promise<Buffer>;
  target: string;
}[] = [
  { what: "one small file", filename: "hello.ts", source: small, target: "<= 60 ms" },
  { what: "folder of 100 modules", filename: "f.zip", source: folderOf(100), target: "" },
  { what: "one file, hono and nanoid (installed)", filename: "hello.ts", source: withPackages, target: "" },
];
console.log(
  `builder, warm, ${ROUNDS} rebuilds of a changed source each, ${cpus().length} x ${cpus()[0]?.model ?? "?"}, Node ${process.version}`,
);
console.log(
  "| source | first ms | p50 ms | worst ms | artifact bytes | target p50 |\n|---|---|---|---|---|---|",
);
for (const { what, filename, source, target } of rows) {
  const first = await buildOnce(await source(-1), filename);
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1)
    times.push((await buildOnce(await source(round), filename)).ms);
  times.sort((a, b) => a - b);
  console.log(
    `| ${what} | ${first.ms.toFixed(0)} | ${(times[ROUNDS / 2] ?? 0).toFixed(1)} | ${(times.at(-1) ?? 0).toFixed(1)} | ${first.artifactBytes} | ${target} |`,
  );
}
await app.close();
workers.close();
await rm(folder, { recursive: true, force: true });
