import { ArchiveError } from "./archive-error.ts";
import type { ArchiveLimits } from "./archive-limits.ts";

// C0, DEL and C1 control characters, and U+FFFD, which stands for bytes that are not UTF-8.
const FORBIDDEN_CHARACTERS = /[\u0000-\u001f\u007f-\u009f\ufffd]/;
const UTF8 = new TextEncoder();

const quoted = (name: string): string => JSON.stringify(name);

function refuse(name: string, why: string): never {
  throw new ArchiveError("path", `Entry ${quoted(name)} is refused: ${why}`);
}

/**
 * The one form of an entry's name that may touch a disk: relative, `/` between segments, no `.` or `..`, NFC.
 * A leading `./` and a trailing `/` (folder) are dropped; `""` is the archive's root folder itself.
 * Throws `ArchiveError` with rule `path` for everything else, since no tool that people pack with makes such names.
 */
export function safeEntryPath(
  name: string,
  limits: Pick<ArchiveLimits, "maxDepth" | "maxPathBytes">,
): string {
  if (FORBIDDEN_CHARACTERS.test(name))
    refuse(name, "control characters and bytes that are not UTF-8 are not allowed");
  if (name.includes("\\")) refuse(name, "backslashes are not allowed, separate folders with /");
  if (name.startsWith("/")) refuse(name, "absolute paths are not allowed");
  if (/^[A-Za-z]:/.test(name)) refuse(name, "drive letters are not allowed");
  let path = name;
  while (path.startsWith("./")) path = path.slice(2);
  if (path.endsWith("/")) path = path.slice(0, -1);
  if (path === "" || path === ".") return "";
  if (UTF8.encode(path).length > limits.maxPathBytes)
    refuse(name, `paths may have ${limits.maxPathBytes} bytes at most`);
  const segments = path.split("/");
  if (segments.length > limits.maxDepth)
    refuse(name, `at most ${limits.maxDepth} levels of folders are allowed`);
  for (const segment of segments) {
    if (segment === "") refuse(name, "empty path segments are not allowed");
    if (segment === "..") refuse(name, '".." is not allowed');
    if (segment === ".") refuse(name, '"." inside a path is not allowed');
    if (UTF8.encode(segment).length > 255) refuse(name, "path segments may have 255 bytes at most");
  }
  return path.normalize("NFC");
}

/**
 * Refuses two entries that would be one file on some file system (same name, or the same but for case or normalisation),
 * and a file that is used as a folder. Folders may repeat: packing tools write them more than once.
 */
export class EntryNames {
  private readonly files = new Map<string, string>();
  private readonly folders = new Map<string, string>();

  addFile(path: string): void {
    const key = fold(path);
    const other = this.files.get(key) ?? this.folders.get(key);
    if (other !== undefined) this.duplicate(path, other);
    this.addParents(path);
    this.files.set(key, path);
  }

  addFolder(path: string): void {
    if (path === "") return;
    const key = fold(path);
    const file = this.files.get(key);
    if (file !== undefined) this.duplicate(path, file);
    this.addParents(path);
    this.keepFolder(key, path);
  }

  private addParents(path: string): void {
    for (let at = path.lastIndexOf("/"); at > 0; at = path.lastIndexOf("/", at - 1)) {
      const parent = path.slice(0, at);
      const key = fold(parent);
      const file = this.files.get(key);
      if (file !== undefined) this.duplicate(path, file);
      this.keepFolder(key, parent);
    }
  }

  private keepFolder(key: string, path: string): void {
    const other = this.folders.get(key);
    if (other !== undefined && other !== path) this.duplicate(path, other);
    this.folders.set(key, path);
  }

  private duplicate(path: string, other: string): never {
    throw new ArchiveError(
      "duplicate",
      path === other
        ? `Entry ${quoted(path)} occurs twice`
        : `Entries ${quoted(other)} and ${quoted(path)} are one file or folder on some systems`,
    );
  }
}

const fold = (path: string): string => path.normalize("NFKC").toLowerCase();
