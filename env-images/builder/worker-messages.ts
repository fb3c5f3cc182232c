import type { BuildRequest, BuildResult } from "../../api/wire/builder.ts";
import type { BuilderSettings } from "./builder-settings.ts";

export interface ToWorker {
  readonly settings: BuilderSettings;
  readonly request: BuildRequest;
  readonly sourcePath: string;
  /** Folder of this build; the artifact is written into it. */
  readonly folder: string;
}

export type FromWorker =
  | { readonly kind: "ready" }
  | { readonly kind: "log"; readonly line: string }
  | { readonly kind: "done"; readonly result: BuildResult; readonly artifactPath: string | undefined };
