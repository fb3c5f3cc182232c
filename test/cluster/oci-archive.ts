import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { finished } from "node:stream/promises";
import { pack, type Pack } from "tar-stream";

/** An image with one layer, made without a container engine. */
export interface SmallImage {
  /** Full name, with registry and tag. */
  readonly ref: string;
  readonly files: readonly { readonly path: string; readonly content: Buffer }[];
  /** Symbolic links: path → target. */
  readonly links?: Readonly<Record<string, string>>;
  readonly entrypoint?: readonly string[];
}

interface Blob {
  readonly content: Buffer;
  readonly digest: string;
}
const blob = (content: Buffer): Blob => ({
  content,
  digest: `sha256:${createHash("sha256").update(content).digest("hex")}`,
});
const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

async function contentOf(archive: Pack): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of archive as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function layer({ files, links = {} }: SmallImage): Promise<Buffer> {
  const archive = pack();
  const at = { mtime: new Date(0), uid: 0, gid: 0 };
  const folders = new Set(
    [...files.map(({ path }) => path), ...Object.keys(links)].flatMap((path) =>
      path
        .split("/")
        .slice(0, -1)
        .map((_part, index, parts) => parts.slice(0, index + 1).join("/")),
    ),
  );
  for (const name of [...folders, "tmp"])
    archive.entry({ ...at, name: `${name}/`, type: "directory", mode: name === "tmp" ? 0o1777 : 0o755 });
  for (const { path, content } of files) archive.entry({ ...at, name: path, mode: 0o755 }, content);
  for (const [name, linkname] of Object.entries(links))
    archive.entry({ ...at, name, type: "symlink", linkname, mode: 0o777 });
  archive.finalize();
  return contentOf(archive);
}

/** Writes an image as an OCI archive, which `ctr images import` reads. */
export async function writeOciArchive(file: string, image: SmallImage): Promise<void> {
  const architecture = process.arch === "x64" ? "amd64" : process.arch;
  const files = blob(await layer(image));
  const config = blob(
    json({
      architecture,
      os: "linux",
      config: { Env: ["PATH=/bin"], ...(image.entrypoint ? { Entrypoint: image.entrypoint } : {}) },
      rootfs: { type: "layers", diff_ids: [files.digest] },
    }),
  );
  const describe = (mediaType: string, { digest, content }: Blob) => ({
    mediaType,
    digest,
    size: content.length,
  });
  const type = "application/vnd.oci.image";
  const manifest = blob(
    json({
      schemaVersion: 2,
      mediaType: `${type}.manifest.v1+json`,
      config: describe(`${type}.config.v1+json`, config),
      layers: [describe(`${type}.layer.v1.tar`, files)],
    }),
  );
  const index = {
    schemaVersion: 2,
    manifests: [
      {
        ...describe(`${type}.manifest.v1+json`, manifest),
        annotations: {
          "io.containerd.image.name": image.ref,
          "org.opencontainers.image.ref.name": image.ref.split(":").at(-1),
        },
        platform: { architecture, os: "linux" },
      },
    ],
  };
  const archive = pack();
  const written = finished(archive.pipe(createWriteStream(file)));
  archive.entry({ name: "oci-layout" }, JSON.stringify({ imageLayoutVersion: "1.0.0" }));
  archive.entry({ name: "index.json" }, JSON.stringify(index));
  for (const { digest, content } of [files, config, manifest])
    archive.entry({ name: `blobs/sha256/${digest.slice(7)}` }, content);
  archive.finalize();
  await written;
}
