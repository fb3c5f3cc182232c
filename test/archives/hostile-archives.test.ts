import { mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ArchiveError, type ArchiveRule } from "../../net/archive/archive-error.ts";
import { type ArchiveLimits, DEFAULT_ARCHIVE_LIMITS } from "../../net/archive/archive-limits.ts";
import { extractArchive } from "../../net/archive/extract-archive.ts";
import { archiveFormat } from "../../net/archive/archive-format.ts";
import { readArchive } from "../../net/archive/read-archive.ts";
import { writeZip } from "../../net/archive/write-zip.ts";
import { gzipped, paxHeader, rawTar, rawZip } from "./hostile-archives.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "isotope-archives-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const small: ArchiveLimits = {
  ...DEFAULT_ARCHIVE_LIMITS,
  maxEntries: 10,
  maxFileBytes: 50_000,
  maxTotalBytes: 100_000,
  ratioFloorBytes: 10_000,
};
const good = { name: "index.ts", content: "export default 1" };
const zeros = new Uint8Array(40_000);
const noise = (length: number): Buffer =>
  Buffer.from(Array.from({ length }, (_, at) => (at * 7919 + (at >> 3)) & 255));
const unicodePath = (name: string): Buffer => {
  const value = Buffer.concat([Buffer.from([1, 0, 0, 0, 0]), Buffer.from(name)]);
  const head = Buffer.alloc(4);
  head.writeUInt16LE(0x7075, 0);
  head.writeUInt16LE(value.length, 2);
  return Buffer.concat([head, value]);
};

const BAD_NAMES: [string, string, ArchiveRule][] = [
  ["parent folder", "../x", "path"],
  ["parent folder inside", "a/../../x", "path"],
  ["parent folder that stays inside", "a/../x", "path"],
  ["absolute", "/etc/passwd", "path"],
  ["two slashes in front", "//host/x", "path"],
  ["backslash", "..\\x", "path"],
  ["backslash inside", "a\\b", "path"],
  ["drive letter", "C:/x", "path"],
  ["drive-relative", "c:x", "path"],
  ["line feed", "a\nb", "path"],
  ["escape sequence", "a\u001b[2Jb", "path"],
  ["C1 control", "a\u0085b", "path"],
  ["empty segment", "a//b", "path"],
  ["dot inside", "a/./b", "path"],
  ["only dots", "..", "path"],
  ["too deep", `${"d/".repeat(40)}x`, "path"],
  ["segment too long", "s".repeat(300), "path"],
];

