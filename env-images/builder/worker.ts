import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { BuildRequest } from "../../api/wire/builder.ts";
import { build } from "./build.ts";
import type { BuilderSettings } from "./builder-settings.ts";
import { warmBundler } from "./warm-bundler.ts";
import type { FromWorker, ToWorker } from "./worker-messages.ts";

/*
 * One build process: warm, used for one build after another, in a process group of its own with all that it starts.
 * It holds no token. When its parent goes away it takes its group with it.
 */
const send = (message: FromWorker): void => {
  process.send?.(message);
};

process.on("disconnect", () => process.kill(-process.pid, "SIGKILL"));

process.on("message", (message: ToWorker) => {
  void runBuild(message.settings, message.request, message.sourcePath, message.folder);
});

async function runBuild(
  settings: BuilderSettings,
  request: BuildRequest,
  sourcePath: string,
  folder: string,
): Promise<void> {
  const log = (line: string): void => send({ kind: "log", line });
  const { result, artifact } = await build(request, sourcePath, {
    settings,
    folder: join(folder, "work"),
    log,
  });
  const artifactPath = join(folder, "artifact.zip");
  if (artifact) await writeFile(artifactPath, artifact);
  send({ kind: "done", result, artifactPath: artifact ? artifactPath : undefined });
}

await warmBundler();
send({ kind: "ready" });
