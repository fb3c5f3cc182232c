import { createHash } from "node:crypto";
import { canonicalJson } from "../../api/canonical-json.ts";
import type { Serving } from "../../api/kinds/index.ts";

/** What a revision is made of: `Serving` without the fields that say which, when and from what generation. */
export type RevisionContent = Omit<Serving, "revision" | "generation" | "since">;

/** First 16 hex digits of the sha256 of the content's canonical JSON: the same behaviour gives the same revision, whatever the order of keys and the number of pods. */
export function revisionOf({ scale: _scale, ...content }: RevisionContent): string {
  return createHash("sha256").update(canonicalJson(content)).digest("hex").slice(0, 16);
}
