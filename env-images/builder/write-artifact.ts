import { writeZip } from "../../net/archive/write-zip.ts";
import type { BundleFile } from "./bundle.ts";
import { withShims } from "./runtime-shims.ts";

/** Content that does not shrink, or that must load at once, is stored as it is. */
const STORED = /\.(?:js|png|jpe?g|gif|webp|avif|woff2?|zip|gz|br|mp[34])$/;

/** Inflating anything costs a pod a millisecond, however little it is. */
const STORED_BELOW_BYTES = 8_192;

/** The artifact: a zip whose bytes depend on the bundle only, modules first. */
export async function writeArtifact(files: readonly BundleFile[]): Promise<Buffer> {
  const kept = files.filter((file) => !(file.path.endsWith(".LEGAL.txt") && file.bytes.length === 0));
  const rank = (path: string): number => (path === "index.js" ? 0 : path.endsWith(".js") ? 1 : 2);
  kept.sort((a, b) => rank(a.path) - rank(b.path) || (a.path < b.path ? -1 : 1));
  return await writeZip(
    kept.map((file) => ({
      path: file.path,
      bytes: file.path.endsWith(".js")
        ? Buffer.from(withShims(Buffer.from(file.bytes).toString("utf8")))
        : file.bytes,
      compress: file.bytes.length >= STORED_BELOW_BYTES && !STORED.test(file.path),
    })),
    { keepOrder: true },
  );
}
