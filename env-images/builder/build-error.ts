/** Why a build ends without an artifact. `user`: the source is at fault and building again gives the same; `platform`: worth a retry. */
export type BuildFault = "user" | "platform";

/** Ends a build. `message` is one sentence, with `file:line:column: ` in front where there is a place; `detail` goes to the log only. */
export class BuildError extends Error {
  readonly fault: BuildFault;
  readonly detail: readonly string[];
  constructor(
    fault: BuildFault,
    message: string,
    options: { readonly cause?: unknown; readonly detail?: readonly string[] } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "BuildError";
    this.fault = fault;
    this.detail = options.detail ?? [];
  }
}

/** The code of a Node system error, e.g. ENOENT. */
export function errno(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}
