import { digestOfArchiveUrl } from "../../api/archive-url.ts";
import type { Archive } from "../../api/kinds/index.ts";
import { readStub } from "./slim.ts";

/** Where an archive of a Package is. Digests are sha256 in hex. */
export type ArchiveLocation =
  | { kind: "none" }
  /** Inside the Package itself. */
  | { kind: "literal"; digest: string; sizeBytes: number }
  /** In the platform's own storage. */
  | { kind: "stored"; digest: string }
  | { kind: "remote"; url: string; digest: string | undefined }
  | { kind: "oci" }
  | { kind: "invalid"; message: string };

const SHA256 = /^[0-9a-f]{64}$/i;

/** Reads an archive of a cached (slim) Package. Pure. */
export function locateArchive(archive: Archive | undefined): ArchiveLocation {
  const type = archive && (archive.type || impliedType(archive));
  if (!archive || !type) return { kind: "none" };
  if (type === "oci") return { kind: "oci" };
  const sum = archive.checksum?.sum ?? "";
  const algorithm = archive.checksum?.type || "sha256";
  if (sum !== "" && (algorithm !== "sha256" || !SHA256.test(sum))) {
    return {
      kind: "invalid",
      message: `its checksum must be sha256 with 64 hex digits, got ${algorithm} "${sum}"`,
    };
  }
  const digest = sum === "" ? undefined : sum.toLowerCase();
  return type === "literal" ? locateLiteral(archive, digest) : locateUrl(archive.url ?? "", digest);
}

function impliedType(archive: Archive): "literal" | "url" | "oci" | undefined {
  if (archive.literal) return "literal";
  if (archive.url) return "url";
  return archive.oci ? "oci" : undefined;
}

function locateLiteral(archive: Archive, digest: string | undefined): ArchiveLocation {
  const content = readStub(archive.literal);
  if (!content || content.sizeBytes === 0) {
    return { kind: "invalid", message: 'its type is "literal", but literal is empty' };
  }
  if (digest !== undefined && digest !== content.digest) {
    return {
      kind: "invalid",
      message: `its checksum is ${digest}, but the literal's sha256 is ${content.digest}`,
    };
  }
  return { kind: "literal", ...content };
}

function locateUrl(url: string, digest: string | undefined): ArchiveLocation {
  if (url === "") return { kind: "invalid", message: 'its type is "url", but url is empty' };
  const stored = digestOfArchiveUrl(url);
  if (stored === undefined) return { kind: "remote", url, digest };
  if (digest !== undefined && digest !== stored) {
    return { kind: "invalid", message: `its checksum is ${digest}, but its url names sha256:${stored}` };
  }
  return { kind: "stored", digest: stored };
}

/** What identifies the content as far as that is known without fetching it. */
export function identityOf(location: ArchiveLocation): string {
  if (location.kind === "literal" || location.kind === "stored") return location.digest;
  if (location.kind === "remote") return location.digest ?? `url:${location.url}`;
  return location.kind;
}
