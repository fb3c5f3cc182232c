import { buffer } from "node:stream/consumers";
import type { Package } from "../../api/kinds/index.ts";
import type { KubeClient } from "../../kube/client.ts";
import { PACKAGES } from "../../kube/kinds.ts";
import { type DownloadOptions, DownloadError, downloadArchive } from "./download.ts";
import type { ArchiveLocation } from "./locate.ts";
import type { Archives } from "./ports.ts";
import { sha256Hex } from "./slim.ts";

/** An archive that cannot be had. `retry`: it may work later without a change of the Package. */
export class ArchiveProblem extends Error {
  readonly reason: string;
  readonly retry: boolean;
  constructor(reason: string, message: string, retry: boolean) {
    super(message);
    this.name = "ArchiveProblem";
    this.reason = reason;
    this.retry = retry;
  }
}

export interface ArchiveAccess {
  /** Makes sure that the archive is in storage. @throws {ArchiveProblem} */
  store(
    pkg: Package,
    part: "source" | "deployment",
    location: ArchiveLocation,
  ): Promise<{ digest: string; sizeBytes: number }>;
  /** The archive's bytes, verified. @throws {ArchiveProblem} */
  read(
    pkg: Package,
    part: "source" | "deployment",
    location: ArchiveLocation,
  ): Promise<{ digest: string; bytes: Buffer }>;
}

export function createArchiveAccess(options: {
  client: Pick<KubeClient, "get">;
  archives: Archives;
  download: DownloadOptions;
}): ArchiveAccess {
  const { client, archives } = options;

  const readLiteral = async (
    pkg: Package,
    part: "source" | "deployment",
    digest: string,
  ): Promise<Buffer> => {
    const whole = await client.get(PACKAGES, pkg.metadata);
    const bytes = Buffer.from(whole.spec[part]?.literal ?? "", "base64");
    if (sha256Hex(bytes) !== digest)
      throw new ArchiveProblem("Changed", "the Package changed meanwhile", true);
    return bytes;
  };
  const readStored = async (digest: string): Promise<Buffer> => buffer(await archives.open(digest));
  const fetchRemote = async (url: string, digest: string | undefined): Promise<Buffer> => {
    const bytes = await downloadArchive(url, options.download).catch((error: unknown) => {
      if (error instanceof DownloadError)
        throw new ArchiveProblem("DownloadFailed", error.message, error.retry);
      throw error;
    });
    const actual = sha256Hex(bytes);
    if (digest !== undefined && digest !== actual) {
      throw new ArchiveProblem(
        "ChecksumMismatch",
        `"${url}" has sha256 ${actual}, but its checksum says ${digest}`,
        false,
      );
    }
    return bytes;
  };
  const put = async (bytes: Buffer): Promise<{ digest: string; sizeBytes: number }> => {
    const { archive } = await archives.put(once(bytes), {
      sha256: sha256Hex(bytes),
      sizeBytes: bytes.length,
    });
    return { digest: archive.digest, sizeBytes: archive.sizeBytes };
  };

  return {
    store: async (pkg, part, location) => {
      const known = "digest" in location ? location.digest : undefined;
      const present = known === undefined ? undefined : await archives.find(known);
      if (known !== undefined && present) return { digest: known, sizeBytes: present.sizeBytes };
      if (location.kind === "literal") return put(await readLiteral(pkg, part, location.digest));
      if (location.kind === "remote") return put(await fetchRemote(location.url, location.digest));
      throw unavailable(location);
    },
    read: async (pkg, part, location) => {
      if (location.kind === "literal") {
        return { digest: location.digest, bytes: await readLiteral(pkg, part, location.digest) };
      }
      const known = "digest" in location ? location.digest : undefined;
      if (known !== undefined && (await archives.find(known)))
        return { digest: known, bytes: await readStored(known) };
      if (location.kind !== "remote") throw unavailable(location);
      const bytes = await fetchRemote(location.url, location.digest);
      const { digest } = await put(bytes);
      return { digest, bytes };
    },
  };
}

function unavailable(location: ArchiveLocation): ArchiveProblem {
  if (location.kind === "stored") {
    return new ArchiveProblem(
      "ArchiveNotFound",
      `archive "sha256:${location.digest}" is not in storage: upload it again with isotope archive upload`,
      true,
    );
  }
  if (location.kind === "oci") {
    return new ArchiveProblem(
      "OCINotAvailable",
      "archives of type oci come with a later release: use url or literal",
      false,
    );
  }
  if (location.kind === "invalid") return new ArchiveProblem("InvalidArchive", location.message, false);
  return new ArchiveProblem("EmptyPackage", "there is no archive", false);
}

// oxlint-disable-next-line typescript/require-await -- the store takes streams
async function* once(bytes: Buffer): AsyncGenerator<Uint8Array> {
  yield bytes;
}
