import { FunctionConfig } from "../../api/function-config.ts";
import { WorkflowConfig } from "../../api/workflow-config.ts";
import { writeZip, type ZipInput } from "../../net/archive/write-zip.ts";
import { collectSources } from "./collect-sources.ts";
import { desiredObjects, type FunctionObjects, type Target } from "./desired-objects.ts";
import type { FoundFunction, Project } from "./find-functions.ts";
import { archiveDigest } from "./upload.ts";
import { type WorkflowObjects, workflowObjects } from "./workflow-objects.ts";

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
  const sources = collectSources(project, found, FunctionConfig);
  const archive = await packed(sources.files);
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

/** Stored, not compressed: it goes over loopback or a LAN once, and is unpacked at once. */
const packed = (files: readonly ZipInput[]): Promise<Uint8Array> =>
  writeZip(files.map((file) => ({ ...file, compress: file.bytes.byteLength > 65_536 })));

export interface PreparedWorkflow extends Omit<Prepared, "objects"> {
  objects: WorkflowObjects;
}

/** The same for a workflow. */
export async function prepareWorkflow(
  project: Project,
  found: FoundFunction,
  target: Target,
): Promise<PreparedWorkflow> {
  const sources = collectSources(project, found, WorkflowConfig);
  const archive = await packed(sources.files);
  const name = sources.config.name ?? found.name;
  const source = { digest: archiveDigest(archive), entry: sources.entry };
  return {
    name,
    entry: found.entry,
    archive,
    objects: workflowObjects(name, sources.config, source, target),
    watched: sources.watched,
  };
}
