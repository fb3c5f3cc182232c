/**
 * One build by a builder image of the reference system's contract: the source is put into the folder that the two containers share, the
 * builder is told to build it, what it left is packed.
 */
import { createHash, randomBytes } from "node:crypto";
import { readFile, realpath, rm, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { BUILD_FRAME, BUILD_HEAD_MAX_BYTES, BuildRequest, type BuildResult } from "../../api/wire/builder.ts";
import { frame, readMessage } from "../../api/wire/frames.ts";
import { ArchiveError } from "../../net/archive/archive-error.ts";
import { extractArchive } from "../../net/archive/extract-archive.ts";
import { archiveFormat } from "../../net/archive/archive-format.ts";
import { writeZip } from "../../net/archive/write-zip.ts";
import { BadArtifact, collectArtifact } from "./collect-artifact.ts";
import { callNeighbour } from "./neighbour.ts";
import { placeArchive } from "./place-files.ts";
import type { FetcherSettings } from "./settings.ts";

/** The message is malformed, or asks for what no builder may be told; answered with 400. */
export class BadBuildMessage extends Error {
  override readonly name = "BadBuildMessage";
}

/** The builder went away in the middle of a build. */
class BuilderDied extends Error {
  override readonly name = "BuilderDied";
}

const LISTEN_PATIENCE_MS = 30_000;
const MAX_ANSWER_BYTES = 16 * 2 ** 20;
const MAX_LOG_LINES = 10_000;
const ARTIFACT_LIMITS = { maxFiles: 20_000, maxBytes: 512 * 2 ** 20 };
const SHELL_CHARACTERS = /[;|&`$()<>\n\r]/;

export interface BuildMessage {
  readonly request: BuildRequest;
  readonly source: Uint8Array;
}

/** Reads the body of `POST /v1/build`; digest, size and command are checked. Throws BadBuildMessage. */
export async function readBuildMessage(body: Uint8Array): Promise<BuildMessage> {
  let request: BuildRequest | undefined;
  let source: Uint8Array = new Uint8Array();
  try {
    for await (const part of readMessage(once(body), BUILD_HEAD_MAX_BYTES)) {
      if (part.kind === "json") request = BuildRequest.parse(part.value);
      else source = part.bytes;
    }
  } catch (cause) {
    throw new BadBuildMessage(
      `Cannot read the build message: ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    );
  }
  if (!request) throw new BadBuildMessage("The build message is empty");
  const digest = createHash("sha256").update(source).digest("hex");
  if (digest !== request.source.sha256 || source.length !== request.source.sizeBytes)
    throw new BadBuildMessage(
      `The source has sha256 ${digest} and ${source.length} bytes, announced were ${request.source.sha256} and ${request.source.sizeBytes}`,
    );
  if (SHELL_CHARACTERS.test(request.command))
    throw new BadBuildMessage(
      `Cannot run build command "${request.command}": it must not contain any of ; | & \` $ ( ) < > or line ends`,
    );
  return { request, source };
}

async function* once(body: Uint8Array): AsyncGenerator<Uint8Array> {
  yield body;
}

/** Runs a build; the reply's frames. The signal aborts when the caller has left. Rejects only then. */
export async function build(
  settings: FetcherSettings,
  { request, source }: BuildMessage,
  signal: AbortSignal,
): Promise<Buffer> {
  const began = performance.now();
  const name = `${request.package.replaceAll(/[^A-Za-z0-9.-]/g, "-").slice(0, 80)}-${randomBytes(4).toString("hex")}`;
  const lines: string[] = [];
  const names = [name];
  try {
    await placeSource(join(settings.packages, name), source, settings.keepArchive);
    const limit = AbortSignal.any([signal, AbortSignal.timeout(request.timeoutMs)]);
    const answer = await callBuilder(settings, name, request.command, limit);
    lines.push(...answer.buildLogs.split("\n").slice(-MAX_LOG_LINES));
    if (answer.status !== 200) return frames(lines, answerResult(answer, lines));
    if (!isSegment(answer.artifactFilename))
      return frames(
        lines,
        failed("user", `The builder named the artifact "${answer.artifactFilename}", which is no file name`),
      );
    names.push(answer.artifactFilename);
    const artifact = await packed(settings, answer.artifactFilename);
    const result: BuildResult = {
      outcome: "succeeded",
      sha256: createHash("sha256").update(artifact).digest("hex"),
      sizeBytes: artifact.length,
      durationMs: performance.now() - began,
      warnings: 0,
    };
    return frames(lines, result, artifact);
  } catch (error) {
    signal.throwIfAborted();
    // Without a result the caller knows that the builder died, and builds in another pod.
    return frames(lines, error instanceof BuilderDied ? undefined : failureResult(error, request.timeoutMs));
  } finally {
    for (const one of names) await clean(settings, one);
  }
}

