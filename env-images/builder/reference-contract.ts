import { randomUUID } from "node:crypto";
import { mkdir, readFile, rename, rm, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import type { FastifyInstance } from "fastify";
import { z } from "zod";
import type { BuildWorkers } from "./build-workers.ts";
import { extractArchive } from "../../net/archive/extract-archive.ts";
import { BadBuildMessage } from "./receive-build.ts";

const ReferenceRequest = z.object({ srcPkgFilename: z.string(), command: z.string().default("") });
const SHELL_CHARACTERS = /[;|&`$()<>\n\r]/;

export interface ReferenceContractOptions {
  /** Folder that is shared with the fetcher beside the builder: sources are in it, artifacts are put into it. */
  readonly sharedFolder: string;
  readonly buildsFolder: string;
  readonly workers: BuildWorkers;
  readonly timeoutMs: number;
}

/**
 * The reference system's builder contract: `POST /` {srcPkgFilename, command} → {artifactFilename, buildLogs} (500 with the logs
 * when the build fails), `DELETE /clean?name=`. Names are of files in the shared folder; the command may only be the bundler's own.
 */
export function referenceContract(app: FastifyInstance, options: ReferenceContractOptions): void {
  app.addContentTypeParser("application/json", { parseAs: "string" }, (_request, body, done) => {
    try {
      done(null, JSON.parse(String(body)));
    } catch {
      done(new BadBuildMessage("The build request is no JSON"));
    }
  });
  app.post("/", async (request, reply) => {
    const parsed = ReferenceRequest.safeParse(request.body);
    if (!parsed.success)
      throw new BadBuildMessage(`Cannot read the build request: ${parsed.error.issues[0]?.message ?? ""}`);
    const { srcPkgFilename, command } = parsed.data;
    const source = sharedPath(options.sharedFolder, srcPkgFilename);
    if (SHELL_CHARACTERS.test(command)) {
      throw new BadBuildMessage(
        `Cannot run build command "${command}": it must not contain any of ; | & \` $ ( ) < > or line ends`,
      );
    }
    const slot = options.workers.reserve();
    if (!slot)
      return await reply
        .code(429)
        .header("retry-after", "1")
        .send({ artifactFilename: "", buildLogs: "busy" });
    const folder = join(options.buildsFolder, randomUUID());
    const lines: string[] = [];
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      const { size } = await stat(source).catch(() => {
        throw new BadBuildMessage(`Source package "${srcPkgFilename}" does not exist`);
      });
      const { result, artifactPath } = await slot.run({
        request: {
          namespace: "",
          package: srcPkgFilename,
          source: { sha256: "", sizeBytes: size, filename: srcPkgFilename },
          command,
          entry: "",
          typeCheck: false,
          timeoutMs: options.timeoutMs,
        },
        sourcePath: source,
        folder,
        log: (line) => void lines.push(line),
        signal: AbortSignal.any([]),
      });
      const buildLogs = lines.join("\n");
      if (result.outcome === "failed" || artifactPath === undefined)
        return await reply.code(500).send({ artifactFilename: "", buildLogs });
      const artifactFilename = `${srcPkgFilename}-${randomUUID().slice(0, 6)}`;
      const unpacked = join(options.sharedFolder, `.${artifactFilename}`);
      await extractArchive(await readFile(artifactPath), "zip", unpacked);
      await rename(unpacked, join(options.sharedFolder, artifactFilename));
      return { artifactFilename, buildLogs };
    } finally {
      slot.release();
      await rm(folder, { recursive: true, force: true });
    }
  });
  app.delete("/clean", async (request) => {
    const { name } = z.object({ name: z.string() }).parse(request.query);
    await rm(sharedPath(options.sharedFolder, name), { recursive: true, force: true });
    return {};
  });
}

/** A name is one segment: nothing above or below the shared folder can be meant. */
function sharedPath(folder: string, name: string): string {
  if (name === "" || name === "." || name === ".." || basename(name) !== name || /[\\\0]/.test(name)) {
    throw new BadBuildMessage(
      `Cannot use package name "${name}": it must be the name of a file in the shared folder`,
    );
  }
  return join(folder, name);
}
