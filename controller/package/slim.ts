import { createHash } from "node:crypto";
import type { Archive, Package } from "../../api/kinds/index.ts";

/**
 * A Package as the controller caches it: a literal archive (up to 256 KiB) is replaced by a stub that names its digest and size, and
 * the build log is left out. Whoever needs the bytes reads the Package from the API server.
 */
export function slimPackage(pkg: Package): Package {
  const { managedFields: _, ...metadata } = { managedFields: undefined, ...pkg.metadata };
  const { buildlog: __, ...status } = pkg.status ?? {};
  return {
    ...pkg,
    metadata,
    spec: {
      ...pkg.spec,
      ...(pkg.spec.source ? { source: slimArchive(pkg.spec.source) } : {}),
      ...(pkg.spec.deployment ? { deployment: slimArchive(pkg.spec.deployment) } : {}),
    },
    ...(pkg.status ? { status } : {}),
  };
}

/** ":" occurs in no base64, so a stub is never taken for content. */
const STUB = /^sha256:([0-9a-f]{64}):(\d+)$/;

function slimArchive(archive: Archive): Archive {
  if (!archive.literal) return archive;
  const bytes = Buffer.from(archive.literal, "base64");
  return { ...archive, literal: `sha256:${sha256Hex(bytes)}:${bytes.length}` };
}

/** Digest and size that a stub names; undefined for anything else. */
export function readStub(literal: string | undefined): { digest: string; sizeBytes: number } | undefined {
  const match = STUB.exec(literal ?? "");
  return match ? { digest: match[1] ?? "", sizeBytes: Number(match[2]) } : undefined;
}

export function sha256Hex(bytes: Uint8Array | string): string {
  return createHash("sha256").update(bytes).digest("hex");
}