async function placeSource(target: string, source: Uint8Array, keepArchive: boolean): Promise<void> {
  const format = archiveFormat(source);
  if (format === "file" || format === "zip") return placeArchive(source, target, keepArchive);
  await extractArchive(source, format, target);
}

interface BuilderAnswer {
  readonly status: number;
  readonly artifactFilename: string;
  readonly buildLogs: string;
}

async function callBuilder(
  { neighbour }: FetcherSettings,
  srcPkgFilename: string,
  command: string,
  signal: AbortSignal,
): Promise<BuilderAnswer> {
  const { status, text } = await callNeighbour(
    {
      ...neighbour,
      method: "POST",
      path: "/",
      contentType: "application/json",
      body: JSON.stringify({ srcPkgFilename, command }),
      signal,
      maxBytes: MAX_ANSWER_BYTES,
    },
    LISTEN_PATIENCE_MS,
  ).catch((cause: unknown) => {
    signal.throwIfAborted();
    throw new BuilderDied("the builder gave no answer", { cause });
  });
  const field = (message: unknown, name: string): string => {
    const value: unknown =
      typeof message === "object" && message !== null ? Reflect.get(message, name) : undefined;
    return typeof value === "string" ? value : "";
  };
  try {
    const message: unknown = JSON.parse(text);
    return {
      status,
      artifactFilename: field(message, "artifactFilename"),
      buildLogs: field(message, "buildLogs"),
    };
  } catch {
    // Some builders answer a failure with plain text.
    return { status, artifactFilename: "", buildLogs: text };
  }
}

function answerResult({ status }: BuilderAnswer, lines: readonly string[]): BuildResult {
  if (status === 429 || status === 503) return failed("platform", `The builder answered ${status}`);
  const last = lines.findLast((line) => line.trim() !== "")?.trim() ?? "";
  return failed("user", `The build command failed${last === "" ? "" : `: ${last.slice(0, 300)}`}`);
}

function failureResult(error: unknown, timeoutMs: number): BuildResult {
  if (error instanceof ArchiveError) return failed("user", `The source archive is refused: ${error.message}`);
  if (error instanceof BadArtifact) return failed("user", error.message);
  if (error instanceof Error && error.name === "TimeoutError")
    return failed("user", `The build did not end within ${timeoutMs} ms`);
  return failed("platform", `Cannot build: ${error instanceof Error ? error.message : String(error)}`);
}

const failed = (fault: "user" | "platform", message: string): BuildResult => ({
  outcome: "failed",
  fault,
  message,
});

/** A folder becomes a zip; so does one file, unless archives are kept as they are. */
async function packed({ packages, keepArchive }: FetcherSettings, name: string): Promise<Buffer> {
  const artifact = join(packages, name);
  const [real, folder] = await Promise.all([realpath(artifact), realpath(packages)]).catch(() => {
    throw new BadArtifact(`The builder named the artifact "${name}", which does not exist`);
  });
  if (real !== join(folder, name)) throw new BadArtifact(`The artifact "${name}" must be no link`);
  if (keepArchive && (await stat(artifact)).isFile()) return readFile(artifact);
  return writeZip(await collectArtifact(artifact, ARTIFACT_LIMITS));
}

const isSegment = (name: string): boolean =>
  name !== "" && name !== "." && name !== ".." && basename(name) === name && !/[\\\0]/.test(name);

/** The builder may hold files that only it may remove. */
async function clean({ neighbour, packages }: FetcherSettings, name: string): Promise<void> {
  const signal = AbortSignal.timeout(5_000);
  const path = `/clean?name=${encodeURIComponent(name)}`;
  await callNeighbour({ ...neighbour, method: "DELETE", path, signal, maxBytes: 1_024 }, 0).catch(
    () => undefined,
  );
  await rm(join(packages, name), { recursive: true, force: true }).catch(() => undefined);
}

function frames(lines: readonly string[], result: BuildResult | undefined, artifact?: Uint8Array): Buffer {
  const parts = lines.map((line) => frame(BUILD_FRAME.log, Buffer.from(line.slice(0, 4_096))));
  if (result) parts.push(frame(BUILD_FRAME.result, Buffer.from(JSON.stringify(result))));
  if (artifact) parts.push(frame(BUILD_FRAME.artifact, artifact));
  return Buffer.concat(parts);
}
