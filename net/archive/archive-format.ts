export type ArchiveFormat = "zip" | "tar.gz" | "tar" | "file";

const startsWith = (bytes: Uint8Array, at: number, ...magic: number[]): boolean =>
  magic.every((byte, index) => bytes[at + index] === byte);

/** What the bytes are, by their content: names and content types of uploads are not to be trusted. */
export function archiveFormat(bytes: Uint8Array): ArchiveFormat {
  // "PK" with a local header, or the end record of an empty zip.
  if (startsWith(bytes, 0, 0x50, 0x4b, 3, 4) || startsWith(bytes, 0, 0x50, 0x4b, 5, 6)) return "zip";
  if (startsWith(bytes, 0, 0x1f, 0x8b)) return "tar.gz";
  if (startsWith(bytes, 257, 0x75, 0x73, 0x74, 0x61, 0x72)) return "tar";
  return "file";
}
