import type { Assignment } from "./pod.ts";
import { MalformedMessage } from "./specialize-message.ts";

/** What the reference system's specialise message says. */
export interface ReferenceRequest {
  readonly place: string;
  readonly functionName: string;
  readonly assignment: Assignment;
}

const text = (source: object, key: string): string => {
  const value: unknown = Reflect.get(source, key);
  return typeof value === "string" ? value : "";
};

const NO_LIMIT = Number.MAX_SAFE_INTEGER;

/**
 * Reads `{filepath, functionName, url, FunctionMetadata, envVersion}`. The code lies on a shared volume, below `userfunc`.
 * Its limits are held to by the executor. Throws MalformedMessage.
 */
export function referenceRequest(message: unknown, userfunc: string): ReferenceRequest {
  if (typeof message !== "object" || message === null)
    throw new MalformedMessage("Cannot specialise: the message must be a JSON object");
  const filepath = text(message, "filepath");
  if (!filepath.startsWith(`${userfunc}/`) || filepath.split("/").includes("..")) {
    throw new MalformedMessage(`Cannot specialise: filepath must lie below "${userfunc}", got "${filepath}"`);
  }
  const metadata: unknown = Reflect.get(message, "FunctionMetadata");
  const fn = typeof metadata === "object" && metadata !== null ? metadata : {};
  return {
    place: filepath,
    functionName: text(message, "functionName"),
    assignment: {
      revision: null,
      function: {
        namespace: text(fn, "namespace"),
        name: text(fn, "name"),
        uid: text(fn, "uid"),
        resourceVersion: text(fn, "resourceVersion"),
      },
      limits: { requestsPerPod: NO_LIMIT, onceOnly: false, timeoutMs: 0, maxBodyBytes: NO_LIMIT },
      debug: false,
    },
  };
}
