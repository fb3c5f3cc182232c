import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { BuildRequest, BuildResult } from "../../api/wire/builder.ts";
import { ARTIFACT_ENTRY } from "../../api/wire/builder.ts";
import { sha256Hex } from "./digest.ts";
import { BuildError } from "./build-error.ts";
import type { Plugin } from "esbuild";
import { assetsPlugin, type FoundAssets } from "./assets-plugin.ts";
import { type Bundle, bundle, type BundleOptions } from "./bundle.ts";
import { workerOutput } from "./file-references.ts";
import { readFiles } from "./read-files.ts";
import { scanModules } from "./scan-modules.ts";
import { findEntries } from "./find-entries.ts";
import { readImportMap } from "./import-map.ts";
import { nativePlugin } from "./native-plugin.ts";
import { preparePackages } from "./packages.ts";
import { platformModulesPlugin } from "./platform-modules-plugin.ts";
import { readProject } from "./project.ts";
import { specifiersPlugin } from "./specifiers-plugin.ts";
import { typeCheck } from "./type-check.ts";
import { unpackSource } from "./unpack-source.ts";
import { writeArtifact } from "./write-artifact.ts";
import type { BuilderSettings } from "./builder-settings.ts";

export interface BuildContext {
  readonly settings: BuilderSettings;
  /** Folder of this build alone; it is empty and the caller removes it. */
  readonly folder: string;
  readonly log: (line: string) => void;
}

export interface BuildOutput {
  readonly result: BuildResult;
  readonly artifact?: Buffer;
}

/** One build, from the source's bytes to the artifact's. Every failure is a result; nothing is thrown. */
export async function build(
  request: BuildRequest,
  sourcePath: string,
  context: BuildContext,
): Promise<BuildOutput> {
  const startedAt = performance.now();
  try {
    const { artifact, bundled } = await produce(request, sourcePath, context);
    const durationMs = Math.round(performance.now() - startedAt);
    context.log(`built ${bundled.inputs.length} modules into ${artifact.length} bytes in ${durationMs} ms`);
    return {
      artifact,
      result: {
        outcome: "succeeded",
        sha256: sha256Hex(artifact),
        sizeBytes: artifact.length,
        durationMs,
        warnings: bundled.warnings,
      },
    };
  } catch (error) {
    return { result: failed(error, context.log) };
  } finally {
    await rm(context.folder, { recursive: true, force: true });
  }
}

function failed(error: unknown, log: (line: string) => void): BuildResult {
  if (error instanceof BuildError) {
    for (const line of error.detail.length > 0 ? error.detail : [`error: ${error.message}`]) log(line);
    return { outcome: "failed", fault: error.fault, message: error.message };
  }
  const message = error instanceof Error ? error.message : String(error);
  log(`error: the builder failed: ${message}`);
  return { outcome: "failed", fault: "platform", message: `The builder failed: ${message}` };
}

async function produce(
  request: BuildRequest,
  sourcePath: string,
  context: BuildContext,
): Promise<{ artifact: Buffer; bundled: Bundle }> {
  refuseCommand(request.command);
  const root = await unpackSource(
    await readFile(sourcePath),
    request.source.filename,
    join(context.folder, "source"),
    request.entry,
  );
  const project = await readProject(root);
  const entries = await findEntries(project, request.entry);
  const importMap = await readImportMap(project);
  const scan = await scanModules(root, false);
  const found: FoundAssets = { read: new Set(), workers: new Set() };
  const assets = (referring: readonly string[]): Plugin => assetsPlugin({ root, referring, found });
  const packages = await preparePackages({
    project,
    entries,
    importMap,
    scan,
    typeCheck: request.typeCheck,
    context,
    plugins: [assets([])],
  });
  const bundled = await bundleAll(
    {
      project,
      entries,
      plugins: [
        platformModulesPlugin(root),
        specifiersPlugin({ root, importMap, packageFor: packages.packageFor }),
        nativePlugin(packages.native),
        assets([...scan.referring, ...packages.referring]),
      ],
      log: context.log,
      missingPackageAdvice: packages.missingPackageAdvice,
    },
    found,
    context.settings.maxArtifactBytes,
  );
  if (request.typeCheck) {
    await typeCheck({
      project,
      entries,
      importMap,
      packages,
      timeoutMs: request.timeoutMs,
      log: context.log,
    });
  }
  const artifact = await writeArtifact(bundled.files);
  if (artifact.length > context.settings.maxArtifactBytes) {
    throw new BuildError(
      "user",
      `The artifact has ${artifact.length} bytes, allowed are ${context.settings.maxArtifactBytes}`,
    );
  }
  if (entries.length > 1) {
    context.log(
      `no ${ARTIFACT_ENTRY}: each module at the top is an entry of its own: ${entries.map((entry) => entry.name).join(", ")}`,
    );
  }
  return { artifact, bundled };
}

/** Bundles the entries, then the workers that they start, and adds the files that either reads. */
async function bundleAll(options: BundleOptions, found: FoundAssets, maxBytes: number): Promise<Bundle> {
  found.read.clear();
  found.workers.clear();
  let bundled = await bundle(options);
  const done = new Set<string>();
  for (;;) {
    const workers = [...found.workers].filter((file) => !done.has(file)).sort();
    if (workers.length === 0) break;
    for (const file of workers) {
      done.add(file);
      const entries = [{ name: workerOutput(file).replace(/\.js$/, ""), file }];
      bundled = joined(bundled, await bundle({ ...options, entries }));
    }
  }
  const read = await readFiles(options.project.root, [...found.read].sort(), maxBytes);
  return { ...bundled, files: [...bundled.files, ...read] };
}

const joined = (a: Bundle, b: Bundle): Bundle => ({
  files: [...a.files, ...b.files],
  inputs: [...a.inputs, ...b.inputs],
  warnings: a.warnings + b.warnings,
});

/** Our image runs no commands of a tenant's choosing: anything but the bundler itself is an error that says so. */
function refuseCommand(command: string): void {
  if (["", "build", "/build"].includes(command)) return;
  throw new BuildError(
    "user",
    `Cannot run build command "${command}": this builder bundles the source itself; allowed are "" and "build"`,
  );
}