const ZIPS: [string, Buffer, ArchiveRule][] = [
  ...BAD_NAMES.map(([what, name, rule]): [string, Buffer, ArchiveRule] => [
    `zip: ${what}`,
    rawZip([good, { name, content: "x" }]),
    rule,
  ]),
  ["zip: NUL in a name", rawZip([{ name: "a\0.ts", content: "x" }]), "path"],
  [
    "zip: path too long",
    rawZip([{ name: Array.from({ length: 30 }, () => "p".repeat(60)).join("/"), content: "x" }]),
    "path",
  ],
  ["zip: name that is not UTF-8", rawZip([{ name: Buffer.from([0x61, 0xff, 0xfe]), content: "x" }]), "path"],
  ["zip: symbolic link", rawZip([good, { name: "link", content: "/etc/passwd", mode: 0o120777 }]), "type"],
  ["zip: device", rawZip([{ name: "dev", mode: 0o020666 }]), "type"],
  ["zip: socket", rawZip([{ name: "sock", mode: 0o140666 }]), "type"],
  ["zip: file that says it is a folder", rawZip([{ name: "a", mode: 0o040755, content: "x" }]), "type"],
  ["zip: folder with content", rawZip([{ name: "a/", content: "x" }]), "mismatch"],
  ["zip: same name twice", rawZip([good, good]), "duplicate"],
  ["zip: names that differ in case", rawZip([good, { name: "Index.TS", content: "x" }]), "duplicate"],
  ["zip: names that differ in normalisation", rawZip([{ name: "\u00e9" }, { name: "e\u0301" }]), "duplicate"],
  ["zip: folders that differ in case", rawZip([{ name: "lib/a" }, { name: "LIB/b" }]), "duplicate"],
  [
    "zip: file used as a folder",
    rawZip([
      { name: "a", content: "x" },
      { name: "a/b", content: "x" },
    ]),
    "duplicate",
  ],
  [
    "zip: folder that becomes a file",
    rawZip([
      { name: "a/b", content: "x" },
      { name: "a", content: "x" },
    ]),
    "duplicate",
  ],
  ["zip: encrypted", rawZip([{ ...good, method: 8, flags: 0x801 }]), "encrypted"],
  ["zip: strongly encrypted", rawZip([{ ...good, flags: 0x841 }]), "format"],
  ["zip: masked headers", rawZip([{ ...good, flags: 0x2800 }]), "encrypted"],
  ["zip: unknown method", rawZip([{ ...good, method: 14 }]), "method"],
  ["zip: other name in the local header", rawZip([{ ...good, local: { name: "../evil.t" } }]), "mismatch"],
  ["zip: other method in the local header", rawZip([{ ...good, local: { method: 8 } }]), "mismatch"],
  ["zip: other size in the local header", rawZip([{ ...good, local: { size: 3 } }]), "mismatch"],
  [
    "zip: other compressed size in the local header",
    rawZip([{ ...good, local: { compressedSize: 3 } }]),
    "mismatch",
  ],
  ["zip: other checksum in the local header", rawZip([{ ...good, local: { crc: 5 } }]), "mismatch"],
  ["zip: encrypted in the local header only", rawZip([{ ...good, local: { flags: 1 } }]), "mismatch"],
  ["zip: second name in an extra field", rawZip([{ ...good, extra: unicodePath("../evil") }]), "mismatch"],
  ["zip: wrong checksum", rawZip([{ ...good, central: { crc: 7 }, local: { crc: 7 } }]), "checksum"],
  [
    "zip: size smaller than the content",
    rawZip([{ name: "a", method: 8, content: noise(3000), central: { size: 10 }, local: { size: 10 } }]),
    "format",
  ],
  [
    "zip: two entries share their data",
    rawZip(
      [
        { name: "a", content: "x" },
        { name: "a", content: "x" },
      ].map((entry, at) => ({
        ...entry,
        local: { name: "a" },
        name: at === 0 ? "a" : "b",
        ...(at === 0 ? {} : { central: { offset: 0 } }),
      })),
    ),
    "mismatch",
  ],
  [
    "zip: overlapping entries",
    rawZip([
      { name: "a", content: rawZip([{ name: "b", content: "x" }]) },
      { name: "b", content: "x", central: { offset: 31 } },
    ]),
    "overlap",
  ],
  ["zip: too many entries", rawZip(Array.from({ length: 11 }, (_, at) => ({ name: `f${at}` }))), "entries"],
  ["zip: file too large", rawZip([{ name: "a", content: noise(60_000) }]), "file_size"],
  [
    "zip: file said to be too large",
    rawZip([{ name: "a", method: 8, content: "x", central: { size: 60_000 }, local: { size: 60_000 } }]),
    "file_size",
  ],
  [
    "zip: too large together",
    rawZip([1, 2, 3].map((at) => ({ name: `f${at}`, content: noise(40_000) }))),
    "total_size",
  ],
  ["zip: bomb", rawZip([1, 2].map((at) => ({ name: `f${at}`, method: 8, content: zeros }))), "ratio"],
  ["zip: empty", rawZip([]), "empty"],
  ["zip: folders only", rawZip([{ name: "a/" }]), "empty"],
  ["zip: more entries announced than there are", rawZip([good], { count: 3 }), "format"],
  ["zip: directory outside the file", rawZip([good], { offset: 99_999 }), "format"],
  ["zip: cut off", rawZip([good]).subarray(0, 40), "format"],
  ["zip: garbage after the signature", Buffer.from("PK\u0003\u0004 and nothing else"), "format"],
];

