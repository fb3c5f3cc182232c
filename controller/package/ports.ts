import type { Readable } from "node:stream";
import type { BuildHooks, BuildInput, BuildOutcome } from "../../api/build.ts";

/** What the Package reconciler needs of the archive store. Digests are sha256 in hex. */
export interface Archives {
  put(
    content: AsyncIterable<Uint8Array>,
    options?: { readonly sha256?: string | undefined; readonly sizeBytes?: number | undefined },
  ): Promise<{ readonly archive: { readonly digest: string; readonly sizeBytes: number } }>;
  find(digest: string): Promise<{ readonly sizeBytes: number } | undefined>;
  open(digest: string): Promise<Readable>;
}

/** Runs builds in builder pods. A throw counts as a failure of the platform. */
export interface PackageBuilder {
  build(input: BuildInput, hooks: BuildHooks): Promise<BuildOutcome>;
}
