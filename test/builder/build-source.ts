import { spawn } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import type { BuildRequest, BuildResult } from "../../api/wire/builder.ts";
import { build } from "../../env-images/builder/build.ts";
import type { BuilderSettings } from "../../env-images/builder/builder-settings.ts";
import { readArchive } from "../../net/archive/read-archive.ts";
import { writeZip } from "../../net/archive/write-zip.ts";

/** A source: one module's text, a folder's files, or the bytes of an archive. */
export type Source = string | Record<string, string | Uint8Array> | Uint8Array;

export interface Built {
  readonly result: BuildResult;
  readonly log: string[];
  readonly files: Map<string, Buffer>;
  readonly artifact: Buffer | undefined;
}

export interface Workshop {
  readonly settings: BuilderSettings;
  build(source: Source, request?: Partial<BuildRequest> & { filename?: string }): Promise<Built>;
  /** Writes a built artifact to a folder and runs a script beside it in Deno, restricted as in a pod; returns what it prints. */
  run(built: Built, script: string): Promise<string>;
  close(): Promise<void>;
}

const DENO = fileURLToPath(new URL("../../node_modules/.bin/deno", import.meta.url));
// Shared by all runs of the tests, so that a package is fetched once.
const NPM_CACHE = join(tmpdir(), "isotope-test-npm-cache");

export async function openWorkshop(npm: Partial<BuilderSettings["npm"]> = {}): Promise<Workshop> {
  const folder = await mkdtemp(join(tmpdir(), "isotope-workshop-"));
  const settings = testSettings(join(folder, "state"), npm);
  return {
    settings,
    build: async (source, request = {}) => {
      const bytes = await bytesOf(source);
      const own = join(settings.stateFolder, "builds", randomUUID());
      await mkdir(own, { recursive: true });
      const path = join(own, "source");
      await writeFile(path, bytes);
      const log: string[] = [];
      const { filename, ...rest } = request;
      const output = await build(
        {
          namespace: "default",
          package: "test",
          source: {
            sha256: createHash("sha256").update(bytes).digest("hex"),
            sizeBytes: bytes.length,
            filename: filename ?? "hello.ts",
          },
          command: "",
          entry: "",
          typeCheck: false,
          timeoutMs: 60_000,
          ...rest,
        },
        path,
        { settings, folder: join(own, "work"), log: (line) => log.push(line) },
      );
      return { result: output.result, log, files: await filesOf(output.artifact), artifact: output.artifact };
    },
    run: async (built, script) => {
      const target = await mkdtemp(join(folder, "run-"));
      for (const [path, bytes] of built.files) {
        await mkdir(dirname(join(target, path)), { recursive: true });
        await writeFile(join(target, path), bytes);
      }
      await writeFile(join(target, "run.mjs"), script);
      const flags = [
        "--no-prompt",
        "--no-config",
        "--no-lock",
        "--no-remote",
        "--no-npm",
        "--cached-only",
        `--allow-read=${target}`,
        "--allow-env",
      ];
      const child = spawn(DENO, ["run", ...flags, join(target, "run.mjs")], {
        stdio: ["ignore", "pipe", "pipe"],
      });
      const [out, error] = await Promise.all([text(child.stdout), text(child.stderr)]);
      return error === "" ? out.trim() : `${out}${error}`;
    },
    close: () => rm(folder, { recursive: true, force: true }),
  };
}

export function testSettings(
  stateFolder: string,
  npm: Partial<BuilderSettings["npm"]> = {},
): BuilderSettings {
  return {
    stateFolder,
    npm: {
      command: "npm",
      cacheFolder: NPM_CACHE,
      allowScripts: [],
      minReleaseAgeDays: 0,
      timeoutMs: 120_000,
      keptInstallations: 16,
      ...npm,
    },
    maxSourceBytes: 64 * 2 ** 20,
    maxArtifactBytes: 64 * 2 ** 20,
    concurrency: 2,
    maxMemoryBytes: 2 ** 30,
    idleWorkerMs: 60_000,
  };
}

export async function bytesOf(source: Source): Promise<Uint8Array> {
  if (typeof source === "string") return Buffer.from(source);
  if (source instanceof Uint8Array) return source;
  return await writeZip(
    Object.entries(source).map(([path, content]) => ({ path, bytes: Buffer.from(content) })),
  );
}

export async function filesOf(artifact: Uint8Array | undefined): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>();
  if (artifact)
    for await (const file of readArchive(artifact, "zip")) files.set(file.path, Buffer.from(file.bytes));
  return files;
}

/** A script that calls the default export with a request and prints the answer's text. */
export const CALL = `const { default: handler } = await import("./index.js");
const answer = await (handler.fetch ? handler.fetch(new Request("http://x/"), {}, {}) : handler(new Request("http://x/")));
console.log(answer instanceof Response ? await answer.text() : JSON.stringify(answer));`;