const TARS: [string, Buffer, ArchiveRule][] = [
  ...BAD_NAMES.filter(([what]) => !what.includes("too")).map(
    ([what, name, rule]): [string, Buffer, ArchiveRule] => [
      `tar: ${what}`,
      rawTar([good, { name, content: "x" }]),
      rule,
    ],
  ),
  ["tar: symbolic link", rawTar([good, { name: "l", type: "2", link: "/etc/passwd" }]), "type"],
  [
    "tar: symbolic link, then a file through it",
    rawTar([
      { name: "l", type: "2", link: "/tmp" },
      { name: "l/x", content: "x" },
    ]),
    "type",
  ],
  ["tar: hard link", rawTar([good, { name: "l", type: "1", link: "index.ts" }]), "type"],
  ["tar: character device", rawTar([{ name: "d", type: "3" }]), "type"],
  ["tar: block device", rawTar([{ name: "d", type: "4" }]), "type"],
  ["tar: pipe", rawTar([{ name: "d", type: "6" }]), "type"],
  ["tar: old sparse file", rawTar([{ name: "s", type: "S", content: "x" }]), "type"],
  [
    "tar: PAX sparse file",
    rawTar([
      paxHeader({ "GNU.sparse.major": "1", "GNU.sparse.realsize": "99999999" }),
      { name: "s", content: "x" },
    ]),
    "type",
  ],
  ["tar: unknown type", rawTar([{ name: "s", type: "Z", content: "x" }]), "type"],
  ["tar: bad PAX path", rawTar([paxHeader({ path: "../../evil" }), { name: "fine", content: "x" }]), "path"],
  ["tar: PAX path with a NUL", rawTar([paxHeader({ path: "a\0b" }), { name: "fine", content: "x" }]), "path"],
  [
    "tar: absolute PAX path",
    rawTar([paxHeader({ path: "/etc/cron.d/x" }), { name: "fine", content: "x" }]),
    "path",
  ],
  [
    "tar: bad GNU long name",
    rawTar([
      { name: "././@LongLink", type: "L", content: `${"../".repeat(40)}etc/passwd\0` },
      { name: "fine", content: "x" },
    ]),
    "path",
  ],
  [
    "tar: PAX path too long",
    rawTar([paxHeader({ path: "p/".repeat(600) }), { name: "fine", content: "x" }]),
    "path",
  ],
  ["tar: same name twice", rawTar([good, good]), "duplicate"],
  ["tar: names that differ in case", rawTar([good, { name: "INDEX.ts", content: "x" }]), "duplicate"],
  ["tar: folder with content", rawTar([{ name: "d", type: "5", content: "x" }]), "mismatch"],
  ["tar: too many entries", rawTar(Array.from({ length: 11 }, (_, at) => ({ name: `f${at}` }))), "entries"],
  ["tar: file too large", rawTar([{ name: "a", content: noise(60_000) }]), "file_size"],
  [
    "tar: too large together",
    rawTar([1, 2, 3].map((at) => ({ name: `f${at}`, content: noise(40_000) }))),
    "total_size",
  ],
  ["tar.gz: bomb", gzipped(rawTar([1, 2].map((at) => ({ name: `f${at}`, content: zeros })))), "ratio"],
  [
    "tar: announces more than there is",
    rawTar([{ name: "a", content: "x", size: 5000 }], { end: false }),
    "format",
  ],
  ["tar: wrong checksum", rawTar([{ ...good, badChecksum: true }]), "format"],
  ["tar: empty", rawTar([{ name: "d/", type: "5" }]), "empty"],
  ["tar.gz: cut off", gzipped(rawTar([{ name: "a", content: noise(5000) }])).subarray(0, 200), "format"],
  ["tar.gz: no tar inside", gzipped(Buffer.alloc(2000, 65)), "format"],
  [
    "tar.gz: damaged",
    (() => {
      const bytes = gzipped(rawTar([good]));
      bytes[30] = (bytes[30] ?? 0) ^ 0xff;
      return bytes;
    })(),
    "format",
  ],
];

