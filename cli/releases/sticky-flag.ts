import { ANNOTATION_STICKY } from "../../api/names.ts";
import { parseSticky, STICKY_ALLOWED } from "../../api/sticky.ts";
import type { KubeObject } from "../../kube/object.ts";
import { UsageError } from "../command.ts";

/** `--sticky` of aliases and routes. */
export const STICKY_FLAG = {
  type: "string",
  help: `By what somebody keeps the side that they had: ${STICKY_ALLOWED}, or none`,
} as const;

/** @throws {UsageError} */
export function checkSticky(sticky: string | undefined): void {
  if (sticky !== undefined && sticky !== "none" && !parseSticky(sticky))
    throw new UsageError(`--sticky must be ${STICKY_ALLOWED} or none, got "${sticky}"`);
}

/** The object with the annotation that the flag means; without the flag as it is. */
export function withSticky<T extends KubeObject>(object: T, sticky: string | undefined): T {
  if (sticky === undefined) return object;
  const { [ANNOTATION_STICKY]: _before, ...rest } = object.metadata.annotations ?? {};
  return {
    ...object,
    metadata: {
      ...object.metadata,
      annotations: sticky === "none" ? rest : { ...rest, [ANNOTATION_STICKY]: sticky },
    },
  };
}
