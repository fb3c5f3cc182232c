import type { Readable } from "node:stream";
import type { Environment } from "../../api/kinds/index.ts";

/** What the Package reconciler needs of the archive store. Digests are sha256 in hex. */
export interface Archives {
  put(
    content: AsyncIterable<Uint8Array>,
    options?: { readonly sha256?: string | undefined; readonly sizeBytes?: number | undefined },
  ): Promise<{ readonly archive: { readonly digest: string; readonly sizeBytes: number } }>;
  find(digest: string): Promise<{ readonly sizeBytes: number } | undefined>;
  open(digest: string): Promise<Readable>;
}

/** One build of one package. */
export interface BuildInput {
  readonly namespace: string;
  readonly package: string;
  readonly environment: Environment;
  readonly source: { readonly sha256: string; readonly filename: string; readonly bytes: Uint8Array };
  /** "" = the builder's own. */
  readonly command: string;
  /** "" = looked up by the builder. */
  readonly entry: string;
  readonly typeCheck: boolean;
}

export type BuildOutcome =
  | { readonly outcome: "succeeded"; readonly artifact: Uint8Array; readonly sha256: string }
  /** `user`: the source is at fault, trying again is useless. `platform`: try again. */
  | { readonly outcome: "failed"; readonly fault: "user" | "platform"; readonly message: string };

/** Runs builds in builder pods. A throw counts as a failure of the platform. */
export interface PackageBuilder {
  build(
    input: BuildInput,
    hooks: { readonly onLog: (line: string) => void; readonly signal: AbortSignal },
  ): Promise<BuildOutcome>;
}