describe("archives that break a rule", () => {
  test.each([...ZIPS, ...TARS])("%s", async (_what, bytes, rule) => {
    const target = join(folder, "out");
    const detected = archiveFormat(bytes);
    const format = detected === "file" ? "tar" : detected;
    const error: unknown = await extractArchive(bytes, format, target, small).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(ArchiveError);
    expect(error).toMatchObject({ rule });
    // Nothing is left, under the target's name or beside it.
    expect(await readdir(folder)).toEqual([]);
  });
  test("there are enough of them", () => expect(ZIPS.length + TARS.length).toBeGreaterThan(80));
});

describe("archives that are fine", () => {
  const extract = async (bytes: Buffer): Promise<Record<string, string>> => {
    const target = join(folder, "fine");
    const format = archiveFormat(bytes);
    if (format === "file") throw new Error("no archive");
    const paths = await extractArchive(bytes, format, target, small);
    const found: Record<string, string> = {};
    for (const path of paths) found[path] = await readFile(join(target, path), "utf8");
    await rm(target, { recursive: true });
    return found;
  };
  test("zip with folders, deflated and stored", async () => {
    expect(
      await extract(
        rawZip([
          { name: "a/" },
          { name: "a/b.ts", content: "1".repeat(500), method: 8 },
          { name: "c", content: "2" },
        ]),
      ),
    ).toEqual({
      "a/b.ts": "1".repeat(500),
      c: "2",
    });
  });
  test("tar.gz as tar makes it of the current folder", async () => {
    expect(
      await extract(
        gzipped(
          rawTar([
            { name: "./", type: "5" },
            { name: "./a/", type: "5" },
            { name: "./a/x.ts", content: "1" },
          ]),
        ),
      ),
    ).toEqual({ "a/x.ts": "1" });
  });
  test("PAX and GNU long names", async () => {
    const long = `${"folder/".repeat(20)}x.ts`;
    expect(await extract(rawTar([paxHeader({ path: long }), { name: "short", content: "1" }]))).toEqual({
      [long]: "1",
    });
    expect(
      await extract(
        rawTar([
          { name: "././@LongLink", type: "L", content: `${long}\0` },
          { name: "short", content: "1" },
        ]),
      ),
    ).toEqual({ [long]: "1" });
  });
  test("set-user-id is stripped, the executable bit is kept", async () => {
    const target = join(folder, "modes");
    await extractArchive(
      rawZip([
        { name: "run", mode: 0o104755, content: "x" },
        { name: "data", mode: 0o100666, content: "x" },
      ]),
      "zip",
      target,
      small,
    );
    expect((await stat(join(target, "run"))).mode & 0o7777).toBe(0o755 & ~process.umask());
    expect((await stat(join(target, "data"))).mode & 0o7777).toBe(0o644 & ~process.umask());
    await rm(target, { recursive: true });
  });
  test("what we write we read, and the same files give the same bytes", async () => {
    const files = [
      { path: "b.ts", bytes: Buffer.from("2") },
      { path: "a/é.ts", bytes: noise(9000), executable: true },
    ];
    const bytes = await writeZip(files);
    expect(bytes.equals(await writeZip(files.toReversed()))).toBe(true);
    const read = [];
    for await (const file of readArchive(bytes, "zip", small))
      read.push({ path: file.path, size: file.bytes.length, executable: file.executable });
    expect(read).toEqual([
      { path: "a/é.ts", size: 9000, executable: true },
      { path: "b.ts", size: 1, executable: false },
    ]);
  });
});
