import { HTTP_METHODS } from "../../api/kinds/index.ts";
import { UsageError } from "../command.ts";
import { didYouMean } from "../suggest.ts";

type Method = (typeof HTTP_METHODS)[number];

/** Methods of repeated or comma-separated flags, in upper case. @throws {UsageError} */
export function checkMethods(texts: readonly string[]): Method[] {
  return texts
    .flatMap((text) => text.split(","))
    .map((text) => {
      const method = HTTP_METHODS.find((known) => known === text.trim().toUpperCase());
      if (!method)
        throw new UsageError(
          `--method must be one of ${HTTP_METHODS.join(", ")}, got "${text}"${didYouMean(text.toUpperCase(), HTTP_METHODS)}`,
        );
      return method;
    });
}
