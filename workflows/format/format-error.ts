import type { Json } from "../core/json.ts";

/** The reference system's classes of errors. */
export const ERROR_ALL = "Fission.All";
export const ERROR_PERMANENT = "Fission.PermanentError";
export const ERROR_FUNCTION = "Fission.FunctionError";
export const ERROR_TIMEOUT = "Fission.Timeout";
export const ERROR_INVALID_PATH = "Fission.InvalidPath";
export const ERROR_NO_CHOICE = "Fission.NoChoiceMatched";
export const ERROR_FAILED = "Fission.Failed";
export const ERROR_BRANCH = "Fission.BranchFailed";

/** Classes that are retried: what a function answers under a class of its own goes straight to the catch routes. */
export const RETRIED_ERRORS: readonly string[] = [ERROR_FUNCTION, ERROR_TIMEOUT];

/** An error as a catch route sees it. */
export interface FormatError {
  readonly errorType: string;
  readonly cause: Json;
}

/** The error of a Parallel or Map: its first branch or item that failed. */
export const branchError = (branch: string, { errorType, cause }: FormatError): FormatError => ({
  errorType: ERROR_BRANCH,
  cause: { branch, errorType, cause },
});

/** What went wrong, for people: the cause's own text, else its JSON. */
export const causeText = (cause: Json): string =>
  cause === null ? "" : typeof cause === "string" ? cause : JSON.stringify(cause);
