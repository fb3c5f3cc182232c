import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { findEngine } from "../../scripts/images/container-engine.ts";
import { contentTag } from "../../scripts/images/content-tag.ts";
import { copyBase, debianBase } from "../../scripts/images/debian-base.ts";
import { freezeTimes } from "../../scripts/images/file-tree.ts";
import { ROOT } from "../../scripts/images/image-table.ts";
import { withMachineLock } from "../machine-lock.ts";
import type { Cluster } from "./cluster.ts";
import { clusterLayout } from "./layout.ts";

/** Names of the images of a language that the platform does not know: runtimes for one function and for any number, and a builder. */
export interface PythonImages {
  readonly runtime: string;
  readonly shared: string;
  readonly builder: string;
}

const SOURCES = join(ROOT, "test", "env", "python");
const OUT = join(ROOT, ".cache", "images");
/** Debian's default, e.g. `python3.11`. */
const python = (): string => readlinkSync("/usr/bin/python3");
const COMMANDS: Readonly<Record<keyof PythonImages, readonly string[]>> = {
  runtime: ["/app/server.py"],
  shared: ["/app/server.py", "--infinite"],
  builder: ["/app/builder.py"],
};

/** Builds the images from Debian's Python and imports them into the node; for one test file at a time, as others make the same. */
export const pythonImages = (cluster: Cluster): Promise<PythonImages> =>
  withMachineLock(clusterLayout().cache, () => make(cluster));

async function make(cluster: Cluster): Promise<PythonImages> {
  const name = python();
  const base = await debianBase(
    [`${name}-minimal`, `lib${name}-minimal`, `lib${name}-stdlib`, "libc6", "zlib1g", "libexpat1", "libssl3"],
    join(homedir(), ".cache", "isotope-images"),
  );
  const hash = createHash("sha256").update(JSON.stringify([COMMANDS, base.packages]));
  for (const file of ["server.py", "builder.py"]) hash.update(readFileSync(join(SOURCES, file)));
  const tag = contentTag(hash);
  const archives = [];
  for (const [kind, command] of Object.entries(COMMANDS)) {
    const ref = `isotope.local/test/python-${kind}:${tag}`;
    const archive = join(OUT, `python-${kind}-${tag}.oci.tar`);
    if (!existsSync(archive)) await build(ref, archive, base, [`/usr/bin/${name}`, ...command]);
    archives.push({ ref, archive });
  }
  await cluster.importImages(archives);
  const refOf = (kind: keyof PythonImages): string => `isotope.local/test/python-${kind}:${tag}`;
  return { runtime: refOf("runtime"), shared: refOf("shared"), builder: refOf("builder") };
}

async function build(
  ref: string,
  archive: string,
  base: Parameters<typeof copyBase>[0],
  entrypoint: readonly string[],
): Promise<void> {
  const context = join(OUT, "contexts", `python-${process.pid}`);
  rmSync(context, { recursive: true, force: true });
  mkdirSync(join(context, "app"), { recursive: true });
  copyBase(base, join(context, "root"));
  for (const file of ["server.py", "builder.py"])
    copyFileSync(join(SOURCES, file), join(context, "app", file));
  freezeTimes(context);
  const containerfile = join(OUT, "contexts", `Containerfile.python-${process.pid}`);
  const lines = ["FROM scratch", "COPY root/ /", "COPY app/ /app/", "USER 65534:65534"];
  writeFileSync(containerfile, `${[...lines, `ENTRYPOINT ${JSON.stringify(entrypoint)}`].join("\n")}\n`);
  const engine = await findEngine();
  await engine.build({ context, containerfile, ref, args: {} });
  const partial = `${archive}.partial-${process.pid}`;
  await engine.exportArchive(ref, partial);
  renameSync(partial, archive);
  rmSync(context, { recursive: true });
  rmSync(containerfile);
}
