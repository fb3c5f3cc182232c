import type { Environment, Package } from "../../api/kinds/index.ts";
import { ANNOTATION_ENTRY, ANNOTATION_TYPE_CHECK } from "../../api/names.ts";
import { canonicalJson } from "../../api/canonical-json.ts";
import { sha256Hex } from "./slim.ts";

/** What steers a build beside the source itself. */
export function buildSettings(
  pkg: Package,
  environment: Environment,
): { command: string; entry: string; typeCheck: boolean } {
  const annotations = pkg.metadata.annotations ?? {};
  return {
    command: pkg.spec.buildcmd || environment.spec.builder?.command || "",
    entry: annotations[ANNOTATION_ENTRY] ?? "",
    typeCheck: annotations[ANNOTATION_TYPE_CHECK] === "true",
  };
}

/** Hash over all that a build's result depends on: the same inputs are not built again. */
export function buildInputsOf(pkg: Package, environment: Environment, sourceDigest: string): string {
  return sha256Hex(
    canonicalJson({
      source: sourceDigest,
      builder: environment.spec.builder?.image ?? "",
      ...buildSettings(pkg, environment),
    }),
  );
}

/** Name under which the builder gets the source; the extension says how to read it. Archives are known by their first bytes. */
export function sourceFilename(bytes: Uint8Array, url: string | undefined): string {
  if (bytes[0] === 0x50 && bytes[1] === 0x4b) return "source.zip";
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) return "source.tar.gz";
  const last = url && URL.canParse(url) ? (new URL(url).pathname.split("/").at(-1) ?? "") : "";
  return /^[\w.-]{1,100}\.(?:ts|tsx|mts|js|jsx|mjs|cjs)$/.test(last) ? last : "index.ts";
}
