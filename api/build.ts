import type { Environment } from "./kinds/index.ts";

/** One build of one package, as the controller asks the builder manager for it. */
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

export interface BuildHooks {
  readonly onLog: (line: string) => void;
  readonly signal: AbortSignal;
}
