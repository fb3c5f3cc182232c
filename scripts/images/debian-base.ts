import {
  appendFileSync,
  chmodSync,
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { IMAGE_USER } from "./image-table.ts";
import { runCommand } from "./run-command.ts";

export interface DebianPackage {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
}

export interface DebianBase {
  /** Folder with the root file system. */
  readonly root: string;
  readonly packages: readonly DebianPackage[];
}

/** Raised when the way in which a base is made changes. */
const RECIPE = 3;
const UNWANTED = [
  "usr/lib/x86_64-linux-gnu/gconv",
  "usr/lib/aarch64-linux-gnu/gconv",
  "usr/share/bash-completion",
  "usr/share/bug",
  "usr/share/doc-base",
  "usr/share/info",
  "usr/share/lintian",
  "usr/share/locale",
  "usr/share/man",
];

/**
 * The smallest Debian that holds given packages, made from this machine's own Debian release: no package manager, no shell unless
 * asked for, no setuid programs. Made once per set of versions and kept in `cache`.
 */
export async function debianBase(packages: readonly string[], cache: string): Promise<DebianBase> {
  const candidates = await versionsOf(packages);
  const key = createHash("sha256")
    .update(JSON.stringify([RECIPE, candidates]))
    .digest("hex")
    .slice(0, 12);
  const folder = join(cache, `debian-${key}`);
  const root = join(folder, "root");
  if (!existsSync(folder)) {
    const partial = `${folder}.partial-${process.pid}`;
    rmSync(partial, { recursive: true, force: true });
    await unpack(candidates, partial);
    renameSync(partial, folder);
  }
  return { root, packages: candidates };
}

/** The versions that apt would install. */
async function versionsOf(names: readonly string[]): Promise<DebianPackage[]> {
  const found: DebianPackage[] = [];
  const text = await runCommand("apt-cache", ["show", "--no-all-versions", ...names]);
  for (const stanza of text.split("\n\n")) {
    const field = (name: string): string => new RegExp(`^${name}: (.*)$`, "m").exec(stanza)?.[1] ?? "";
    if (names.includes(field("Package")))
      found.push({ name: field("Package"), version: field("Version"), architecture: field("Architecture") });
  }
  const missing = names.filter((name) => !found.some((one) => one.name === name));
  if (missing.length > 0)
    throw new Error(
      `Cannot make a Debian base: apt knows no package ${missing.join(", ")}; run apt-get update`,
    );
  return found.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

async function unpack(packages: readonly DebianPackage[], folder: string): Promise<void> {
  const root = join(folder, "root");
  const downloads = join(folder, "deb");
  mkdirSync(downloads, { recursive: true });
  for (const [link, target] of [
    ["bin", "usr/bin"],
    ["sbin", "usr/sbin"],
    ["lib", "usr/lib"],
    ["lib64", "usr/lib64"],
  ] as const) {
    mkdirSync(join(root, target), { recursive: true });
    symlinkSync(target, join(root, link));
  }
  await runCommand(
    "apt-get",
    [
      "download",
      "--quiet",
      "-o",
      "APT::Sandbox::User=root",
      ...packages.map(({ name, version }) => `${name}=${version}`),
    ],
    { cwd: downloads },
  );
  mkdirSync(join(root, "var/lib/dpkg/status.d"), { recursive: true });
  for (const { name } of packages) {
    const [file] = globSync(`${name}_*.deb`, { cwd: downloads });
    if (file === undefined) throw new Error(`Cannot make a Debian base: apt did not download "${name}"`);
    await runCommand("sh", [
      "-c",
      'dpkg-deb --fsys-tarfile "$1" | tar -x --keep-directory-symlink --no-same-owner -C "$2"',
      "sh",
      join(downloads, file),
      root,
    ]);
    // Where scanners look for the packages of an image without a package manager.
    writeFileSync(
      join(root, "var/lib/dpkg/status.d", name),
      await runCommand("dpkg-deb", ["--field", join(downloads, file)]),
    );
  }
  rmSync(downloads, { recursive: true });
  finish(root);
}

/** What the packages' scripts would have done, and without what nobody reads. */
function finish(root: string): void {
  for (const path of UNWANTED) rmSync(join(root, path), { recursive: true, force: true });
  for (const path of globSync("usr/share/doc/*/*", { cwd: root }))
    if (!path.endsWith("/copyright")) rmSync(join(root, path), { recursive: true, force: true });
  const bundle = join(root, "etc/ssl/certs/ca-certificates.crt");
  mkdirSync(join(root, "etc/ssl/certs"), { recursive: true });
  for (const path of globSync("usr/share/ca-certificates/mozilla/*.crt", { cwd: root }).toSorted())
    appendFileSync(bundle, readFileSync(join(root, path)));
  const user = `isotope:x:${IMAGE_USER}:`;
  writeFileSync(
    join(root, "etc/passwd"),
    `root:x:0:0:root:/:/usr/sbin/nologin\n${user}${IMAGE_USER}:isotope:/tmp:/usr/sbin/nologin\n`,
  );
  writeFileSync(join(root, "etc/group"), `root:x:0:\n${user}\n`);
  writeFileSync(join(root, "etc/nsswitch.conf"), "passwd: files\ngroup: files\nhosts: files dns\n");
  mkdirSync(join(root, "tmp"), { recursive: true });
  // mkdir heeds the umask.
  chmodSync(join(root, "tmp"), 0o1777);
}

/** A copy of a base's files, for a build context. */
export function copyBase(base: DebianBase, target: string): void {
  cpSync(base.root, target, { recursive: true, verbatimSymlinks: true, preserveTimestamps: true });
}
