import type { Archive } from "../../api/kinds/package.ts";
import type { Function as FunctionKind } from "../../api/kinds/index.ts";
import type { FunctionVersion, Package, Workflow } from "../../api/kinds/index.ts";
import { digestOf } from "./archive-store.ts";

/** The objects that keep archives alive, as far as they are looked at. */
export interface ReferencingObjects {
  readonly packages: readonly Pick<Package, "spec" | "status">[];
  readonly functions: readonly Pick<FunctionKind, "status">[];
  readonly versions: readonly Pick<FunctionVersion, "spec" | "status">[];
  readonly workflows: readonly Pick<Workflow, "status">[];
}

const DIGEST_IN_TEXT = /[0-9a-f]{64}/g;

/** Digests (hex) of all archives that a Package, a serving revision, a published version or a workflow's definition names. */
export function referencedDigests(objects: ReferencingObjects): Set<string> {
  const found = new Set<string>();
  const add = (id: string | undefined): void => {
    const digest = id === undefined ? undefined : digestOf(id);
    if (digest !== undefined) found.add(digest);
  };
  const addArchive = (archive: Archive | undefined): void => {
    add(archive?.checksum?.sum);
    // An archive URL of ours holds the digest, in whichever way it is escaped.
    for (const [digest] of archive?.url?.matchAll(DIGEST_IN_TEXT) ?? []) add(digest);
  };
  for (const { spec, status } of objects.packages) {
    addArchive(spec.source);
    addArchive(spec.deployment);
    add(status?.contentHash);
    add(status?.sourceDigest);
  }
  for (const { status } of objects.functions) add(status?.serving?.package.digest);
  for (const { spec, status } of objects.versions) {
    add(spec.packageDigest);
    add(status?.serving?.package.digest);
  }
  for (const { status } of objects.workflows) {
    add(status?.definition?.digest);
    add(status?.definition?.packageDigest);
    for (const digest of status?.heldDefinitions ?? []) add(digest);
  }
  return found;
}
