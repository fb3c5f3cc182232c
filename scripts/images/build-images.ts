import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import type { ContainerEngine } from "./container-engine.ts";
import { contentTag } from "./content-tag.ts";
import { copyBase, debianBase, type DebianPackage } from "./debian-base.ts";
import { fileDigest, freezeTimes, treeBytes, treeDigest } from "./file-tree.ts";
import { type ImageName, imagePlan, REPOSITORY_PREFIX, ROOT } from "./image-table.ts";
import { runCommand } from "./run-command.ts";
import { sbom } from "./sbom.ts";
import { stageImage } from "./stage-image.ts";

export interface BuildImagesOptions {
  readonly engine: ContainerEngine;
  readonly images: readonly ImageName[];
  /** First part of the images' names, e.g. `isotope.local`. */
  readonly registry: string;
  /** Image to build on; undefined = a minimal Debian made here. */
  readonly base: string | undefined;
  /** Tag instead of one that follows from the content. */
  readonly tag: string | undefined;
  /** Where archives, SBOMs and `images.json` go. */
  readonly out: string;
  /** Where bases and stripped programs are kept. */
  readonly cache: string;
  readonly log: (line: string) => void;
}

const BuiltImage = z.object({
  name: z.string(),
  /** Full name, with registry and tag. */
  ref: z.string(),
  tag: z.string(),
  /** Of the image's manifest. */
  digest: z.string(),
  /** OCI archive, for `ctr images import`. */
  archive: z.string(),
  /** CycloneDX. */
  sbom: z.string(),
  /** Unpacked. */
  bytes: z.number(),
  archiveBytes: z.number(),
  buildMs: z.number(),
});
export type BuiltImage = z.infer<typeof BuiltImage>;

export const INDEX_FILE = "images.json";

/** Builds images and exports them. What was built from the same content before is taken from `out`. */
export async function buildImages(options: BuildImagesOptions): Promise<BuiltImage[]> {
  mkdirSync(options.out, { recursive: true });
  mkdirSync(options.cache, { recursive: true });
  const built: BuiltImage[] = [];
  for (const name of options.images) built.push(await buildImage(name, options));
  rmSync(contextsFolder(options.out), { recursive: true, force: true });
  const others = readIndex(options.out).filter((image) => !built.some((one) => one.name === image.name));
  const index = [...others, ...built].toSorted((a, b) => (a.name < b.name ? -1 : 1));
  writeFileSync(join(options.out, INDEX_FILE), `${JSON.stringify(index, undefined, 2)}\n`);
  return built;
}

/** What was built into a folder before. */
export function readIndex(out: string): BuiltImage[] {
  const file = join(out, INDEX_FILE);
  if (!existsSync(file)) return [];
  const parsed = z.array(BuiltImage).safeParse(JSON.parse(readFileSync(file, "utf8")));
  return parsed.success ? parsed.data : [];
}

/** Of this process: two builds at once do not meet. */
const contextsFolder = (out: string): string => join(out, "contexts", String(process.pid));

async function buildImage(name: ImageName, options: BuildImagesOptions): Promise<BuiltImage> {
  const { engine, out, registry, log } = options;
  const startedAt = performance.now();
  const base = await prepareBase(name, options);
  const context = join(contextsFolder(out), name);
  const { containerfile, npm } = await stageImage(name, context, options.cache);
  freezeTimes(context);
  const tag =
    options.tag ??
    contentTag(
      createHash("sha256").update(
        JSON.stringify([base.ref, await fileDigest(containerfile), await treeDigest(context)]),
      ),
    );
  const ref = `${registry}/${REPOSITORY_PREFIX}${name}:${tag}`;
  const archive = join(out, `${name}-${tag}.oci.tar`);
  const before = readIndex(out).find((image) => image.ref === ref && image.archive === archive);
  const bytes = base.bytes + treeBytes(context);
  if (before && options.tag === undefined && existsSync(archive) && existsSync(before.sbom)) {
    rmSync(context, { recursive: true });
    log(`${ref} is there`);
    return { ...before, buildMs: Math.round(performance.now() - startedAt) };
  }
  await engine.build({ context, containerfile, ref, args: { BASE: base.ref } });
  await engine.exportArchive(ref, archive);
  rmSync(context, { recursive: true });
  const sbomFile = join(out, `${name}-${tag}.cdx.json`);
  const lock = readFileSync(join(ROOT, "package-lock.json"), "utf8");
  const input = {
    image: `${registry}/${REPOSITORY_PREFIX}${name}`,
    tag,
    version: versionOf(),
    npm,
    debian: base.packages,
    lock,
  };
  writeFileSync(sbomFile, sbom(input));
  log(`${ref} was built`);
  return {
    name,
    ref,
    tag,
    digest: await archiveDigest(archive),
    archive,
    sbom: sbomFile,
    bytes,
    archiveBytes: statSync(archive).size,
    buildMs: Math.round(performance.now() - startedAt),
  };
}

interface PreparedBase {
  readonly ref: string;
  readonly packages: readonly DebianPackage[];
  readonly bytes: number;
}

/** The image that an image is built on. */
async function prepareBase(name: ImageName, options: BuildImagesOptions): Promise<PreparedBase> {
  if (options.base !== undefined) return { ref: options.base, packages: [], bytes: 0 };
  const { engine, out, cache, registry } = options;
  const base = await debianBase(imagePlan(name).packages, cache);
  const context = join(contextsFolder(out), "base");
  rmSync(context, { recursive: true, force: true });
  copyBase(base, join(context, "root"));
  freezeTimes(context);
  const ref = `${registry}/${REPOSITORY_PREFIX}base:${(await treeDigest(context)).slice(0, 12)}`;
  const bytes = treeBytes(context);
  if (!(await engine.has(ref))) {
    const containerfile = join(contextsFolder(out), "Containerfile.base");
    writeFileSync(containerfile, "FROM scratch\nCOPY root/ /\n");
    await engine.build({ context, containerfile, ref, args: {} });
  }
  rmSync(context, { recursive: true });
  return { ref, packages: base.packages, bytes };
}

function versionOf(): string {
  const manifest: unknown = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  return z.object({ version: z.string() }).parse(manifest).version;
}

const OciIndex = z.looseObject({ manifests: z.array(z.looseObject({ digest: z.string() })) });

/** Digest of the manifest in an OCI archive. */
async function archiveDigest(archive: string): Promise<string> {
  const index = OciIndex.parse(JSON.parse(await runCommand("tar", ["-xOf", archive, "index.json"])));
  return index.manifests[0]?.digest ?? "";
}
