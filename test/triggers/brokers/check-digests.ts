import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Throws where a folder's files are not those of `sums` (lines of `sha256sum`), all of them and no others. */
export function checkDigests(folder: string, sums: string): void {
  const found = readdirSync(folder)
    .toSorted()
    .map(
      (name) =>
        `${createHash("sha256")
          .update(readFileSync(join(folder, name)))
          .digest("hex")}  ${name}`,
    );
  const wanted = sums.trim().split("\n");
  const wrong = [
    ...wanted.filter((line) => !found.includes(line)).map((line) => `missing ${line}`),
    ...found.filter((line) => !wanted.includes(line)).map((line) => `not asked for ${line}`),
  ];
  if (wrong.length > 0)
    throw new Error(`Folder "${folder}" has not what it should have: ${wrong.join("; ")}`);
}
