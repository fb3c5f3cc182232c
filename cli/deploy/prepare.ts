import { writeZip } from "../../net/archive/write-zip.ts";
import { collectSources } from "./collect-sources.ts";
import { desiredObjects, type FunctionObjects, type Target } from "./desired-objects.ts";
import type { FoundFunction, Project } from "./find-functions.ts";
import { archiveDigest } from "./upload.ts";

export interface Prepared {
  name: string;
  /** Entry file, absolute. */
  entry: string;
  objects: FunctionObjects;
  /** The sources, to be uploaded before the objects are written. */
  archive: Uint8Array;
  /** Files whose change changes the function. */
  watched: string[];
}

/** Collects a function's sources and says which resources it stands for. */
export async function prepareFunction(
  project: Project,
  found: FoundFunction,
  target: Target,
): Promise<Prepared> {
  const sources = collectSources(project, found);
  // Stored, not compressed: it goes over loopback or a LAN once, and is unpacked at once.
  const archive = await writeZip(
    sources.files.map((file) => ({ ...file, compress: file.bytes.byteLength > 65_536 })),
  );
  const digest = archiveDigest(archive);
  const name = sources.config.name ?? found.name;
  return {
    name,
    entry: found.entry,
    archive,
    objects: desiredObjects(name, sources.config, { digest, entry: sources.entry }, target),
    watched: sources.watched,
  };
}
